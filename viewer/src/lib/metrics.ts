import { useEffect, useRef, useState } from "preact/hooks";
import { api, ApiError, type Columns } from "./api";
import { useBusy } from "./hooks";

/** Lines that came since, put behind those known; a column may be new or end. */
export function appended(columns: Columns, length: number, news: Columns): Columns {
  const added = Math.max(0, ...Object.values(news).map((values) => values.length));
  const result: Columns = {};
  for (const key of new Set([...Object.keys(columns), ...Object.keys(news)])) {
    const before = columns[key] ?? new Array<null>(length).fill(null);
    result[key] = [...before, ...(news[key] ?? new Array<null>(added).fill(null))];
  }
  return result;
}

export interface Metrics {
  columns: Columns;
  length: number;
  error: string | null;
  loaded: boolean;
}

const NOTHING: Metrics = { columns: {}, length: 0, error: null, loaded: false };

/** All lines of a run's metrics; with each `tick` only what was written since is asked for. */
export function useMetrics(id: string, tick: number): Metrics {
  const [state, setState] = useState({ ...NOTHING, id });
  const latest = useRef(state);
  latest.current = state;
  useEffect(() => {
    const abort = new AbortController();
    const known = latest.current.id === id ? latest.current : { ...NOTHING, id };
    api.metrics(id, known.length, abort.signal).then(
      ({ columns, next }) => {
        if (abort.signal.aborted) return;
        // Fewer than known: the run went back to a checkpoint, and all lines came anew.
        const isWhole = known.length === 0 || next < known.length;
        if (!isWhole && next === known.length) return setState({ ...known, error: null, loaded: true });
        const all = isWhole ? columns : appended(known.columns, known.length, columns);
        setState({ id, columns: all, length: next, error: null, loaded: true });
      },
      (error: unknown) => {
        if (abort.signal.aborted) return;
        setState({ ...known, error: error instanceof ApiError ? error.message : String(error), loaded: true });
      },
    );
    return () => abort.abort();
  }, [id, tick]);
  const current = state.id === id ? state : NOTHING;
  useBusy(!current.loaded);
  return current;
}

/** A column of numbers. */
export function numbers(columns: Columns, key: string): (number | null)[] {
  return (columns[key] ?? []).map((value) => (typeof value === "number" ? value : null));
}
