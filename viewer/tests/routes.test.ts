import { describe, expect, it } from "vitest";
import { activeFilters, compareLink, episodeLink, FILTER_KEYS, parseRoute, rolloutsLink, runLink, type Query } from "../src/lib/routes";

const ID = "runs/my run/ä#?%2F";

describe("links", () => {
  it("come back as they were, whatever the id holds", () => {
    expect(parseRoute(runLink(ID))).toEqual({ view: "run", id: ID });
    expect(parseRoute(compareLink([ID, "b"]))).toEqual({ view: "compare", ids: [ID, "b"] });
    expect(parseRoute(episodeLink(ID, "eval-after", 12))).toEqual({ view: "episode", id: ID, stage: "eval-after", row: 12, query: {}, at: null });
    for (const hash of ["", "#", "#/"]) expect(parseRoute(hash)).toEqual({ view: "runs" });
  });
  it("hold every filter", () => {
    const query: Query = { stage: "train", sort: "reward", desc: "1" };
    FILTER_KEYS.forEach((key, i) => { query[key] = `${key} & = ? # ${i}`; });
    expect(parseRoute(rolloutsLink(ID, query))).toEqual({ view: "rollouts", id: ID, query });
    const { stage: _, ...rest } = query;
    expect(parseRoute(episodeLink(ID, "train", 3, query, 7))).toEqual({ view: "episode", id: ID, stage: "train", row: 3, query: rest, at: 7 });
    expect(activeFilters(query)).toEqual([...FILTER_KEYS]);
  });
  it("leave out what does not filter, and ignore what is unknown", () => {
    expect(rolloutsLink("a", { problem: "", verdict: "WA" })).toBe("#/run/a/rollouts?verdict=WA");
    expect(parseRoute("#/run/a/rollouts?verdict=&foo=1&turn=2")).toEqual({ view: "rollouts", id: "a", query: { turn: "2" } });
  });
  it("are told from what is none", () => {
    for (const hash of ["#/run", "#/run/a/train", "#/run/a/train/x", "#/run/a/b/1/2", "#/other", "#/run/%E0%A4%A"]) {
      expect(parseRoute(hash).view).toBe("unknown");
    }
  });
});
