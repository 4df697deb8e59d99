import { useMemo, useState } from "preact/hooks";
import { api, type Run } from "../lib/api";
import { useLoad, useMedia } from "../lib/hooks";
import { rolloutsLink, type Query } from "../lib/routes";
import { inOutcomeOrder, outcomeLabel, stageLabel } from "../lib/words";
import { Loading, Notice, Section, Select } from "../parts/basic";
import { Curves } from "../parts/chart";
import { FlowDiagram } from "../parts/flow";

const MIX_COLORS: Record<string, number> = {
  solved: 11, private: 12, WA: 13, RE: 14, TLE: 15, MLE: 16, OLE: 16, CE: 17, invalid: 18, IE: 18,
};

export function preferredStage(run: Run): string {
  const names = run.stages.filter((stage) => stage.episodes > 0).map((stage) => stage.name);
  return ["eval-after", "eval", "train"].find((name) => names.includes(name)) ?? names[0] ?? "";
}

/** How verdicts follow each other, and their mix as training goes. */
export function Turns({ run, tick }: { run: Run; tick: number }) {
  const { data: mix } = useLoad(`verdicts ${run.id}`, tick, (signal) => api.verdicts(run.id, signal));
  const batches = mix?.batches ?? [];
  const [chosen, setStage] = useState("");
  const [part, setPart] = useState("all");
  const stage = chosen || preferredStage(run);
  const [from, to] = stage === "train" ? range(part, batches) : [null, null];
  const { data: flow, error } = useLoad(`flow ${run.id} ${stage} ${from} ${to}`, tick, (signal) => api.transitions(run.id, stage, from, to, signal));
  const isLarge = useMedia("(min-width: 1100px)");
  const last = flow === null ? 0 : Math.max(0, ...flow.links.map((link) => link.turn));
  const link = (turn: number, outcome: string) => {
    const base: Query = { stage, ...(from === null ? {} : { from: String(from), to: String(to) }) };
    if (turn > last) return outcome === "unjudged" ? rolloutsLink(run.id, { ...base, stop: "infra_error" }) : rolloutsLink(run.id, { ...base, solved: outcome === "solved" ? "1" : "0" });
    return rolloutsLink(run.id, { ...base, verdict: outcome, turn: String(turn) });
  };
  const series = useMemo(
    () => inOutcomeOrder(Object.keys(mix?.series ?? {})).map((name) => ({
      label: outcomeLabel(name), values: mix!.series[name]!, color: MIX_COLORS[name] ?? 18,
    })),
    [mix],
  );
  return (
    <Section id="turns" title="From turn to turn" about="Each answer by the first public test that it failed; AC: it passed them all, and the episode goes to the private tests."
      tools={
        <>
          <Select label="Of" value={stage} options={run.stages.map((one) => [one.name, stageLabel(one.name, run.config)] as const)} onChange={setStage} />
          {stage === "train" && batches.length > 3 && (
            <Select label="Batches" value={part} options={[["all", "all"], ["first", "first tenth"], ["last", "last tenth"]]} onChange={setPart} />
          )}
        </>
      }>
      <div class="two">
      {error !== null ? <Notice kind="error">{error}</Notice> : flow === null ? <Loading /> : <FlowDiagram flow={flow} link={link} isWide={batches.length < 2 && isLarge} />}
      {batches.length > 1 && (
        <div class="charts one">
          <Curves title="How episodes end, by batch" unit="% of episodes" x={batches} xLabel="batch" series={series} stacked percent height={300}
            about="The last program's verdict on all tests; where it failed a public test, that one" />
        </div>
      )}
      </div>
    </Section>
  );
}

function range(part: string, batches: number[]): [number, number] | [null, null] {
  if (part === "all" || batches.length === 0) return [null, null];
  const tenth = Math.max(1, Math.round(batches.length / 10));
  const chosen = part === "first" ? batches.slice(0, tenth) : batches.slice(-tenth);
  return [chosen[0]!, chosen.at(-1)!];
}
