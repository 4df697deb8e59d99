import { useMemo, useState } from "preact/hooks";
import { api, type ProblemRow, type Run } from "../lib/api";
import { count, percent, plural, points } from "../lib/format";
import { useLoad } from "../lib/hooks";
import { grouped, groupKey, sorted, type SortKey } from "../lib/problems";
import { rolloutsLink } from "../lib/routes";
import { stageLabel } from "../lib/words";
import { Choice, Loading, Marked, Notice, Section, Select, ShareBar } from "../parts/basic";
import { preferredStage } from "./run-turns";

const SHOWN = 20;

/** Problems by difficulty, and by what changed between two stages. */
export function Problems({ run, tick }: { run: Run; tick: number }) {
  const [chosen, setStage] = useState("");
  const [chosenOther, setOther] = useState<string | null>(null);
  const [by, setBy] = useState<"family" | "problem">("family");
  const [chosenOrder, setOrder] = useState<{ key: SortKey; desc: boolean } | null>(null);
  const [search, setSearch] = useState("");
  const [all, setAll] = useState(false);
  const stage = chosen || preferredStage(run);
  const names = run.stages.map((one) => one.name);
  const other = chosenOther ?? (stage === "eval-after" && names.includes("eval-before") ? "eval-before" : "");
  const { data, error } = useLoad(`problems ${run.id} ${stage} ${other}`, tick, (signal) => api.problems(run.id, stage, other || null, signal));
  const order = chosenOrder ?? (other === "" ? { key: "solve_rate" as const, desc: false } : { key: "change" as const, desc: true });
  const hasFamilies = data?.rows.some((row) => row.family !== null) ?? false;
  const isFamily = by === "family" && hasFamilies;
  const rows = useMemo(() => {
    const matching = (data?.rows ?? []).filter((row) => `${row.problem} ${row.hidden_detail ?? ""}`.toLowerCase().includes(search.toLowerCase()));
    return sorted(isFamily ? grouped(matching) : matching, order.key, order.desc);
  }, [data, search, isFamily, order]);
  const shown = all ? rows.slice(0, 1000) : rows.slice(0, SHOWN);
  const head = (key: SortKey, name: string, title?: string) => (
    <th class={key === "name" ? "" : "n"} aria-sort={order.key === key ? (order.desc ? "descending" : "ascending") : "none"} title={title}>
      <button type="button" class="sort" onClick={() => setOrder({ key, desc: order.key === key ? !order.desc : key !== "name" })}>
        {name}{order.key === key ? (order.desc ? " ↓" : " ↑") : ""}
      </button>
    </th>
  );
  const link = (row: ProblemRow) => rolloutsLink(run.id, { stage, ...(isFamily && row.family !== null ? { family: row.family } : { problem_is: row.problem }) });
  return (
    <Section id="problems" title="Problems" about="Sort by a column to find the hardest, or what changed most. Follow a name to its episodes."
      tools={
        <>
          <Select label="Of" value={stage} options={names.map((name) => [name, stageLabel(name, run.config)] as const)} onChange={setStage} />
          <Select label="Against" value={other} options={[["", "nothing"], ...names.filter((name) => name !== stage).map((name) => [name, stageLabel(name, run.config)] as const)]} onChange={setOther} />
          {hasFamilies && <Choice label="Rows" value={by} options={[["family", "Families"], ["problem", "Problems"]]} onChange={setBy} />}
          <label class="field"><span class="hidden">Search problems</span>
            <input type="search" placeholder="Search" value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
          </label>
        </>
      }>
      {error !== null && <Notice kind="error">{error}</Notice>}
      {data === null && error === null && <Loading />}
      {data !== null && (
        <>
          <div class="scroll">
            <table class="problems">
              <thead>
                <tr>
                  {head("name", isFamily ? "Family" : "Problem")}
                  {head("episodes", "Episodes")}
                  {head("turn_1", "Turn 1", "Solved at the first turn")}
                  {head("solve_rate", "Solved")}
                  <th class="wide" aria-label="Solved, as a bar" />
                  {head("repaired", "Later turns", "What turns after the first add, in points of percent")}
                  {other !== "" && head("other_rate", stageLabel(other, run.config))}
                  {other !== "" && head("change", "Change", "In points of percent")}
                </tr>
              </thead>
              <tbody>
                {shown.map((row) => (
                  <tr key={isFamily ? groupKey(row) : row.problem}>
                    <td class="name"><a href={link(row)}><Marked text={row.problem} /></a>{row.hidden_detail !== null && <span class="dim" title="Left out of the statement on purpose: only feedback tells it"> hidden: <Marked text={row.hidden_detail} /></span>}</td>
                    <td class="n">{count(row.episodes)}</td>
                    <td class="n">{percent(row.turn_1, 0)}</td>
                    <td class="n big">{percent(row.solve_rate, 0)}</td>
                    <td class="wide"><ShareBar share={row.solve_rate} /></td>
                    <td class="n">{row.solve_rate === null || row.turn_1 === null ? "–" : points(row.solve_rate - row.turn_1, 0)}</td>
                    {other !== "" && <td class="n">{percent(row.other_rate, 0)}</td>}
                    {other !== "" && <Change row={row} />}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          <p class="dim">
            {plural(rows.length, isFamily ? "family" : "problem", isFamily ? "families" : "problems")}
            {rows.length > shown.length && <> · <button type="button" class="more" onClick={() => setAll(true)}>show {rows.length > 1000 ? "1,000" : "all"}</button></>}
          </p>
        </>
      )}
    </Section>
  );
}

function Change({ row }: { row: ProblemRow }) {
  if (row.solve_rate === null || row.other_rate === null) return <td class="n">–</td>;
  const change = row.solve_rate - row.other_rate;
  const kind = change > 0.005 ? "up" : change < -0.005 ? "down" : "";
  return <td class={`n ${kind}`}>{kind === "up" ? "▲ " : kind === "down" ? "▼ " : ""}{points(change, 0)}</td>;
}
