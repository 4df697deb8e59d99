import { describe, expect, it } from "vitest";
import { guessLanguage, scopeClass, segments, tokens } from "../src/lib/code";
import { diffRows, diffSize } from "../src/lib/diff";
import { layoutFlow } from "../src/lib/flow";
import { ago, fixed, number, percent, points, runningMean, setting, signed, withInterval } from "../src/lib/format";
import { heatClass, known, meanValue, tokenValue, type Token } from "../src/lib/heat";
import { hasMarks, pieces, plainMarks } from "../src/lib/marks";
import { appended } from "../src/lib/metrics";
import { grouped, sorted } from "../src/lib/problems";
import { at, overSeeds } from "../src/lib/seeds";
import { expand, inStageOrder, stageLabel } from "../src/lib/words";
import { mergeBins } from "../src/parts/calibration";
import { mainNumber } from "../src/views/runs";
import { shortNames } from "../src/views/compare";

const S = "\u00a0";

describe("numbers", () => {
  it("shows shares in percent, differences in points with a true minus", () => {
    expect(percent(0.635)).toBe(`63.5${S}%`);
    expect(percent(null)).toBe("–");
    expect(percent(Number.NaN)).toBe("–");
    expect(points(0.082)).toBe("+8.2");
    expect(points(-0.05)).toBe("−5.0");
    expect(points(-0.0001)).toBe("0.0");
    expect(withInterval(0.635, 0.6, 0.66)).toBe(`63.5${S}±${S}3.0${S}%`);
    expect(withInterval(0.5, null, null)).toBe(`50.0${S}%`);
  });
  it("keeps about three figures", () => {
    expect(number(0.0265992)).toBe("0.0266");
    expect(number(4.84e-7)).toBe("4.84e−7");
    expect(number(-1.5)).toBe("−1.5");
    expect(number(13594)).toBe("13,594");
    expect(number(0)).toBe("0");
    expect(number(undefined)).toBe("–");
    expect(fixed(-0.001)).toBe("0.00");
    expect(signed(0.25)).toBe("+0.25");
    expect(setting(8192)).toBe("8192");
    expect(setting({})).toBe("{}");
  });
  it("says how long ago", () => {
    expect(ago(940, 1000)).toBe(`1${S}minute ago`);
    expect(ago(1000 - 7300, 1000)).toBe(`2${S}hours ago`);
    expect(ago(2000, 1000)).toBe("just now");
  });
  it("takes running means as the figures do", () => {
    expect(runningMean([0, 3, 6, 0], 1)).toEqual([1.5, 3, 3, 3]);
    expect(runningMean([1, null, 3], 1)).toEqual([1, null, 3]);
  });
});

describe("marks", () => {
  it("shows what cannot be seen, and loses nothing", () => {
    const text = "a\0b\x1b[31m\u202ec\u200bd\r\n\te";
    expect(pieces(text).map((piece) => piece.mark ?? piece.text)).toEqual(["a", "␀", "b", "␛", "[31m", "RLO", "c", "ZWSP", "d", "␍", "\n\te"]);
    expect(plainMarks("x\u2066y")).toBe("x⟨LRI⟩y");
  });
  it("marks lone surrogates, tags and byte order marks, but not letters of any script", () => {
    expect(pieces("\ud800x")[0]).toEqual({ mark: "U+D800", name: "U+D800, not shown" });
    expect(pieces("\u{e0041}")[0]?.mark).toBe("U+E0041");
    expect(pieces("\ufeff")[0]?.mark).toBe("BOM");
    expect(hasMarks("日本語 עברית é 😀 −\t\n")).toBe(false);
  });
});

