import { useEffect, useRef, useState } from "preact/hooks";
import { api, ApiError, type EpisodeRow } from "./api";
import { queryParameters, type Query } from "./routes";

export const PAGE = 200;
/** Pages kept; those seen longest ago go first. */
const KEPT = 40;

export interface Pages {
  total: number | null;
  /** The row at a place of the list; null while it is on its way. */
  at: (place: number) => EpisodeRow | null;
  /** Asks for what these places need. */
  want: (first: number, last: number) => void;
  error: string | null;
  /** The rows of a new query are on their way; those of the old one are shown. */
  loading: boolean;
}

/** A list of any length, page by page. With each `tick` its pages are asked for again. */
export function usePages(id: string, query: Query, tick: number): Pages {
  const key = `${id} ${queryParameters(query)}`;
  const [, redraw] = useState(0);
  const store = useRef({ key: "", tick, total: null as number | null, pages: new Map<number, EpisodeRow[]>(), stale: new Set<number>(), asked: new Set<number>(), error: null as string | null, loading: true, abort: new AbortController() });
  const current = store.current;

  const fetchPage = (page: number) => {
    if (current.asked.has(page)) return;
    current.asked.add(page);
    const { signal } = current.abort;
    api.episodes(id, query, page * PAGE, PAGE, signal).then(
      ({ total, rows }) => {
        if (signal.aborted) return;
        if (current.loading) current.pages.clear();
        current.loading = false;
        current.total = total;
        current.error = null;
        current.pages.delete(page);
        current.pages.set(page, rows);
        current.stale.delete(page);
        current.asked.delete(page);
        for (const old of current.pages.keys()) {
          if (current.pages.size <= KEPT) break;
          current.pages.delete(old);
        }
        redraw((n) => n + 1);
      },
      (error: unknown) => {
        if (signal.aborted) return;
        current.asked.delete(page);
        current.loading = false;
        current.error = error instanceof ApiError ? error.message : String(error);
        redraw((n) => n + 1);
      },
    );
  };

  useEffect(() => {
    current.abort.abort();
    current.abort = new AbortController();
    current.asked.clear();
    current.error = null;
    if (current.key !== key) {
      current.key = key;
      current.loading = true;
    } else {
      for (const page of current.pages.keys()) current.stale.add(page);
    }
    fetchPage(0);
    redraw((n) => n + 1);
    return () => current.abort.abort();
  }, [key, tick]);

  return {
    total: current.total,
    error: current.error,
    loading: current.loading || current.key !== key,
    at: (place) => current.pages.get(Math.floor(place / PAGE))?.[place % PAGE] ?? null,
    want: (first, last) => {
      if (current.key !== key || current.loading || current.error !== null) return;
      for (let page = Math.floor(Math.max(0, first) / PAGE); page <= Math.floor(Math.max(0, last) / PAGE); page++) {
        if (page * PAGE >= (current.total ?? 0)) break;
        if (!current.pages.has(page) || current.stale.has(page)) fetchPage(page);
      }
    },
  };
}
