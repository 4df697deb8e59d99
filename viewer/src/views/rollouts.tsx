import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { api, type EpisodeRow } from "../lib/api";
import { count, DASH, fixed } from "../lib/format";
import { go, replace, useKeys, useLoad, useMedia, useTitle } from "../lib/hooks";
import { useLive } from "../lib/live";
import { plainMarks } from "../lib/marks";
import { usePages } from "../lib/pages";
import { episodeLink, queryParameters, rolloutsLink, type Query } from "../lib/routes";
import { LEFT_OUT, listOf, snapshot } from "../lib/snapshot";
import { STOPS } from "../lib/words";
import { Badge, Loading, Marked, Notice } from "../parts/basic";
import { useVirtual } from "../parts/virtual";
import { Filters } from "./filters";
import { preferredStage } from "./run-turns";

const ROW = 34;
const NARROW_ROW = 66;

/** Where the list of a query was left, so that coming back finds it there. */
const places = new Map<string, number>();

export function RolloutsView({ id, query: asked }: { id: string; query: Query }) {
  const tick = useLive(id, 2000);
  const { data: whole, error } = useLoad(id, tick, (signal) => api.run(id, signal));
  const run = whole !== null && snapshot !== null ? { ...whole, stages: whole.stages.filter((one) => listOf(snapshot!, id, one.name) !== null) } : whole;
  useTitle(run === null ? "Rollouts" : `Rollouts of ${run.name}`);
  if (run === null) return error === null ? <Loading what="Reading the run" /> : <Notice kind="error">{error}</Notice>;
  if (run.stages.length === 0) return <Notice>This run holds no episodes{run.state === "running" ? " yet; they appear here as it writes them" : ""}.</Notice>;
  if (asked.stage !== undefined && !run.stages.some((one) => one.name === asked.stage) && snapshot !== null) return <Notice>{LEFT_OUT}</Notice>;
  const stage = asked.stage ?? preferredStage(run);
  const query = { ...asked, stage };
  return (
    <>
      <h1 class="hidden">Rollouts of {run.name}</h1>
      <Filters run={run} query={query} onChange={(next) => replace(rolloutsLink(id, next))} />
      <List id={id} query={query} stage={stage} tick={tick} isTraining={stage === "train"} />
    </>
  );
}

function List({ id, query, stage, tick, isTraining }: { id: string; query: Query; stage: string; tick: number; isTraining: boolean }) {
  const key = `${id} ${queryParameters(query)}`;
  const pages = usePages(id, query, tick);
  const isNarrow = useMedia("(max-width: 760px)");
  const total = pages.total ?? 0;
  const { ref, list } = useVirtual(total, isNarrow ? NARROW_ROW : ROW);
  const [at, setAt] = useState(places.get(key) ?? 0);
  const restored = useRef("");
  const items = list.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const last = items.at(-1)?.index ?? 0;

  useEffect(() => pages.want(first, last));
  useLayoutEffect(() => {
    if (pages.loading || pages.total === null || restored.current === key) return;
    restored.current = key;
    const place = Math.min(places.get(key) ?? 0, Math.max(0, total - 1));
    setAt(place);
    list.scrollToIndex(place, { align: place === 0 ? "start" : "center" });
  }, [key, pages.loading, pages.total]);

  const move = (place: number) => {
    const next = Math.min(total - 1, Math.max(0, place));
    setAt(next);
    places.set(key, next);
    list.scrollToIndex(next, { align: "auto" });
  };
  const open = () => {
    const row = pages.at(at);
    if (row !== null) go(episodeLink(id, stage, row.row, query, at));
  };
  useKeys({
    j: () => move(at + 1), k: () => move(at - 1), ArrowDown: () => move(at + 1), ArrowUp: () => move(at - 1),
    PageDown: () => move(at + 15), PageUp: () => move(at - 15), g: () => move(0), G: () => move(total - 1), Home: () => move(0), End: () => move(total - 1),
    Enter: open, "/": () => document.getElementById("filter-text")?.focus(),
  });
  const sort = (column: string) => {
    const desc = query.sort === column ? (query.desc === "1" ? undefined : "1") : column === "problem" || column === "batch" ? undefined : "1";
    const { desc: _, ...rest } = query;
    const isThird = query.sort === column && query.desc === "1" && !(column === "problem" || column === "batch");
    replace(rolloutsLink(id, isThird ? { ...rest, sort: column } : { ...rest, sort: column, ...(desc ? { desc } : {}) }));
  };
  const columns: [string, string, string][] = [
    [isTraining ? "batch" : "row", isTraining ? "Batch" : "#", "n"], ["problem", "Problem", ""], ["verdicts", "Turns", ""], ["solved", "Result", ""],
    ...(isTraining ? [["reward", "Reward", "n"] as [string, string, string]] : []), ["tokens", "Tokens", "n"], ["stop", "Ended by", ""],
  ];
  return (
    <>
      <p class="count" role="status">
        {pages.error !== null ? null : pages.total === null ? "Searching…" : <><b>{count(total)}</b> {total === 1 ? "episode" : "episodes"}{pages.loading && " · searching…"}<Held id={id} stage={stage} /></>}
      </p>
      {pages.error !== null && <Notice kind="error">{pages.error}</Notice>}
      {pages.error === null && pages.total === 0 && !pages.loading && <Notice>No episode matches these filters.</Notice>}
      <div class={`episodes${isTraining ? " training" : ""}`} role="grid" aria-rowcount={total + 1} aria-label="Episodes" aria-busy={pages.loading}>
        <div class="head" role="row">
          {columns.map(([name, label, kind]) => (
            <span key={name} role="columnheader" class={kind} aria-sort={query.sort === name ? (query.desc === "1" ? "descending" : "ascending") : "none"}>
              <button type="button" class="sort" onClick={() => sort(name)}>{label}{query.sort === name ? (query.desc === "1" ? " ↓" : " ↑") : ""}</button>
            </span>
          ))}
        </div>
        <div class="body" ref={ref} tabIndex={0} aria-label="Rows; j and k move, Enter opens">
          <div class="space" style={{ height: `${list.getTotalSize()}px` }}>
            {items.map((item) => {
              const row = pages.at(item.index);
              const style = { transform: `translateY(${item.start}px)`, height: `${item.size}px` };
              return row === null
                ? <div key={item.index} class="row waiting" style={style} role="row" aria-rowindex={item.index + 2}><span role="gridcell">…</span></div>
                : <Row key={item.index} row={row} isCurrent={item.index === at} isTraining={isTraining} style={style} place={item.index}
                    href={episodeLink(id, stage, row.row, query, item.index)} onOpen={() => places.set(key, item.index)} />;
            })}
          </div>
        </div>
      </div>
    </>
  );
}