describe("differences", () => {
  it("pairs changed lines and marks the words", () => {
    const rows = diffRows("a = 1\nprint(a)\n", "a = 1\nprint(a + 1)\n");
    expect(rows.map((row) => row.kind)).toEqual(["same", "removed", "added"]);
    expect(diffSize(rows)).toEqual({ added: 1, removed: 1 });
    const added = rows[2]!;
    expect(added.kind !== "fold" && added.parts.filter((part) => part.changed).map((part) => part.text).join("")).toContain("+ 1");
  });
  it("counts lines on both sides and folds long stretches", () => {
    const before = Array.from({ length: 30 }, (_, i) => `line ${i}`).join("\n");
    const rows = diffRows(before, `${before}\nmore`);
    expect(rows[0]).toEqual({ kind: "fold", lines: 26 });
    expect(rows.at(-1)).toMatchObject({ kind: "added", old: null, new: 31 });
  });
  it("shows equal programs as they are", () => {
    expect(diffRows("x\ny\n", "x\ny").every((row) => row.kind === "same")).toBe(true);
  });
});

describe("code", () => {
  it("cuts an answer into prose and blocks", () => {
    expect(segments("So:\n```python\nx = 1\n```\nDone")).toEqual([
      { kind: "prose", text: "So:", language: null }, { kind: "code", text: "x = 1", language: "python" }, { kind: "prose", text: "Done", language: null },
    ]);
    expect(segments("```\n#include <vector>\n")[0]).toMatchObject({ kind: "code", language: "cpp" });
  });
  it("highlights without losing a character, and makes no HTML", () => {
    const code = 'print("<script>alert(1)</script>") # & more';
    const found = tokens(code, "python");
    expect(found.map((token) => token.text).join("")).toBe(code);
    expect(found.some((token) => token.scope === "string")).toBe(true);
    expect(scopeClass('title.x"onclick')).toBe("hl-title hl-xonclick");
    expect(guessLanguage("int main() {}")).toBe("cpp");
  });
});

describe("tokens", () => {
  const token: Token = { text: "x", logprob: -0.3, policy_logprob: -0.1, ref_logprob: -0.6, action: true };
  it("colours by the chosen number", () => {
    expect(tokenValue(token, "gap")).toBeCloseTo(-0.2);
    expect(tokenValue(token, "kl")).toBeCloseTo(0.5);
    expect(heatClass(token, "behavior")).toBe("s3");
    expect(heatClass(token, "kl")).toBe("p3");
    expect(heatClass({ ...token, policy_logprob: -0.3 }, "gap")).toBe("z");
    expect(heatClass({ ...token, action: false }, "mask")).toBe("off");
    expect(known([{ ...token, ref_logprob: null }], "kl")).toBe(false);
    expect(meanValue([token, { ...token, action: false }], "behavior")).toBeCloseTo(-0.3);
  });
});

describe("curves", () => {
  it("puts new lines behind the known ones, with new columns and gaps", () => {
    expect(appended({ update: [4], kl: [0] }, 1, { update: [8], reward: [1] })).toEqual({ update: [4, 8], kl: [0, null], reward: [null, 1] });
  });
  it("takes the mean over seeds with Student's interval", () => {
    const { mean, low, high } = overSeeds([[0.5, 1], [0.7, null]]);
    expect(mean[0]).toBeCloseTo(0.6);
    expect(low[0]).toBeCloseTo(-0.67, 2);
    expect(high[0]).toBeCloseTo(1.87, 2);
    expect([mean[1], low[1]]).toEqual([null, null]);
    expect(overSeeds([[2]]).low).toEqual([null]);
    expect(at([4, 8, 12], [4, 12], [1, 3])).toEqual([1, null, 3]);
  });
  it("finds the columns of a pattern", () => {
    const found = expand({ key: "solve_rate/turn_*", label: "by turn *" }, ["solve_rate/turn_10", "solve_rate", "solve_rate/turn_2"]);
    expect(found.map(({ label, color }) => [label, color])).toEqual([["by turn 2", 2], ["by turn 10", 4]]);
  });
  it("adds up calibration bins", () => {
    expect(mergeBins([[[1, -1, 0]], [[3, 1, 1]], null])).toEqual([[4, 0.5, 0.75]]);
    expect(mergeBins([[[0, null, null]]])).toEqual([[0, null, null]]);
  });
});

