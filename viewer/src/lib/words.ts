/** Names of what the files hold, as docs/metrics.md has them. */

export const OUTCOMES: Record<string, string> = {
  AC: "all public tests passed",
  WA: "wrong answer",
  RE: "runtime error",
  TLE: "time limit exceeded",
  MLE: "memory limit exceeded",
  OLE: "output limit exceeded",
  CE: "does not compile",
  IE: "the judge failed",
  none: "no program in the answer",
  invalid: "no program in the answer",
  private: "public tests passed, private ones not",
  solved: "solved: all tests passed",
  failed: "not solved",
  unjudged: "the judge failed: neither right nor wrong",
  end: "episode over",
};

export const OUTCOME_LABELS: Record<string, string> = {
  none: "no program", invalid: "no program", private: "private test failed", end: "over",
};

/** From good to bad, for stacks and columns of nodes. */
export const OUTCOME_ORDER = [
  "solved", "AC", "private", "WA", "RE", "TLE", "MLE", "OLE", "CE", "none", "invalid", "IE", "failed", "unjudged", "end",
];

export function outcomeLabel(outcome: string): string {
  return OUTCOME_LABELS[outcome] ?? outcome;
}

export function inOutcomeOrder(outcomes: Iterable<string>): string[] {
  const place = (outcome: string) => (OUTCOME_ORDER.indexOf(outcome) + 1 || 99);
  return [...new Set(outcomes)].sort((a, b) => place(a) - place(b) || a.localeCompare(b));
}

export const STOPS: Record<string, string> = {
  public_passed: "public tests passed",
  turn_limit: "turn limit",
  context_limit: "context full",
  infra_error: "judge failed",
};

/** What a stage of a run is, for people: "eval-after-also" is "after training, second setting". */
export function stageLabel(stage: string, config: Record<string, unknown> = {}): string {
  if (stage === "train") return "training";
  if (stage === "eval") return "evaluation";
  const valid = /^valid-0*(\d+)$/.exec(stage);
  if (valid) return `validation at update ${valid[1]}`;
  const also = stage.endsWith("-also");
  const name = { "eval-before": "before training", "eval-after": "after training", "eval-random": "after, random feedback" }[
    stage.replace(/-also$/, "")
  ];
  if (name === undefined) return stage;
  const temperature = config[also ? "eval.also.temperature" : "eval.temperature"];
  if (typeof temperature === "number" && (also || "eval.also.temperature" in config)) return `${name}, T ${temperature}`;
  return also ? `${name}, second setting` : name;
}

export interface MetricCurve {
  /** Column of metrics.jsonl; "*" stands for the rest of its name. */
  key: string;
  label: string;
  /** Of the style sheet; without one the next, and of turn K the Kth. */
  color?: number;
}

export interface Panel {
  title: string;
  unit: string;
  about: string;
  curves: MetricCurve[];
  percent?: boolean;
  log?: boolean;
  /** Limits of the axis, in the unit of the data. */
  range?: [number | null, number | null];
  /** Drawn as they are, without a running mean. */
  raw?: boolean;
}

