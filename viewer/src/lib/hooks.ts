import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./api";
import { plainMarks } from "./marks";
import { parseRoute, type Route } from "./routes";

export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => setHash(location.hash);
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return parseRoute(hash);
}

export function go(link: string): void {
  location.hash = link;
}

/** Changes the address without an entry in the history, for what is typed. */
export function replace(link: string): void {
  history.replaceState(null, "", link);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

let loads = 0;

/** While something of the page is asked for the first time, the page is `aria-busy`. */
export function useBusy(isLoading: boolean): void {
  useLayoutEffect(() => {
    if (!isLoading) return;
    const count = (more: number) => {
      loads += more;
      document.body.setAttribute("aria-busy", String(loads > 0));
    };
    count(1);
    return () => count(-1);
  }, [isLoading]);
}

export type Loaded<T> = { data: T | null; error: string | null; loading: boolean };

/**
 * What a request gave. While another one for the same `key` is under way, the last answer stays;
 * with a new key nothing of the old one is shown. `tick` asks again.
 */
export function useLoad<T>(key: string, tick: number, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<Loaded<T> & { key: string }>({ data: null, error: null, loading: true, key });
  useEffect(() => {
    const abort = new AbortController();
    setState((old) => (old.key === key ? { ...old, loading: true } : { data: null, error: null, loading: true, key }));
    load(abort.signal).then(
      (data) => {
        if (!abort.signal.aborted) setState({ data, error: null, loading: false, key });
      },
      (error: unknown) => {
        if (abort.signal.aborted) return;
        const message = error instanceof ApiError ? error.message : String(error);
        setState((old) => ({ data: old.data, error: message, loading: false, key }));
      },
    );
    return () => abort.abort();
  }, [key, tick]);
  const current = state.key === key ? state : { data: null, error: null, loading: true };
  useBusy(current.data === null && current.error === null);
  return current;
}

export function useDebounced<T>(value: T, wait: number): T {
  const [shown, setShown] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setShown(value), wait);
    return () => clearTimeout(timer);
  }, [value, wait]);
  return shown;
}

export function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const changed = () => setMatches(list.matches);
    changed();
    list.addEventListener("change", changed);
    return () => list.removeEventListener("change", changed);
  }, [query]);
  return matches;
}

/** Counts changes of light and dark, for what is drawn on a canvas. */
export function useThemeTick(): number {
  const [tick, setTick] = useState(0);
  const dark = useMedia("(prefers-color-scheme: dark)");
  useEffect(() => {
    const changed = () => setTick((old) => old + 1);
    addEventListener("rlef-theme", changed);
    return () => removeEventListener("rlef-theme", changed);
  }, []);
  return tick * 2 + Number(dark);
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title === "" ? "rlef" : `${plainMarks(title)} · rlef`;
  }, [title]);
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.matches("input, select, textarea") || target.isContentEditable);
}

/** Keys of a view, by `KeyboardEvent.key`; none while something is typed, but Escape leaves a field. */
export function useKeys(keys: Record<string, (event: KeyboardEvent) => void>): void {
  const latest = useRef(keys);
  latest.current = keys;
  // At once, so that no key is lost between what is drawn and the next frame.
  useLayoutEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (document.querySelector("dialog[open]")) return;
      if (isTyping(event.target)) {
        if (event.key === "Escape") (event.target as HTMLElement).blur();
        return;
      }
      // Enter on a link or a button is for that one.
      if (event.key === "Enter" && event.target instanceof Element && event.target.closest("a, button, summary")) return;
      const handler = latest.current[event.key];
      if (handler === undefined) return;
      event.preventDefault();
      handler(event);
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}
