import { api, type Run } from "../lib/api";
import { count, DASH, number, percent, points, setting, withInterval } from "../lib/format";
import { go, useKeys, useLoad, useTitle } from "../lib/hooks";
import { useLive } from "../lib/live";
import { numbers, useMetrics, type Metrics } from "../lib/metrics";
import { rolloutsLink } from "../lib/routes";
import { stageLabel } from "../lib/words";
import { Loading, Marked, Notice, Section, ShareBar, Tile } from "../parts/basic";
import { State } from "./runs";
import { Changes } from "./run-changes";
import { Critic } from "./run-critic";
import { MetricCurves } from "./run-curves";
import { Problems } from "./run-problems";
import { Settings } from "./run-settings";
import { AboutPage, Measured, Summary, Times, trust } from "./run-summary";
import { Turns } from "./run-turns";
import { Study } from "./study";

/** What is worked out over all episodes is asked for less often than new lines of metrics. */
const SLOW_MS = 4000;

export function RunView({ id }: { id: string }) {
  const tick = useLive(id, SLOW_MS);
  const { data: run, error } = useLoad(id, tick, (signal) => api.run(id, signal));
  useTitle(run?.name ?? "Run");
  useKeys({ r: () => go(rolloutsLink(id)) });
  if (run === null) return error === null ? <Loading what="Reading the run" /> : <Notice kind="error">{error}</Notice>;
  return (
    <>
      {error !== null && <Notice kind="error">{error}</Notice>}
      {run.kind === "study" ? <Study run={run} /> : <OneRun run={run} tick={tick} />}
    </>
  );
}

function OneRun({ run, tick }: { run: Run; tick: number }) {
  const metrics = useMetrics(run.id, useLive(run.id));
  const { summary } = run;
  const stages = run.stages.filter((stage) => stage.episodes > 0);
  const sections: [string, string][] = [
    ...(metrics.length > 0 ? [["curves", "Curves"] as [string, string]] : []),
    ...(run.stages.length > 0 ? [["results", "Results"], ["turns", "Turns"], ["problems", "Problems"]] as [string, string][] : []),
    ...("calibration" in metrics.columns ? [["critic", "Critic"] as [string, string]] : []),
    ...(summary !== null ? [["summary", "Summary"] as [string, string]] : []),
    ["settings", "Settings"],
  ];
  return (
    <>
      <div class="page-head">
        <div>
          <h1><Marked text={run.name} /> <State state={run.state} /></h1>
          <p class="dim"><Marked text={about(run)} /></p>
        </div>
        <div class="tools">
          {stages.length > 0 && <a class="button main" href={rolloutsLink(run.id)}>Rollouts</a>}
        </div>
      </div>
      {run.note && <Notice kind="warning"><Marked text={run.note} /></Notice>}
      {metrics.error !== null && metrics.error !== run.note && <Notice kind="error">{metrics.error}</Notice>}
      {run.stages.length === 0 && metrics.loaded && metrics.length === 0 && !run.note && (
        <Notice>{run.state === "running" ? "Nothing has been written yet. Numbers appear here as the run writes them." : "This run holds no episodes and no metrics."}</Notice>
      )}
      <Tiles run={run} metrics={metrics} />
      <nav class="jump" aria-label="Sections">
        {sections.map(([key, name]) => (
          <button key={key} type="button" onClick={() => jump(key)}>{name}</button>
        ))}
      </nav>
      {metrics.length > 0 && <MetricCurves metrics={metrics} />}
      {run.stages.length > 0 && (
        <>
          <Results run={run} />
          <Measured run={run} />
          {run.kind === "training" && <Changes run={run} tick={tick} />}
          <Turns run={run} tick={tick} />
          <Problems run={run} tick={tick} />
        </>
      )}
      <Critic metrics={metrics} />
      {summary !== null && <Times summary={summary} />}
      {summary !== null && <Summary summary={summary} />}
      <Settings config={run.config} />
      <AboutPage />
    </>
  );
}

function jump(id: string): void {
  const section = document.getElementById(id);
  section?.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  section?.focus({ preventScroll: true });
}

function about(run: Run): string {
  const config = run.config;
  const model = config["model.name"] ?? config["model"];
  const parts = [
    run.kind, typeof model === "string" ? model : null,
    config["name"] !== undefined ? `recipe ${setting(config["name"])}` : null,
    config["data"] !== undefined ? `data ${setting(config["data"])}` : null,
    config["seed"] !== undefined && config["seed"] !== null ? `seed ${setting(config["seed"])}` : null,
    run.turn_limit !== null ? `turn limit ${run.turn_limit}` : null,
  ];
  return parts.filter(Boolean).join(" · ");
}