describe("flow", () => {
  it("keeps counts, and leads early ends past later turns", () => {
    const flow = layoutFlow({
      nodes: [],
      links: [
        { turn: 1, from: "AC", to: "solved", count: 6 }, { turn: 1, from: "WA", to: "AC", count: 3 },
        { turn: 1, from: "WA", to: "WA", count: 1 }, { turn: 2, from: "AC", to: "solved", count: 3 }, { turn: 2, from: "WA", to: "failed", count: 1 },
      ],
    });
    expect([flow.total, flow.turns]).toEqual([10, 2]);
    const node = (turn: number, outcome: string) => flow.nodes.find((one) => one.turn === turn && one.outcome === outcome)!;
    expect(node(3, "solved").count).toBe(9);
    expect(node(1, "WA").count).toBe(4);
    expect(node(2, "AC").y).toBeGreaterThan(node(1, "AC").y + node(1, "AC").height);
    expect(flow.bands.find((band) => band.from === "WA" && band.to === "AC")?.share).toBe(0.75);
    expect(layoutFlow({ nodes: [], links: [] }).total).toBe(0);
  });
});

describe("tables", () => {
  const row = (problem: string, solve_rate: number | null, other_rate: number | null = null) =>
    ({ problem, family: "f", hidden_detail: null, episodes: 1, solve_rate, turn_1: 0, by_turn: [], other_rate });
  it("takes means over a family's problems", () => {
    expect(grouped([row("f/1", 1, 0), row("f/2", 0, 0)])).toMatchObject([{ problem: "f", episodes: 2, solve_rate: 0.5, other_rate: 0 }]);
  });
  it("keeps a problem of no family apart from a family of its name", () => {
    const alone = { ...row("f", 0), family: null };
    expect(grouped([row("f/1", 1), alone])).toMatchObject([{ problem: "f", family: "f", solve_rate: 1 }, { problem: "f", family: null, solve_rate: 0 }]);
  });
  it("sorts with unknown values last either way", () => {
    const rows = [row("b", 0.5, 0.5), row("a", null), row("c", 1, 0)];
    expect(sorted(rows, "change", true).map((one) => one.problem)).toEqual(["c", "b", "a"]);
    expect(sorted(rows, "change", false).map((one) => one.problem)).toEqual(["b", "c", "a"]);
    expect(sorted([row("p/10", 0), row("p/9", 0)], "name", false)[0]?.problem).toBe("p/9");
  });
});

describe("names", () => {
  it("says what a stage is", () => {
    const config = { "eval.temperature": 0.2, "eval.also.temperature": 1 };
    expect(stageLabel("eval-after", config)).toBe("after training, T 0.2");
    expect(stageLabel("eval-after-also", config)).toBe("after training, T 1");
    expect(stageLabel("eval-before")).toBe("before training");
    expect(stageLabel("valid-000800")).toBe("validation at update 800");
    expect(stageLabel("odd")).toBe("odd");
    expect(inStageOrder([{ name: "eval-after" }, { name: "eval-before" }, { name: "train" }]).map((one) => one.name)).toEqual(["train", "eval-before", "eval-after"]);
  });
  it("takes the number a run is known by", () => {
    expect(mainNumber({ "1@1": 0.3, "1@3": 0.4, gain: 0.1 })).toEqual(["1@3", 0.4]);
    expect(mainNumber({ "1@3": null })).toBeNull();
    expect(mainNumber({})).toBeNull();
  });
  it("shortens ids as far as they differ", () => {
    expect(shortNames(["a/x/one", "b/y/two"])).toEqual({ "a/x/one": "one", "b/y/two": "two" });
    expect(shortNames(["a/r", "b/r"])).toEqual({ "a/r": "a/r", "b/r": "b/r" });
  });
});
