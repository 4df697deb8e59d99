import { Component, type ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { go, useKeys, useRoute } from "./lib/hooks";
import { useIsLive } from "./lib/live";
import { plainMarks } from "./lib/marks";
import { rolloutsLink, runLink, runsLink, type Route } from "./lib/routes";
import { dateTime } from "./lib/format";
import { snapshot } from "./lib/snapshot";
import { Marked, Notice } from "./parts/basic";
import { Help } from "./parts/help";
import { CompareView } from "./views/compare";
import { EpisodeView } from "./views/episode";
import { RolloutsView } from "./views/rollouts";
import { RunView } from "./views/run";
import { RunsView } from "./views/runs";

export function App() {
  const asked = useRoute();
  // A page of one run has no list of runs.
  const route: Route = asked.view === "runs" && snapshot !== null ? { view: "run", id: snapshot.home } : asked;
  const [help, setHelp] = useState(false);
  useKeys({
    "?": () => setHelp(true),
    Escape: () => {
      const up = above(route);
      if (up !== null) go(up);
    },
  });
  const place = JSON.stringify([route.view, "id" in route ? route.id : null]);
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    scrollTo(0, 0);
  }, [place]);
  return (
    <>
      <a class="skip" href="#content" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>
        Skip to content
      </a>
      <Header route={route} onHelp={() => setHelp(true)} />
      <main id="content" ref={main} tabIndex={-1}>
        <Guard key={place}>
          <View route={route} />
        </Guard>
      </main>
      <Help open={help} onClose={() => setHelp(false)} />
    </>
  );
}

function View({ route }: { route: Route }) {
  switch (route.view) {
    case "runs": return <RunsView />;
    case "compare": return <CompareView ids={route.ids} />;
    case "run": return <RunView id={route.id} />;
    case "rollouts": return <RolloutsView id={route.id} query={route.query} />;
    case "episode": return <EpisodeView {...route} />;
    case "unknown": return <Notice kind="error">Nothing stands at this address. <a href={runsLink}>All runs</a></Notice>;
  }
}

/** The view above, for Escape. */
function above(route: Route): string | null {
  switch (route.view) {
    case "runs": return null;
    case "run": return snapshot?.home === route.id ? null : runsLink;
    case "compare": case "unknown": return runsLink;
    case "rollouts": return runLink(route.id);
    case "episode": return rolloutsLink(route.id, { stage: route.stage, ...route.query });
  }
}

function Header({ route, onHelp }: { route: Route; onHelp: () => void }) {
  const live = useIsLive();
  return (
    <header class="top">
      <nav aria-label="Where you are">
        <a class="brand" href={runsLink}>rlef</a>
        {"id" in route && (
          <>
            <span class="slash" aria-hidden="true">/</span>
            <a href={runLink(route.id)} title={plainMarks(route.id)}><Marked text={route.id.split("/").at(-1)!} /></a>
          </>
        )}
        {(route.view === "rollouts" || route.view === "episode") && (
          <>
            <span class="slash" aria-hidden="true">/</span>
            <a href={rolloutsLink(route.id, route.view === "episode" ? { stage: route.stage, ...route.query } : { stage: route.query.stage ?? "" })}>
              Rollouts
            </a>
          </>
        )}
        {route.view === "compare" && (
          <>
            <span class="slash" aria-hidden="true">/</span>
            <span>Compare</span>
          </>
        )}
      </nav>
      {snapshot !== null ? <span class="live" title="This page holds a part of the run as it was then; it loads nothing">{dateTime(snapshot.written)}</span> : (
        <span class={live ? "live on" : "live"} role="status" title={live ? "New numbers appear as they are written" : "The server's events do not come through; asking every few seconds"}>
          <i aria-hidden="true" />{live ? "live" : "polling"}
        </span>
      )}
      <Theme />
      <button type="button" class="plain" onClick={onHelp} aria-label="Help and keys" title="Help and keys (?)">?</button>
    </header>
  );
}

const THEMES = ["auto", "light", "dark"] as const;

function Theme() {
  const [theme, setTheme] = useState(document.documentElement.dataset["theme"] ?? "auto");
  const next = THEMES[(THEMES.indexOf(theme as (typeof THEMES)[number]) + 1) % THEMES.length]!;
  const change = () => {
    if (next === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = next;
    try {
      localStorage.setItem("rlef-theme", next);
    } catch {
      // Storage is off: it holds for this page.
    }
    setTheme(next);
    dispatchEvent(new Event("rlef-theme"));
  };
  return (
    <button type="button" class="plain" onClick={change} title={`Theme: ${theme}; next: ${next}`} aria-label={`Theme: ${theme}. Change to ${next}`}>
      {{ auto: "◐", light: "☀", dark: "☾" }[theme as (typeof THEMES)[number]]}
    </button>
  );
}

/** A fault in one view must not leave an empty page. */
class Guard extends Component<{ children: ComponentChildren }, { error: string | null }> {
  override state = { error: null };
  static override getDerivedStateFromError(error: unknown) {
    return { error: String(error) };
  }
  render() {
    if (this.state.error === null) return this.props.children;
    return <Notice kind="error">This view met an error: {this.state.error}. Other views still work.</Notice>;
  }
}
