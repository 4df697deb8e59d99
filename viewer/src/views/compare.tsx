import { useMemo, useState } from "preact/hooks";
import { api, type Group, type PairTable } from "../lib/api";
import { count, fixed, isNumber, percent, points, setting } from "../lib/format";
import { useLoad, useTitle } from "../lib/hooks";
import { useLive } from "../lib/live";
import { numbers } from "../lib/metrics";
import { compareLink, runLink } from "../lib/routes";
import { COMPARED, stageLabel } from "../lib/words";
import { Choice, Loading, Notice, Section } from "../parts/basic";
import { Curves, type Series } from "../parts/chart";

/** Several runs: what differs in their settings, their curves, their last evaluations. */
export function CompareView({ ids }: { ids: string[] }) {
  useTitle("Compare");
  const tick = useLive(null);
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
            <a class="remove" href={compareLink(ids.filter((other) => other !== id))} aria-label={`Leave out ${names[id]}`}>×</a>
          </li>
        ))}
      </ul>
      {error !== null && <Notice kind="error">{error}</Notice>}
      {data === null && error === null && <Loading what="Comparing" />}
      {data !== null && <SideBySide ids={ids} groups={data.curves} names={names} tick={tick} />}
      {data !== null && data.tables.length > 0 && (
        <Section title="Last evaluations" about="Each run against the first, on the problems that both have; differences in points of percent. The interval is of the difference, over problems; p: paired permutation test, two-sided, not corrected for looking at several numbers.">
          <Paired tables={data.tables} names={names} />
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
                    <td><code>{row.key}</code></td>
                    {row.values.map((value, i) => <td key={i}>{setting(value)}</td>)}
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
  const { data: single } = useLoad(`each ${by} ${ids.join("\n")}`, tick, async (signal) => (by === "runs" ? await oneByOne(ids, signal) : []));
  const shown = by === "runs" ? (single ?? []) : groups;
  if (groups.length === 0) return null;
  return (
    <Section title="Training curves" about="Together: runs whose settings are equal but for the seed are one curve, their mean, with its 95 % interval over seeds shaded (Student's t; with two or three seeds it is wide, and may be cut off)."
      tools={groups.some((group) => group.ids.length > 1) && <Choice label="Curves" value={by} options={[["seeds", "Seeds together"], ["runs", "Each run"]]} onChange={setBy} />}>
      <div class="charts">
        {COMPARED.map((metric) => {
          const { x, series } = aligned(shown, metric.key, names);
          if (series.length === 0) return null;
          return <Curves key={metric.key} title={metric.label} unit={metric.unit} percent={metric.percent ?? false} x={x} series={series} sync="compare" {...(metric.percent ? { range: [0, 1] as [number, number] } : {})} />;
        })}
      </div>
    </Section>
  );
}

/** Every run as a group of its own. */
async function oneByOne(ids: string[], signal: AbortSignal): Promise<Group[]> {
  const all = await Promise.all(ids.map((id) => api.metrics(id, 0, signal)));
  return all.map(({ columns }, i): Group => {
    const none = numbers(columns, "update").map(() => null);
    const series = COMPARED.map(({ key }) => [key, { mean: numbers(columns, key), low: none, high: none }] as const);
    return { name: ids[i]!, ids: [ids[i]!], seeds: [null], update: numbers(columns, "update").map((value, place) => value ?? place), series: Object.fromEntries(series.filter(([, one]) => one.mean.some(isNumber))) };
  });
}

/** Curves of groups on one axis of updates: runs may have other batch sizes. */
export function aligned(groups: Group[], key: string, names: Record<string, string>): { x: number[]; series: Series[] } {
  const shown = groups.filter((group) => group.series[key]?.mean.some(isNumber));
  const x = [...new Set(shown.flatMap((group) => group.update))].sort((a, b) => a - b);
  const series = shown.map((group): Series => {
    const found = group.series[key]!;
    const places = new Map(group.update.map((update, i) => [update, i]));
    const at = (values: (number | null)[]) => x.map((update) => values[places.get(update) ?? -1] ?? null);
    const hasBand = group.ids.length > 1 && found.low.some(isNumber);
    const label = group.ids.length > 1 ? `${names[group.ids[0]!] ?? group.name} and ${group.ids.length - 1} more seed${group.ids.length > 2 ? "s" : ""}` : (names[group.ids[0]!] ?? group.name);
    return { label, values: at(found.mean), color: 1 + (groups.indexOf(group) % 6), band: hasBand ? { low: at(found.low), high: at(found.high) } : null };
  });
  return { x, series };
}

function Paired({ tables, names }: { tables: PairTable[]; names: Record<string, string> }) {
  const first = tables[0]!;
  return (
    <>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th>Run</th><th>Metric</th><th class="n">{names[first.a]}</th><th class="n">This run</th>
              <th class="n">Difference</th><th class="n">95 % interval</th><th class="n">p</th><th class="n" title="Problems with a higher and with a lower rate">better / worse</th><th class="n">Problems</th>
            </tr>
          </thead>
          <tbody>
            {tables.flatMap((table) => table.rows.map((row, i) => (
              <tr key={`${table.b} ${row.metric}`} class={i === 0 ? "first" : "more"}>
                <td class="name">{i === 0 && <a href={runLink(table.b)} title={`${stageLabel(table.stage_b ?? "")} against ${stageLabel(table.stage_a ?? "")}`}>{names[table.b]}</a>}</td>
                <td>{row.metric}</td><td class="n">{percent(row.a)}</td><td class="n">{percent(row.b)}</td>
                <td class={`n big ${isNumber(row.low) && row.low > 0 ? "up" : isNumber(row.high) && row.high < 0 ? "down" : ""}`}>{points(row.difference)}</td>
                <td class="n">{points(row.low)} to {points(row.high)}</td><td class="n">{row.p_value !== null && row.p_value < 0.001 ? "< 0.001" : fixed(row.p_value, 3)}</td>
                <td class="n">{count(row.better)} / {count(row.worse)}</td><td class="n">{count(row.problems)}</td>
              </tr>
            )))}
          </tbody>
        </table>
      </div>
      {tables.flatMap((table) => table.notes.map((note) => <p key={table.b + note} class="dim">{names[table.b]}: {note}</p>))}
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