type Estimate = { mean?: number | null; low?: number | null; high?: number | null };

function Tiles({ run, metrics }: { run: Run; metrics: Metrics }) {
  const summary = run.summary ?? {};
  const last = (key: string) => numbers(metrics.columns, key).findLast((value) => value !== null) ?? null;
  const after = summary["after"] as { solve?: Estimate; solve_rate_by_turn?: Estimate[]; repair_rate?: Estimate } | undefined;
  const gain = summary["gain"] as Estimate | undefined;
  const updates = run.config["updates"];
  const final = run.stages.find((stage) => stage.name === "eval");
  const name = `1@${run.turn_limit ?? "n"}`;
  const interval = (estimate?: Estimate) => withInterval(estimate?.mean, estimate?.low, estimate?.high);
  return (
    <dl class="tiles">
      {metrics.length > 0 && (
        <Tile label="Updates" value={count(last("update"))} detail={typeof updates === "number" ? `of ${count(updates)}` : null} />
      )}
      {after && (
        <>
          <Tile label={`${name} after training`} value={interval(after.solve)} detail="test problems, 95 % interval" />
          <Tile label="Gain" value={`${points(gain?.mean)} points`} detail={`${points(gain?.low)} to ${points(gain?.high)}`} title="After less before, same problems" />
          <Tile label="Solved at turn 1" value={interval(after.solve_rate_by_turn?.[0])} detail="after training" />
          <Tile label="Repair rate" value={interval(after.repair_rate)} detail="of turns after the first" />
        </>
      )}
      {!after && metrics.length > 0 && (
        <>
          <Tile label="Solved" value={percent(last("solve_rate"))} detail="training problems, last batch" />
          <Tile label="Solved at turn 1" value={percent(last("solve_rate/turn_1"))} detail="last batch" />
          <Tile label="Repair rate" value={percent(last("repair_rate"))} detail="of turns after the first" />
          <Tile label="Reward" value={number(last("reward"))} detail="per episode" />
          <Tile label="KL" value={number(last("kl"))} detail="nats per token" />
        </>
      )}
      {final && (
        <>
          <Tile label={name} value={withInterval(final.solve_rate, final.low, final.high)} detail={`${count(final.problems)} problems, 95 % interval`} />
          <Tile label="Solved at turn 1" value={percent(final.solve_rate_by_turn[0])} />
          <Tile label="Repair rate" value={percent(final.repair_rate)} detail="of turns after the first" />
          <Tile label="Episodes" value={count(final.episodes)} />
        </>
      )}
    </dl>
  );
}

function Results({ run }: { run: Run }) {
  const turns = Math.max(0, ...run.stages.map((stage) => stage.solve_rate_by_turn.length));
  return (
    <Section id="results" title="Results" about="Solved with at most so many turns, mean over problems. ± is half of the 95 % interval over problems. Training problems are sampled at the training temperature, so they do not compare with evaluations.">
      <div class="scroll">
        <table class="results">
          <thead>
            <tr>
              <th>Stage</th><th class="n">Episodes</th><th class="n">Problems</th>
              {Array.from({ length: turns }, (_, i) => <th key={i} class="n">{i === 0 ? "turn 1" : `by turn ${i + 1}`}</th>)}
              <th class="n">±</th><th aria-label="Solved, as a bar" class="wide" /><th class="n">Repair rate</th>
            </tr>
          </thead>
          <tbody>
            {run.stages.map((stage) => (
              <tr key={stage.name}>
                <td class="name"><a href={rolloutsLink(run.id, { stage: stage.name })} title={stage.name}>{stageLabel(stage.name, run.config)}</a></td>
                <td class="n">{count(stage.episodes)}</td>
                <td class="n">{count(stage.problems)}</td>
                {Array.from({ length: turns }, (_, i) => <td key={i} class={i === turns - 1 ? "n big" : "n"}>{percent(stage.solve_rate_by_turn[i])}</td>)}
                <td class="n dim">{stage.low === null || stage.high === null ? DASH : (50 * (stage.high - stage.low)).toFixed(1)}</td>
                <td class="wide"><ShareBar share={stage.solve_rate} low={stage.low} high={stage.high} /></td>
                <td class="n">{percent(stage.repair_rate)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {run.summary !== null && trust(run.summary).map((line) => <p key={line} class="dim">{line}</p>)}
    </Section>
  );
}
