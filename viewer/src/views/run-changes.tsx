import { api, type Pair, type Run } from "../lib/api";
import { useLoad } from "../lib/hooks";
import { stageLabel } from "../lib/words";
import { Marked, Section } from "../parts/basic";
import { PairCells, PairHeads } from "./compare";

/** What training changed, on the same problems. */
export function Changes({ run, tick }: { run: Run; tick: number }) {
  const { data } = useLoad(`changes ${run.id}`, tick, (signal) => api.changes(run.id, signal));
  if (data === null || data.pairs.length === 0) return null;
  const name = (row: Pair) => `${stageLabel(row.stage_b ?? "", run.config)} against ${stageLabel(row.stage_a ?? "", run.config)}`;
  return (
    <Section id="changes" title="Before and after" about="Two evaluations of this run on the problems of both; differences in points of percent. The interval is of the difference, over problems; p: paired permutation test, two-sided, not corrected for looking at several numbers.">
      <div class="scroll">
        <table>
          <thead><tr><th>What</th><th>Metric</th><th class="n">Before</th><th class="n">After</th><PairHeads /></tr></thead>
          <tbody>
            {data.pairs.map((row, i) => {
              const isFirst = i === 0 || name(data.pairs[i - 1]!) !== name(row);
              return <tr key={`${name(row)} ${row.metric}`} class={isFirst ? "first" : "more"}><td class="name">{isFirst && name(row)}</td><PairCells row={row} /></tr>;
            })}
          </tbody>
        </table>
      </div>
      {data.notes.map((note) => <p key={note} class="dim"><Marked text={note} /></p>)}
    </Section>
  );
}
