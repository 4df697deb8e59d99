import { useMemo, useRef, useState } from "preact/hooks";
import { api, type RunRow } from "../lib/api";
import { ago, count, dateTime, percent, plural, points } from "../lib/format";
import { go, useKeys, useLoad, useTitle } from "../lib/hooks";
import { useLive } from "../lib/live";
import { compareLink, rolloutsLink, runLink } from "../lib/routes";
import { plainMarks } from "../lib/marks";
import { Loading, Marked, Notice } from "../parts/basic";

export const STATES: Record<RunRow["state"], string> = {
  running: "running", finished: "finished", stopped: "stopped", damaged: "damaged", empty: "empty",
};

export function RunsView() {
  useTitle("Runs");
  const tick = useLive(null, 2000);
  const { data, error } = useLoad("runs", tick, (signal) => api.runs(signal));
  const [search, setSearch] = useState("");
  const [kind, setKind] = useState("");
  const [chosen, setChosen] = useState<string[]>([]);
  const [at, setAt] = useState(0);
  const field = useRef<HTMLInputElement>(null);
  const runs = useMemo(() => {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    const text = (run: RunRow) => `${run.id} ${run.model} ${run.recipe} ${run.state} ${run.kind}`.toLowerCase();
    return (data?.runs ?? [])
      .filter((run) => (kind === "" || run.kind === kind) && words.every((word) => text(run).includes(word)))
      .sort((a, b) => Number(b.state === "running") - Number(a.state === "running") || (b.changed ?? 0) - (a.changed ?? 0));
  }, [data, search, kind]);
  const toggle = (id: string) =>
    setChosen((old) => (old.includes(id) ? old.filter((other) => other !== id) : [...old, id]));
  const move = (step: number) => {
    const next = Math.min(runs.length - 1, Math.max(0, at + step));
    setAt(next);
    document.getElementById(`run-${next}`)?.scrollIntoView({ block: "nearest" });
  };
  const current = runs[Math.min(at, runs.length - 1)];
  useKeys({
    j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1),
    Enter: () => current && go(runLink(current.id)), x: () => current && current.kind !== "study" && toggle(current.id),
    c: () => chosen.length > 1 && go(compareLink(chosen)), "/": () => field.current?.focus(),
  });
  if (data === null) return error === null ? <Loading what="Looking for runs" /> : <Notice kind="error">{error}</Notice>;
  const hasGain = runs.some((run) => "gain" in run.headline);
  return (
    <>
      <div class="page-head">
        <h1>Runs</h1>
        <div class="tools">
          <label class="field"><span class="hidden">Search runs</span>
            <input ref={field} type="search" placeholder="Search: name, model, state  /" value={search} onInput={(event) => { setSearch(event.currentTarget.value); setAt(0); }} />
          </label>
          <label class="field"><span class="hidden">Kind</span>
            <select value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
              <option value="">all kinds</option><option value="training">trainings</option><option value="evaluation">evaluations</option><option value="study">studies</option>
            </select>
          </label>
        </div>
      </div>
      {error !== null && <Notice kind="error">{error}</Notice>}
      {data.runs.length === 0 && (
        <Notice>No runs in the folders that were given. <code>rlef train mini --out runs/first</code> makes one; it appears here as it starts.</Notice>
      )}
      {data.runs.length > 0 && runs.length === 0 && <Notice>No run matches.</Notice>}
      {runs.length > 0 && (
        <table class="runs">
          <thead>
            <tr>
              <th><span class="hidden">Compare</span></th><th>Run</th><th>State</th><th>Recipe or data</th><th>Model</th><th class="n">Seed</th><th>Progress</th>
              <th class="n">Solved</th>
              {hasGain && <th class="n" title="After training less before, same problems, in points of percent">Gain</th>}
              <th>Changed</th>
            </tr>
          </thead>
          <tbody>
            {runs.map((run, i) => (
              <tr key={run.id} id={`run-${i}`} class={i === at ? "current" : ""} onMouseDown={() => setAt(i)}>
                <td class="check">
                  {run.kind !== "study" && (
                    <input type="checkbox" checked={chosen.includes(run.id)} onChange={() => toggle(run.id)} aria-label={`Compare ${plainMarks(run.name)}`} />
                  )}
                </td>
                <td class="name">
                  <a href={runLink(run.id)} title={plainMarks(run.id)}><Marked text={run.name} /></a>
                  <span class="dim">{[run.kind === "training" ? null : run.kind, folderOf(run)].filter(Boolean).join(" · ")}</span>
                  {run.note !== null && <span class="note"><Marked text={run.note} /></span>}
                </td>
                <td data-label="State"><State state={run.state} /></td>
                <td data-label="Recipe" class="model">{run.recipe === null ? "–" : <span title={plainMarks(run.recipe)}><Marked text={run.recipe.split("/").at(-1)!} /></span>}</td>
                <td data-label="Model" class="model">{run.model === null ? "–" : <span title={plainMarks(run.model)}><Marked text={run.model.split("/").at(-1)!} /></span>}</td>
                <td data-label="Seed" class="n">{run.seed ?? "–"}</td>
                <td data-label="Progress" class="progress"><Progress run={run} /></td>
                <td data-label="Solved" class="n solved"><Solved headline={run.headline} /></td>
                {hasGain && <td data-label="Gain" class="n">{points(run.headline["gain"])}</td>}
                <td data-label="Changed" class="when" title={`started ${dateTime(run.started)}, changed ${dateTime(run.changed)}`}>{ago(run.changed)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {chosen.length > 0 && (
        <div class="bottom-bar" role="status">
          <span>{plural(chosen.length, "run")} chosen</span>
          <button type="button" onClick={() => setChosen([])}>Clear</button>
          {chosen.length > 1
            ? <a class="button" href={compareLink(chosen)}>Compare</a>
            : <a class="button" href={rolloutsLink(chosen[0]!)}>Rollouts</a>}
        </div>
      )}
    </>
  );
}

/** The number that a run is known by, and its name. */
export function mainNumber(headline: RunRow["headline"]): [string, number] | null {
  const size = (name: string) => Number(/^1@(\d+)$/.exec(name)?.[1] ?? 0);
  const [best] = Object.keys(headline).filter((name) => name !== "gain").sort((a, b) => size(b) - size(a));
  const value = best === undefined ? null : headline[best];
  return best === undefined || typeof value !== "number" ? null : [best, value];
}

function Solved({ headline }: { headline: RunRow["headline"] }) {
  const found = mainNumber(headline);
  if (found === null) return <span class="dim">–</span>;
  const [name, value] = found;
  return name === "solve_rate"
    ? <><b>{percent(value)}</b> <span class="dim" title="On the training problems of the last batch">train</span></>
    : <><b>{percent(value)}</b> <span class="dim">{name}</span></>;
}

/** Where a run lies below the folder that was given; nothing for one right in it. */
function folderOf(run: RunRow): string | null {
  const parts = run.id.split("/");
  return parts.length > 2 ? `in ${parts.slice(1, -1).join("/")}` : null;
}

export function State({ state }: { state: RunRow["state"] }) {
  return <span class={`state ${state}`}><i aria-hidden="true" />{STATES[state] ?? state}</span>;
}

function Progress({ run }: { run: RunRow }) {
  if (run.update === null || !run.updates) return <span class="dim">–</span>;
  const share = Math.min(1, run.update / run.updates);
  return (
    <>
      <progress max={1} value={share} aria-label={`${run.update} of ${run.updates} updates`} />
      <span class="dim">{count(run.update)} / {count(run.updates)}</span>
    </>
  );
}
