/** What the server answers, see rlef.view. */

import type { Token } from "./heat";
import { queryParameters, type Query } from "./routes";
import { answerOf, LEFT_OUT, snapshot } from "./snapshot";
import { inStageOrder } from "./words";

export type RunState = "running" | "finished" | "stopped" | "damaged" | "empty";

export interface RunRow {
  id: string;
  name: string;
  kind: "training" | "evaluation" | "study";
  model: string | null;
  recipe: string | null;
  seed: number | null;
  state: RunState;
  update: number | null;
  updates: number | null;
  started: number | null;
  changed: number | null;
  headline: Record<string, number | null>;
  note: string | null;
}

export interface Stage {
  name: string;
  episodes: number;
  problems: number;
  solve_rate_by_turn: (number | null)[];
  solve_rate: number | null;
  low: number | null;
  high: number | null;
  repair_rate: number | null;
}

export interface Run {
  id: string;
  name: string;
  kind: RunRow["kind"];
  state: RunState;
  config: Record<string, unknown>;
  summary: Record<string, unknown> | null;
  stages: Stage[];
  has_scores: boolean;
  turn_limit: number | null;
  note?: string | null;
  runs?: string[];
}

export type Bin = [number, number | null, number | null];
export type Columns = Record<string, (number | null | Bin[])[]>;

export interface Flow {
  nodes: { turn: number; outcome: string }[];
  links: { turn: number; from: string; to: string; count: number }[];
}

export interface ProblemRow {
  problem: string;
  family: string | null;
  hidden_detail: string | null;
  episodes: number;
  solve_rate: number | null;
  turn_1: number | null;
  by_turn: (number | null)[];
  other_rate: number | null;
}

export interface EpisodeRow {
  row: number;
  index: number | null;
  batch: number | null;
  update: number | null;
  problem: string;
  family: string | null;
  turns: number;
  verdicts: string[];
  solved: boolean;
  final_verdict: string | null;
  outcome: string;
  stop: string;
  status: string;
  reward: number | null;
  tokens: number | null;
  repaired: boolean;
}

export interface PublicTest {
  verdict: string;
  input: string | null;
  expected: string | null;
  got: string | null;
  error: string | null;
}

export interface Turn {
  prompt: string | null;
  response: string;
  program: string | null;
  public_verdicts: string[];
  public_tests: PublicTest[] | null;
  feedback: string | null;
  prompt_tokens: number | null;
  completion_tokens: number | null;
  policy_version: number | null;
  reward: number | null;
  value: number | null;
  return: number | null;
  advantage: number | null;
  kl: number | null;
  tokens: Token[] | null;
  cut?: Record<string, number> | null;
}

export interface Episode {
  problem: string;
  family: string | null;
  hidden_detail: string | null;
  statement: string | null;
  stop: string;
  solved: boolean;
  final_verdict: string | null;
  passed_share: number | null;
  seed: number | string | null;
  batch: number | null;
  update: number | null;
  status: string | null;
  turns: Turn[];
  /** Why inputs and expected outputs of the public tests are not shown, if so. */
  tests_unknown: string | null;
  previous_row: number | null;
  next_row: number | null;
  cut?: Record<string, number> | null;
}

/** A number of the second run's last evaluation against that of the first, on problems of both. */
export interface Pair {
  a: string;
  b: string;
  stage_a: string | null;
  stage_b: string | null;
  metric: string;
  value_a: number | null;
  value_b: number | null;
  difference: number | null;
  low: number | null;
  high: number | null;
  p_value: number | null;
  problems: number | null;
  better: number | null;
  worse: number | null;
}

/** Runs whose settings are equal but for the seed. */
export interface Group {
  label: string;
  ids: string[];
  seeds: (number | null)[];
}

export class ApiError extends Error {}

async function get<T>(path: string, parameters: URLSearchParams, signal?: AbortSignal): Promise<T> {
  if (snapshot !== null) {
    const held = answerOf(snapshot, path, parameters);
    if (held === null) throw new ApiError(LEFT_OUT);
    return held as T;
  }
  let response: Response;
  try {
    response = await fetch(`api/${path}?${parameters}`, { signal: signal ?? null });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The server does not answer. Is rlef view still running?");
  }
  let data: unknown;
  try {
    data = await response.json();
  } catch {
    throw new ApiError(`The server's answer to ${path} cannot be read (status ${response.status}).`);
  }
  if (!response.ok) {
    const said = (data as { error?: unknown } | null)?.error;
    throw new ApiError(typeof said === "string" ? said : `status ${response.status}`);
  }
  return data as T;
}

function of(values: Record<string, string | number | null | undefined>): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") parameters.set(key, String(value));
  }
  return parameters;
}

function ofIds(ids: readonly string[]): URLSearchParams {
  return new URLSearchParams(ids.map((id) => ["id", id]));
}

export const api = {
  runs: (signal?: AbortSignal) => get<{ runs: RunRow[] }>("runs", of({}), signal),
  run: async (id: string, signal?: AbortSignal) => {
    const run = await get<Run>("run", of({ id }), signal);
    return { ...run, stages: inStageOrder(run.stages) };
  },
  metrics: (id: string, after: number, signal?: AbortSignal) =>
    get<{ columns: Columns; next: number }>("metrics", of({ id, after }), signal),
  settings: (ids: readonly string[], signal?: AbortSignal) =>
    get<{ keys: { key: string; values: unknown[] }[] }>("settings", ofIds(ids), signal),
  transitions: (id: string, stage: string, from: number | null, to: number | null, signal?: AbortSignal) =>
    get<Flow>("transitions", of({ id, stage, from, to }), signal),
  verdicts: (id: string, signal?: AbortSignal) =>
    get<{ batches: number[]; series: Record<string, (number | null)[]> }>("verdicts", of({ id }), signal),
  changes: (id: string, signal?: AbortSignal) => get<{ pairs: Pair[]; notes: string[] }>("changes", of({ id }), signal),
  problems: (id: string, stage: string, other: string | null, signal?: AbortSignal) =>
    get<{ rows: ProblemRow[] }>("problems", of({ id, stage, other }), signal),
  episodes: (id: string, query: Query, offset: number, limit: number, signal?: AbortSignal) => {
    const parameters = queryParameters(query);
    parameters.set("id", id);
    parameters.set("offset", String(offset));
    parameters.set("limit", String(limit));
    return get<{ total: number; rows: EpisodeRow[] }>("episodes", parameters, signal);
  },
  episode: (id: string, stage: string, row: number, signal?: AbortSignal) =>
    get<Episode>("episode", of({ id, stage, row }), signal),
  compare: (ids: readonly string[], signal?: AbortSignal) =>
    get<{ pairs: Pair[]; curves: Group[]; notes: string[] }>("compare", ofIds(ids), signal),
  text: (id: string, stage: string, row: number, turn: number, field: string) =>
    get<{ text: string }>("text", of({ id, stage, row, turn, field })),
};