/** In the order shown. Panels without a number in the run are left out. */
export const PANELS: Panel[] = [
  {
    title: "Solved by turn", unit: "% of training problems", percent: true, range: [0, null],
    about: "Share solved with at most so many turns, sampled at the training temperature. The gap between the curves is what later turns add.",
    curves: [{ key: "solve_rate/turn_*", label: "by turn *" }],
  },
  {
    title: "Repair rate", unit: "% of turns after the first", percent: true, range: [0, null],
    about: "Of all turns after the first, the share that solved their problem. Repeated: consecutive programs that are identical. No program: turns without one.",
    curves: [
      { key: "repair_rate", label: "repaired" }, { key: "repeated_rate", label: "repeated" },
      { key: "invalid_rate", label: "no program" },
    ],
  },
  {
    title: "Reward", unit: "per episode", about: "Sum of an episode's rewards before the KL penalty, mean over rollouts.",
    curves: [{ key: "reward", label: "reward" }],
  },
  {
    title: "KL to the initial policy", unit: "nats per token",
    about: "Mean over turns of log π_old − log π_ref. An estimate from samples, so it may dip below 0.",
    curves: [{ key: "kl", label: "KL" }],
  },
  {
    title: "Entropy", unit: "nats per token", range: [0, null],
    about: "Of the distribution sampled from. Close to 0 the model samples one answer only and explores no more.",
    curves: [{ key: "entropy", label: "entropy" }],
  },
  {
    title: "Explained variance of the critic", unit: "1 is perfect", range: [-1, 1],
    about: "1 − Var(return − value) / Var(return), over the turns of that number. At or below 0 the critic knows nothing.",
    curves: [{ key: "explained_variance", label: "all turns", color: 7 }, { key: "explained_variance/turn_*", label: "turn *" }],
  },
  {
    title: "Value and return", unit: "reward",
    about: "Means over turns of the critic's value and of the reward to go after KL. They should approach each other.",
    curves: [{ key: "value", label: "value" }, { key: "return", label: "return" }],
  },
  {
    title: "Validation", unit: "% solved", percent: true, range: [0, null], raw: true,
    about: "Solve rate with all turns on the validation problems.",
    curves: [{ key: "valid_solve_rate", label: "validation" }],
  },
  {
    title: "Gradient norms", unit: "before clipping", log: true,
    about: "Mean over the steps of a batch. Always above learner.grad_clip: every step is clipped.",
    curves: [{ key: "grad_norm/policy", label: "policy" }, { key: "grad_norm/critic", label: "critic" }],
  },
  {
    title: "Sampler against learner", unit: "nats per token", log: true,
    about: "Mean absolute difference of the log-probabilities of sampler and learner on fresh tokens. Rounding only where both agree: below 1e-4 in float32, 0.03 in bfloat16.",
    curves: [{ key: "logprob_gap", label: "log-probability gap" }, { key: "engine_gap", label: "engine gap" }],
  },
  {
    title: "Staleness", unit: "batches behind", range: [0, null],
    about: "By how many batches the policy of a rollout's oldest turn is behind the one that learns from it.",
    curves: [{ key: "staleness", label: "staleness" }],
  },
  {
    title: "Importance weight", unit: "1 is on-policy",
    about: "Mean of min(π/π_b, 1) or of the capped π_old/π_b. The farther from 1, the staler the rollouts.",
    curves: [{ key: "importance_weight", label: "weight" }, { key: "fresh_weight", label: "fresh tokens" }],
  },
  {
    title: "Policy update", unit: "share, nats", range: [0, null],
    about: "Tokens whose ratio lies outside the clip range, and the KL of the old policy to the new one.",
    curves: [{ key: "clipfrac", label: "clipped" }, { key: "approx_kl", label: "approximate KL" }],
  },
  {
    title: "Sampled tokens", unit: "per batch", range: [0, null], about: "Grows if answers get longer or turns more.",
    curves: [{ key: "action_tokens", label: "tokens" }],
  },
  {
    title: "Time per batch", unit: "seconds", range: [0, null],
    about: "Until the batch could be taken, and the update with the handing over of weights.",
    curves: [{ key: "rollout_s", label: "rollouts" }, { key: "update_s", label: "update" }],
  },
  {
    title: "Idle", unit: "% of the time", percent: true, range: [0, 1],
    about: "Share of the time in which the engine sampled nothing, and in which the learner waited.",
    curves: [{ key: "sampler_idle", label: "sampler" }, { key: "learner_idle", label: "learner" }],
  },
];

export const PANEL_KEYS = PANELS.flatMap((panel) => panel.curves.map((curve) => curve.key));

/** Columns of a run that a curve stands for; several for one with "*". */
export function expand(curve: MetricCurve, columns: readonly string[]): MetricCurve[] {
  const [start = "", end] = curve.key.split("*");
  if (end === undefined) return columns.includes(curve.key) ? [curve] : [];
  return columns
    .filter((column) => column.startsWith(start) && /^\d+$/.test(column.slice(start.length)))
    .sort((a, b) => Number(a.slice(start.length)) - Number(b.slice(start.length)))
    .map((column) => ({ key: column, label: curve.label.replace("*", column.slice(start.length)), color: 1 + ((Number(column.slice(start.length)) - 1) % 6) }));
}

/** Shown where runs stand side by side. */
export const COMPARED: { key: string; label: string; unit: string; percent?: boolean }[] = [
  { key: "solve_rate", label: "Solve rate, all turns", unit: "% of training problems", percent: true },
  { key: "solve_rate/turn_1", label: "Solved at turn 1", unit: "% of training problems", percent: true },
  { key: "repair_rate", label: "Repair rate", unit: "% of turns after the first", percent: true },
  { key: "reward", label: "Reward", unit: "per episode" },
  { key: "kl", label: "KL to the initial policy", unit: "nats per token" },
  { key: "entropy", label: "Entropy", unit: "nats per token" },
  { key: "explained_variance", label: "Explained variance", unit: "1 is perfect" },
  { key: "valid_solve_rate", label: "Validation", unit: "% solved", percent: true },
];

const STAGE_ORDER = ["train", "valid", "eval-before", "eval-after", "eval-random", "eval"];

/** Stages as they come in time. */
export function inStageOrder<T extends { name: string }>(stages: readonly T[]): T[] {
  const place = ({ name }: T) => {
    const found = STAGE_ORDER.indexOf(name.replace(/-also$/, "").replace(/^valid-\d+$/, "valid"));
    return found < 0 ? STAGE_ORDER.length : found;
  };
  return [...stages].sort((a, b) => place(a) - place(b) || a.name.localeCompare(b.name));
}
