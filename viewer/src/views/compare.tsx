import { useMemo, useState } from "preact/hooks";
import { api, type Columns, type Group, type Pair } from "../lib/api";
import { count, fixed, isNumber, percent, points, setting } from "../lib/format";
import { useLoad, useTitle } from "../lib/hooks";
import { useLive } from "../lib/live";
import { numbers } from "../lib/metrics";
import { compareLink, runLink } from "../lib/routes";
import { at, overSeeds, smoothed } from "../lib/seeds";
import { snapshot } from "../lib/snapshot";
import { COMPARED, stageLabel } from "../lib/words";
import { Choice, Loading, Marked, Notice, Section } from "../parts/basic";
import { Curves, type Series } from "../parts/chart";

/** Several runs: what differs in their settings, their curves, their last evaluations. */
export function CompareView({ ids }: { ids: string[] }) {
  useTitle("Compare");
  const tick = useLive(null, 4000);
  const key = ids.join("\n");
  const { data: settings, error: settingsError } = useLoad(`settings ${key}`, 0, (signal) => api.settings(ids, signal));
  const { data, error } = useLoad(`compare ${key}`, tick, (signal) => api.compare(ids, signal));
  const names = useMemo(() => shortNames(ids), [key]);
  if (ids.length < 2) return <Notice>Choose two or more runs on the list of <a href="#/">runs</a>.</Notice>;
  return (
    <>
      <div class="page-head">
        <h1>{ids.length} runs side by side</h1>
      </div>
      <ul class="chips">
        {ids.map((id) => (
          <li key={id}>
            <a href={runLink(id)}>{names[id]}</a>
            {snapshot === null && <a class="remove" href={compareLink(ids.filter((other) => other !== id))} aria-label={`Leave out ${names[id]}`}>×</a>}
          </li>
        ))}
      </ul>
      {error !== null && <Notice kind="error">{error}</Notice>}
      {data === null && error === null && <Loading what="Comparing" />}
      {data !== null && <SideBySide ids={ids} groups={data.curves} names={names} tick={tick} />}
      {data !== null && data.pairs.length + data.notes.length > 0 && (
        <Section title="Last evaluations" about="Each run against the first, on the problems that both have; differences in points of percent. The interval is of the difference, over problems; p: paired permutation test, two-sided, not corrected for looking at several numbers.">
          <Paired pairs={data.pairs} notes={data.notes} names={names} />
        </Section>
      )}
      <Section title="Settings that differ">
        {settingsError !== null && <Notice kind="error">{settingsError}</Notice>}
        {settings !== null && settings.keys.length === 0 && <p class="dim">None.</p>}
        {settings !== null && settings.keys.length > 0 && (
          <div class="scroll">
            <table class="differences">
              <thead><tr><th>Setting</th>{ids.map((id) => <th key={id}>{names[id]}</th>)}</tr></thead>
              <tbody>
                {settings.keys.map((row) => (
                  <tr key={row.key}>
                    <td><code><Marked text={row.key} /></code></td>
                    {row.values.map((value, i) => <td key={i}><Marked text={setting(value)} /></td>)}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Section>
    </>
  );
}

function SideBySide({ ids, groups, names, tick }: { ids: string[]; groups: Group[]; names: Record<string, string>; tick: number }) {
  const [by, setBy] = useState<"seeds" | "runs">("seeds");
  const { data: all, error } = useLoad(`metrics ${ids.join("\n")}`, tick, async (signal) =>
    Object.fromEntries(await Promise.all(ids.map(async (id) => [id, (await api.metrics(id, 0, signal)).columns] as const))));
  const isTogether = by === "seeds";
  const shown = useMemo(
    () => (isTogether ? groups : groups.flatMap((group) => group.ids.map((id): Group => ({ label: names[id] ?? id, ids: [id], seeds: [] })))),
    [groups, isTogether, names],
  );
  const charts = useMemo(() => (all === null ? [] : COMPARED.map((metric) => ({ metric, ...drawn(shown, all, metric.key) })).filter(({ series }) => series.length > 0)), [shown, all]);
  if (groups.length === 0) return null;
  return (
    <Section title="Training curves" about="Running means over batches. Together: runs whose settings are equal but for the seed are one curve, their mean, with its 95 % interval over seeds shaded (Student's t: with two seeds it is wide, and may be cut off)."
      tools={groups.some((group) => group.ids.length > 1) && <Choice label="Curves" value={by} options={[["seeds", "Seeds together"], ["runs", "Each run"]]} onChange={setBy} />}>
      {error !== null && <Notice kind="error">{error}</Notice>}
      {all === null && error === null && <Loading />}
      <div class="charts">
        {charts.map(({ metric, x, series }) => (
          <Curves key={metric.key} title={metric.label} unit={metric.unit} percent={metric.percent ?? false} x={x} series={series} sync="compare" raw {...(metric.percent ? { range: [0, 1] as [number, number] } : {})} />
        ))}
      </div>
    </Section>
  );
}

/** Curves of groups on one axis of updates: runs may have other batch sizes. */
function drawn(groups: Group[], all: Record<string, Columns>, key: string): { x: number[]; series: Series[] } {
  const updates = (id: string) => numbers(all[id] ?? {}, "update");
  const values = (id: string) => numbers(all[id] ?? {}, key);
  const shown = groups.filter((group) => group.ids.some((id) => values(id).some(isNumber)));
  const x = [...new Set(shown.flatMap((group) => group.ids.flatMap(updates)).filter(isNumber))].sort((a, b) => a - b);
  const series = shown.map((group): Series => {
    const { mean, low, high } = overSeeds(group.ids.map((id) => at(x, updates(id), smoothed(values(id)))));
    const label = group.ids.length > 1 ? `${group.label} (${group.ids.length} seeds)` : group.label;
    return { label, values: mean, color: 1 + (groups.indexOf(group) % 6), band: low.some(isNumber) ? { low, high } : null };
  });
  return { x, series };
}

function Paired({ pairs, notes, names }: { pairs: Pair[]; notes: string[]; names: Record<string, string> }) {
  const first = pairs[0];
  return (
    <>
      {first && (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th>Run</th><th>Metric</th><th class="n">{names[first.a]}</th><th class="n">This run</th>
                <PairHeads />
              </tr>
            </thead>
            <tbody>
              {pairs.map((row, i) => {
                const isFirst = pairs[i - 1]?.b !== row.b;
                return (
                  <tr key={`${row.b} ${row.metric}`} class={isFirst ? "first" : "more"}>
                    <td class="name">{isFirst && <a href={runLink(row.b)} title={`${stageLabel(row.stage_b ?? "")} against ${stageLabel(row.stage_a ?? "")}`}>{names[row.b]}</a>}</td>
                    <PairCells row={row} />
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
      {notes.map((note) => <p key={note} class="dim"><Marked text={note} /></p>)}
    </>
  );
}

export function PairHeads() {
  return (
    <>
      <th class="n">Difference</th><th class="n">95 % interval</th><th class="n">p</th>
      <th class="n" title="Problems with a higher and with a lower rate">better / worse</th><th class="n">Problems</th>
    </>
  );
}

export function PairCells({ row }: { row: Pair }) {
  return (
    <>
      <td>{row.metric}</td><td class="n">{percent(row.value_a)}</td><td class="n">{percent(row.value_b)}</td>
      <td class={`n big ${isNumber(row.low) && row.low > 0 ? "up" : isNumber(row.high) && row.high < 0 ? "down" : ""}`}>{points(row.difference)}</td>
      <td class="n">{points(row.low)} to {points(row.high)}</td><td class="n">{row.p_value !== null && row.p_value < 0.001 ? "< 0.001" : fixed(row.p_value, 3)}</td>
      <td class="n">{count(row.better)} / {count(row.worse)}</td><td class="n">{count(row.problems)}</td>
    </>
  );
}

/** The last part of each id, with more of it where two would be the same. */
export function shortNames(ids: readonly string[]): Record<string, string> {
  const result: Record<string, string> = {};
  for (const id of ids) {
    const parts = id.split("/");
    let size = 1;
    const name = (other: string, n: number) => other.split("/").slice(-n).join("/");
    while (size < parts.length && ids.some((other) => other !== id && name(other, size) === name(id, size))) size++;
    result[id] = name(id, size);
  }
  return result;
}
