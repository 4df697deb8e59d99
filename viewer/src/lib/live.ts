/** Which runs grow: the server's events, or asking now and then where they do not come through. */

import { useEffect, useState } from "preact/hooks";
import { snapshot } from "./snapshot";

type Listener = (id: string | null) => void;

const listeners = new Set<Listener>();
const statusListeners = new Set<(live: boolean) => void>();
const POLL_MS = 5000;
const RETRY_MS = 15000;
let live = false;
let started = false;

function setLive(now: boolean): void {
  if (live === now) return;
  live = now;
  for (const listener of statusListeners) listener(now);
}

function start(): void {
  if (started || snapshot !== null) return;
  started = true;
  connect();
  setInterval(() => {
    if (!live && !document.hidden) for (const listener of listeners) listener(null);
  }, POLL_MS);
}

function connect(): void {
  const source = new EventSource("api/live");
  source.onopen = () => {
    setLive(true);
    for (const listener of listeners) listener(null); // what changed before that was not told
  };
  source.onmessage = (event: MessageEvent<string>) => {
    try {
      const { id } = JSON.parse(event.data) as { id?: unknown };
      for (const listener of listeners) listener(typeof id === "string" ? id : null);
    } catch {
      // Not an event of a run.
    }
  };
  source.onerror = () => {
    setLive(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  };
}

/** Counts changes of a run, or of any run; at most one in so many milliseconds. */
export function useLive(id: string | null, every = 1000): number {
  const [tick, setTick] = useState(0);
  useEffect(() => {
    start();
    let timer: ReturnType<typeof setTimeout> | null = null;
    const changed: Listener = (which) => {
      if (id !== null && which !== null && which !== id) return;
      timer ??= setTimeout(() => {
        timer = null;
        setTick((old) => old + 1);
      }, every);
    };
    listeners.add(changed);
    return () => {
      listeners.delete(changed);
      if (timer !== null) clearTimeout(timer);
    };
  }, [id, every]);
  return tick;
}

export function useIsLive(): boolean {
  const [now, setNow] = useState(live);
  useEffect(() => {
    start();
    setNow(live);
    statusListeners.add(setNow);
    return () => void statusListeners.delete(setNow);
  }, []);
  return now;
}