/** Which episodes a page without a server has. */
function Held({ id, stage }: { id: string; stage: string }) {
  const list = snapshot === null ? null : listOf(snapshot, id, stage);
  if (list === null) return null;
  return <> · this page holds {count(list.rows.length)} of {count(list.of)}: repaired, failed and solved at once in turn, so no fair sample</>;
}

function Row({ row, isCurrent, isTraining, style, place, href, onOpen }: {
  row: EpisodeRow; isCurrent: boolean; isTraining: boolean; style: Record<string, string>; place: number; href: string; onOpen: () => void;
}) {
  const result = row.stop === "infra_error" ? "IE" : row.solved ? "solved" : row.outcome === "AC" ? "failed" : (row.outcome ?? "failed");
  const failed = row.verdicts.at(-1) === "AC" && !row.solved && row.stop !== "infra_error";
  return (
    <a class={`row${isCurrent ? " current" : ""}`} href={href} style={style} role="row" aria-rowindex={place + 2} aria-selected={isCurrent} onClick={onOpen} tabIndex={-1}>
      <span class="n place" role="gridcell" title={isTraining ? `request ${row.index}${row.update === null ? "" : `, update ${row.update}`}` : ""}>{isTraining ? (row.batch ?? row.status) : row.row}</span>
      <span class="problem" role="gridcell" title={plainMarks(row.problem)}><Marked text={row.problem} /></span>
      <span class="turns" role="gridcell" aria-label={row.verdicts.join(", ")}>
        {row.verdicts.slice(0, 8).map((verdict, i) => <Badge key={i} outcome={verdict} small />)}
        {row.verdicts.length > 8 && <span class="dim">+{row.verdicts.length - 8}</span>}
      </span>
      <span class="result" role="gridcell">
        {row.solved ? <span class="yes">{row.repaired ? "✓ repaired" : "✓ solved"}</span> : failed ? <span class="no">✗ private {row.outcome}</span> : result === "IE" ? <span class="dim">judge failed</span> : <span class="no">✗ failed</span>}
      </span>
      {isTraining && <span class="n reward" role="gridcell">{fixed(row.reward, 2)}</span>}
      <span class="n tokens" role="gridcell">{count(row.tokens)}</span>
      <span class="stop" role="gridcell">{STOPS[row.stop] ?? row.stop ?? DASH}{row.status === "too_old" ? " · too old" : row.status === "pending" ? " · pending" : ""}</span>
    </a>
  );
}
