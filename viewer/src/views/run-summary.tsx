import type { Run } from "../lib/api";
import { count, DASH, dateTime, fixed, isNumber, percent, plural } from "../lib/format";
import { flatten, isRecord } from "../lib/records";
import { snapshot } from "../lib/snapshot";
import { Marked, Section, ShareBar } from "../parts/basic";
import { Settings } from "./run-settings";

/** The metrics that an evaluation was asked for. */
export function Measured({ run }: { run: Run }) {
  const metrics = Object.entries(isRecord(run.summary?.["metrics"]) ? run.summary["metrics"] : {}).filter((entry): entry is [string, Record<string, unknown>] => isRecord(entry[1]));
  if (metrics.length === 0) return null;
  const span = (one: Record<string, unknown>, kind: string) => {
    const [low, high] = [one[`low${kind}`], one[`high${kind}`]];
    return isNumber(low) && isNumber(high) ? `${percent(low)} to ${percent(high)}` : DASH;
  };
  return (
    <Section id="measured" title="Metrics" about="1@3: share of problems solved by one episode of up to three answers. The first interval is over samples of these problems, the second over problems like them.">
      <div class="scroll">
        <table>
          <thead><tr><th>Metric</th><th class="n">Estimate</th><th class="n">95 %, samples</th><th class="n">95 %, problems</th></tr></thead>
          <tbody>
            {metrics.map(([name, one]) => (
              <tr key={name}><td class="name"><Marked text={name} /></td><td class="n big">{percent(one["estimate"] as number | null)}</td><td class="n">{span(one, "")}</td><td class="n">{span(one, "_problems")}</td></tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

/** What a reader needs to know to trust the numbers, a sentence each. */
export function trust(summary: Record<string, unknown>): string[] {
  const of = (key: string) => (isNumber(summary[key]) ? summary[key] : 0);
  return [
    of("idle_batches") > 0 ? `${count(of("idle_batches"))} of ${plural(of("batches"), "batch", "batches")} taught the policy nothing` : "",
    "masked_infra" in summary ? `${plural(of("masked_infra"), "rollout")} masked: the judge could not do its work` : "",
    of("masked_no_room") > 0 ? `${plural(of("masked_no_room"), "rollout")} masked: no room for an answer in rollout.max_context` : "",
  ].filter(Boolean);
}

/** Where the time of a training went. */
export function Times({ summary }: { summary: Record<string, unknown> }) {
  const times = Object.entries(isRecord(summary["timing_s"]) ? summary["timing_s"] : {}).filter((entry): entry is [string, number] => isNumber(entry[1]));
  const total = times.reduce((sum, [, seconds]) => sum + seconds, 0);
  if (total === 0) return null;
  const idle = Object.entries(isRecord(summary["idle"]) ? summary["idle"] : {}).filter((entry): entry is [string, number] => isNumber(entry[1]));
  return (
    <Section id="times" title="Where the time went">
      <div class="scroll">
        <table>
          <thead><tr><th>Stage</th><th class="n">Seconds</th><th class="n">Share</th><th class="wide" aria-label="Share, as a bar" /></tr></thead>
          <tbody>
            {times.sort((a, b) => b[1] - a[1]).map(([name, seconds]) => (
              <tr key={name}><td class="name"><Marked text={name} /></td><td class="n">{fixed(seconds, 1)}</td><td class="n">{percent(seconds / total, 0)}</td><td class="wide"><ShareBar share={seconds / total} /></td></tr>
            ))}
          </tbody>
        </table>
      </div>
      {idle.length > 0 && <p class="dim">Idle while training: {idle.map(([side, share]) => `${side} ${percent(share, 0)}`).join(", ")}.</p>}
    </Section>
  );
}

/** All that was counted, as it stands in the summary. */
export function Summary({ summary }: { summary: Record<string, unknown> }) {
  return <Settings id="summary" config={flatten(summary)} title="Summary" about="All numbers, as summary.json has them." />;
}

/** What a page without a server is. */
export function AboutPage() {
  if (snapshot === null) return null;
  return (
    <Section title="This page" about={`Written by rlef report ${dateTime(snapshot.written)}, rlef ${snapshot.version}. It holds its numbers and loads nothing.`}>
      {snapshot.left_out.length > 0 && <p class="dim">Left out to keep it small: <Marked text={snapshot.left_out.join("; ")} />. rlef view shows all of it.</p>}
    </Section>
  );
}
