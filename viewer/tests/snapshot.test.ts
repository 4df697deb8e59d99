import { describe, expect, it } from "vitest";
import type { Episode, EpisodeRow } from "../src/lib/api";
import { answerOf, type Snapshot } from "../src/lib/snapshot";

const row = (number: number, more: Partial<EpisodeRow>): EpisodeRow => ({
  row: number, index: number, batch: 0, update: 1, problem: `p/${number}`, family: null, turns: 1, verdicts: ["AC"], solved: true,
  final_verdict: "AC", outcome: "AC", stop: "public_passed", status: "taken", reward: 1, tokens: 10, repaired: false, ...more,
});
const rows = [
  row(3, { tokens: null }), row(4, { turns: 2, verdicts: ["WA", "AC"], repaired: true, tokens: 7, family: "arith" }),
  row(9, { solved: false, verdicts: ["RE"], reward: -1, problem: "Other", tokens: 12 }),
];
const turn = (response: string) => ({ response, program: null, feedback: null, tokens: { text: ["a", "b"], logprob: [null, -1], policy_logprob: null, ref_logprob: null } });
const held: Snapshot = {
  home: "run", written: 0, version: "1", left_out: [], lists: [{ id: "run", stage: "train", rows, of: 99 }],
  answers: [
    { path: "episode", words: { stage: "train", row: "4" }, ids: ["run"], value: { turns: [turn("a Needle")] } },
    { path: "problems", words: { stage: "train" }, ids: ["run"], value: { rows: [{ problem: "p/3", solve_rate: 1 }, { problem: "p/4", solve_rate: 0.5 }] } },
    { path: "problems", words: { stage: "eval" }, ids: ["run"], value: { rows: [{ problem: "p/3", solve_rate: 0.5 }] } },
    { path: "compare", words: {}, ids: ["a", "b"], value: { pairs: [] } },
  ],
};
const ask = (path: string, words: [string, string][]) => answerOf(held, path, new URLSearchParams(words));
const found = (...words: [string, string][]) => {
  const page = ask("episodes", [["id", "run"], ["stage", "train"], ...words]) as { total: number; rows: EpisodeRow[] };
  return page.rows.map((one) => one.row);
};

describe("a page without a server", () => {
  it("finds answers by their words, whatever their order, and their runs in order", () => {
    expect(ask("problems", [["stage", "eval"], ["id", "run"]])).not.toBeNull();
    expect(ask("compare", [["id", "a"], ["id", "b"]])).toEqual({ pairs: [] });
    expect(ask("compare", [["id", "b"], ["id", "a"]])).toBeNull();
    expect(ask("metrics", [["id", "run"]])).toBeNull();
  });
  it("filters and sorts its episodes as the server does", () => {
    expect(found()).toEqual([3, 4, 9]);
    expect(found(["verdict", "WA"], ["turn", "1"])).toEqual([4]);
    expect(found(["solved", "1"], ["repaired", "0"])).toEqual([3]);
    expect(found(["max_reward", "0"])).toEqual([9]);
    expect(found(["problem", "OTHER"])).toEqual([9]);
    expect(found(["problem", "p/"])).toEqual([3, 4]);
    expect(found(["problem_is", "p/3"])).toEqual([3]);
    expect(found(["problem_is", "p/"])).toEqual([]);
    expect(found(["family", "arith"])).toEqual([4]);
    expect(found(["family", "arit"])).toEqual([]);
    expect(found(["text", "a needle"])).toEqual([4]);
    expect(found(["sort", "tokens"])).toEqual([4, 9, 3]);
    expect(found(["sort", "tokens"], ["desc", "1"])).toEqual([9, 4, 3]);
    expect(found(["offset", "1"], ["limit", "1"])).toEqual([4]);
    expect(found(["changed_from", "eval"])).toEqual([3]);
    expect(found(["changed_from", "eval"], ["direction", "lost"])).toEqual([]);
  });
  it("has tokens by themselves again, and rates of another stage beside", () => {
    const episode = ask("episode", [["id", "run"], ["stage", "train"], ["row", "4"]]) as Episode;
    expect(episode.turns[0]!.tokens).toEqual([
      { text: "a", logprob: null, policy_logprob: null, ref_logprob: null, action: false },
      { text: "b", logprob: -1, policy_logprob: null, ref_logprob: null, action: true },
    ]);
    const { rows: both } = ask("problems", [["id", "run"], ["stage", "train"], ["other", "eval"]]) as { rows: { other_rate: number | null }[] };
    expect(both.map((one) => one.other_rate)).toEqual([0.5, null]);
  });
});
