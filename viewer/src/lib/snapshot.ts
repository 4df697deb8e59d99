/** A page that `rlef report` wrote holds answers instead of a server, see rlef.view.snapshot. */

import type { Episode, EpisodeRow, ProblemRow } from "./api";
import type { Token } from "./heat";
import type { Query } from "./routes";

interface Answer {
  path: string;
  words: Record<string, string>;
  ids: string[];
  value: unknown;
}

/** The rows of the episodes that the page has of a stage, and of how many they are. */
interface List {
  id: string;
  stage: string;
  rows: EpisodeRow[];
  of: number;
}

export interface Snapshot {
  home: string;
  written: number;
  version: string;
  answers: Answer[];
  lists: List[];
  left_out: string[];
}

interface CompactTokens {
  text: string[];
  logprob: (number | null)[] | null;
  policy_logprob: (number | null)[] | null;
  ref_logprob: (number | null)[] | null;
}

export const LEFT_OUT = "Left out of this page to keep it small: rlef view shows it.";

function read(): Snapshot | null {
  const text = typeof document === "undefined" ? null : document.getElementById("snapshot")?.textContent;
  return text ? (JSON.parse(text) as Snapshot) : null;
}

/** What this page holds; null where a server stands behind it. */
export const snapshot = read();

/** The episodes of a stage that the page holds; null: none. */
export function listOf(held: Snapshot, id: string, stage: string): List | null {
  return held.lists.find((list) => list.id === id && list.stage === stage) ?? null;
}

/** The answer to a request, null where it was left out. */
export function answerOf(held: Snapshot, path: string, parameters: URLSearchParams): unknown {
  const ids = parameters.getAll("id");
  const words = Object.fromEntries([...parameters].filter(([key]) => key !== "id"));
  if (path === "episodes") return pageOf(held, ids[0] ?? "", words);
  if (path === "problems" && words["other"] !== undefined) return against(held, ids, words["stage"] ?? "", words["other"]);
  const found = held.answers.find((one) => one.path === path && same(one.ids, ids) && same(pairs(one.words), pairs(words)));
  if (found === undefined) return null;
  return path === "episode" ? withTokens(found.value as Episode) : found.value;
}

function pairs(words: Record<string, string>): string[] {
  return Object.entries(words).map((pair) => pair.join("=")).sort();
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}

function problemsOf(held: Snapshot, ids: readonly string[], stage: string): ProblemRow[] | null {
  const found = held.answers.find((one) => one.path === "problems" && same(one.ids, ids) && one.words["stage"] === stage);
  return found === undefined ? null : (found.value as { rows: ProblemRow[] }).rows;
}

function against(held: Snapshot, ids: readonly string[], stage: string, other: string): unknown {
  const [here, there] = [problemsOf(held, ids, stage), problemsOf(held, ids, other)];
  if (here === null || there === null) return null;
  const rates = new Map(there.map((row) => [row.problem, row.solve_rate]));
  return { rows: here.map((row) => ({ ...row, other_rate: rates.get(row.problem) ?? null })) };
}

function withTokens(episode: Episode): Episode {
  const turns = episode.turns.map((turn) => ({ ...turn, tokens: tokens(turn.tokens as unknown as CompactTokens | null) }));
  return { ...episode, turns };
}

function tokens(compact: CompactTokens | null): Token[] | null {
  if (compact === null) return null;
  const at = (values: (number | null)[] | null, i: number) => values?.[i] ?? null;
  return compact.text.map((text, i): Token => ({
    text, logprob: at(compact.logprob, i), policy_logprob: at(compact.policy_logprob, i), ref_logprob: at(compact.ref_logprob, i),
    action: at(compact.logprob, i) !== null,
  }));
}

/** As the server's list of episodes, over those that the page holds. */
function pageOf(held: Snapshot, id: string, words: Record<string, string>): { total: number; rows: EpisodeRow[] } {
  const query = words as Query;
  const list = listOf(held, id, query.stage ?? "");
  const places = new Map((list?.rows ?? []).map((row, i) => [row, i]));
  const rows = (list?.rows ?? []).filter((row) => matches(held, id, row, query));
  const key = (query.sort === "row" || query.sort === undefined ? null : query.sort) as keyof EpisodeRow | null;
  const sign = query.desc === "1" ? -1 : 1;
  const value = (row: EpisodeRow) => (key === null ? null : key === "verdicts" ? row.verdicts.join() : row[key]);
  rows.sort((a, b) => {
    const [left, right] = [value(a), value(b)];
    if (left !== right && (left === null || right === null || left === undefined || right === undefined)) {
      return Number(left === null || left === undefined) - Number(right === null || right === undefined);
    }
    const order = left === right ? 0 : left! < right! ? -1 : 1;
    return sign * (order || places.get(a)! - places.get(b)!);
  });
  const offset = Number(words["offset"] ?? 0);
  return { total: rows.length, rows: rows.slice(offset, offset + Number(words["limit"] ?? 100)) };
}

function matches(held: Snapshot, id: string, row: EpisodeRow, query: Query): boolean {
  const has = (text: string | null | undefined, part: string) => (text ?? "").toLowerCase().includes(part.toLowerCase());
  const turn = query.turn ? Number(query.turn) : null;
  if (query.problem && !has(row.problem, query.problem)) return false;
  if ((query.problem_is && row.problem !== query.problem_is) || (query.family && row.family !== query.family)) return false;
  if (query.verdict && (turn === null ? !row.verdicts.includes(query.verdict) : row.verdicts[turn - 1] !== query.verdict)) return false;
  if (!query.verdict && turn !== null && row.turns < turn) return false;
  if (query.solved && row.solved !== (query.solved === "1")) return false;
  if (query.repaired && row.repaired !== (query.repaired === "1")) return false;
  if (query.min_reward && !(row.reward !== null && row.reward >= Number(query.min_reward))) return false;
  if (query.max_reward && !(row.reward !== null && row.reward <= Number(query.max_reward))) return false;
  if (query.from && !(row.batch !== null && row.batch >= Number(query.from))) return false;
  if (query.to && !(row.batch !== null && row.batch <= Number(query.to))) return false;
  if ((query.stop && row.stop !== query.stop) || (query.status && row.status !== query.status)) return false;
  if (query.changed_from && !hasChanged(held, id, row.problem, query)) return false;
  if (!query.text) return true;
  const episode = answerOf(held, "episode", new URLSearchParams({ id, stage: query.stage ?? "", row: String(row.row) })) as Episode | null;
  return episode?.turns.some((one) => [one.response, one.program, one.feedback].some((text) => has(text, query.text!))) ?? false;
}

function hasChanged(held: Snapshot, id: string, problem: string, query: Query): boolean {
  const rate = (stage: string) => problemsOf(held, [id], stage)?.find((row) => row.problem === problem)?.solve_rate ?? null;
  const [here, there] = [rate(query.stage ?? ""), rate(query.changed_from ?? "")];
  if (here === null || there === null) return false;
  return query.direction === "gained" ? here > there : query.direction === "lost" ? here < there : here !== there;
}
