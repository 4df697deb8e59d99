import { useMemo } from "preact/hooks";
import { api, type Run, type RunRow } from "../lib/api";
import { DASH, isNumber, percent, plural, points, withInterval } from "../lib/format";
import { useLoad } from "../lib/hooks";
import { flatten, isRecord } from "../lib/records";
import { compareLink, runLink } from "../lib/routes";
import { Loading, Marked, Notice, Section } from "../parts/basic";
import { Settings } from "./run-settings";
import { AboutPage } from "./run-summary";
import { mainNumber, State } from "./runs";

interface Rate {
  estimate: number | null;
  low: number | null;
  high: number | null;
}

interface Arm {
  title?: string;
  seeds?: number[];
  solve_rate_by_turn?: Rate[];
  repair_rate?: Rate;
}

interface Claim {
  difference: number | null;
  low: number | null;
  high: number | null;
  claim: string;
  paper: string;
  verdict: string;
}

/** A study: its arms, what it says of the paper's claims, its runs. */
export function Study({ run }: { run: Run }) {
  const { data } = useLoad("runs", 0, (signal) => api.runs(signal));
  const inside = useMemo(
    () => (run.runs ?? []).flatMap((id) => data?.runs.find((one) => one.id === id) ?? []),
    [data, run],
  );
  const trainings = inside.filter((one) => one.kind === "training").map((one) => one.id);
  const { arms, claims, ...rest } = run.summary ?? {};
  const numbers = useMemo(() => flatten({ arms, claims, ...rest }), [run.summary]);
  return (
    <>
      <div class="page-head">
        <div>
          <h1><Marked text={run.name} /> <State state={run.state} /></h1>
          <p class="dim">study of {plural(run.runs?.length ?? 0, "run")}</p>
        </div>
        <div class="tools">
          {trainings.length > 1 && <a class="button main" href={compareLink(trainings)}>Compare its trainings</a>}
        </div>
      </div>
      {run.note && <Notice kind="warning"><Marked text={run.note} /></Notice>}
      <Arms arms={arms} />
      <Claims claims={claims} />
      <Section title="Runs">
        {data === null && <Loading />}
        <div class="scroll">
          <table>
            <thead><tr><th>Run</th><th>Kind</th><th>State</th><th class="n">Seed</th><th class="n">Solved</th><th class="n">Gain</th></tr></thead>
            <tbody>{inside.map((one) => <Row key={one.id} run={one} study={run.id} />)}</tbody>
          </table>
        </div>
      </Section>
      {Object.keys(numbers).length > 0 && <Settings config={numbers} title="All numbers" about="As study.json has them; study.html in the folder is the page with figures." />}
      <AboutPage />
    </>
  );
}

function Arms({ arms }: { arms: unknown }) {
  const rows = Object.entries(isRecord(arms) ? arms : {}).filter((entry): entry is [string, Arm] => isRecord(entry[1]) && Array.isArray((entry[1] as Arm).solve_rate_by_turn));
  if (rows.length === 0) return null;
  const turns = Math.max(...rows.map(([, arm]) => arm.solve_rate_by_turn!.length));
  return (
    <Section title="Arms" about="Solved with at most so many turns, mean over problems and seeds, with half of the 95 % interval.">
      <div class="scroll">
        <table>
          <thead><tr><th>Arm</th><th class="n">Seeds</th>{Array.from({ length: turns }, (_, i) => <th key={i} class="n">{i === 0 ? "turn 1" : `by turn ${i + 1}`}</th>)}<th class="n">Repair rate</th></tr></thead>
          <tbody>
            {rows.map(([name, arm]) => (
              <tr key={name}>
                <td class="name" title={name}><Marked text={arm.title ?? name} /></td>
                <td class="n">{arm.seeds?.length ?? DASH}</td>
                {Array.from({ length: turns }, (_, i) => <td key={i} class={i === turns - 1 ? "n big" : "n"}>{interval(arm.solve_rate_by_turn![i])}</td>)}
                <td class="n">{interval(arm.repair_rate)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

function Claims({ claims }: { claims: unknown }) {
  const rows = (Array.isArray(claims) ? claims : []).filter((one): one is Claim => isRecord(one) && typeof one["claim"] === "string");
  if (rows.length === 0) return null;
  return (
    <Section title="Claims of the paper" about="Each as a difference of two rates that the paper says is above 0, in points of percent. It holds (or is reversed) where the interval and every seed are on one side of 0.">
      <div class="scroll">
        <table>
          <thead><tr><th>Claim</th><th>Here</th><th class="n">Difference</th><th class="n">95 % interval</th><th>Paper</th></tr></thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.claim}>
                <td class="name"><Marked text={row.claim} /></td>
                <td class={row.verdict === "holds" ? "up" : row.verdict === "reversed" ? "down" : ""}>{row.verdict}</td>
                <td class="n big">{points(row.difference)}</td><td class="n">{points(row.low)} to {points(row.high)}</td><td>{row.paper}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

function Row({ run, study }: { run: RunRow; study: string }) {
  const solved = mainNumber(run.headline);
  return (
    <tr>
      <td class="name"><a href={runLink(run.id)}><Marked text={run.id.startsWith(`${study}/`) ? run.id.slice(study.length + 1) : run.name} /></a></td>
      <td>{run.kind}</td>
      <td><State state={run.state} /></td>
      <td class="n">{run.seed ?? DASH}</td>
      <td class="n" title={solved?.[0]}>{percent(solved?.[1])}</td>
      <td class="n">{points(run.headline["gain"])}</td>
    </tr>
  );
}

function interval(rate: Rate | undefined): string {
  return rate !== undefined && isNumber(rate.estimate) ? withInterval(rate.estimate, rate.low, rate.high) : DASH;
}
