import type { ProblemRow } from "./api";
import { isNumber } from "./format";

export type SortKey = "name" | "episodes" | "turn_1" | "solve_rate" | "repaired" | "other_rate" | "change";

/** The same for problems of one family; a problem of none is alone, whatever it is called. */
export function groupKey({ family, problem }: Pick<ProblemRow, "family" | "problem">): string {
  return family === null ? `problem ${problem}` : `family ${family}`;
}

/** One row per family: means over its problems, as solve rates are. */
export function grouped(rows: readonly ProblemRow[]): ProblemRow[] {
  const families = new Map<string, ProblemRow[]>();
  for (const row of rows) {
    const key = groupKey(row);
    const members = families.get(key);
    if (members === undefined) families.set(key, [row]);
    else members.push(row);
  }
  return [...families.values()].map((members) => {
    const { family, problem } = members[0]!;
    const details = new Set(members.map((row) => row.hidden_detail));
    return {
      problem: family ?? problem, family,
      hidden_detail: details.size === 1 ? members[0]!.hidden_detail : null,
      episodes: members.reduce((sum, row) => sum + row.episodes, 0),
      solve_rate: mean(members.map((row) => row.solve_rate)),
      turn_1: mean(members.map((row) => row.turn_1)),
      by_turn: [],
      other_rate: mean(members.map((row) => row.other_rate)),
    };
  });
}

/** Rows without a value come last, whatever the order. */
export function sorted(rows: readonly ProblemRow[], key: SortKey, desc: boolean): ProblemRow[] {
  const value = (row: ProblemRow): number | null => {
    switch (key) {
      case "name": return null;
      case "repaired": return difference(row.solve_rate, row.turn_1);
      case "change": return difference(row.solve_rate, row.other_rate);
      default: return row[key];
    }
  };
  const names = new Intl.Collator("en", { numeric: true });
  const side = desc ? -1 : 1;
  return [...rows].sort((a, b) => {
    if (key === "name") return side * names.compare(a.problem, b.problem);
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return Number(x === null) - Number(y === null);
    return side * (x - y) || names.compare(a.problem, b.problem);
  });
}

function difference(a: number | null, b: number | null): number | null {
  return isNumber(a) && isNumber(b) ? a - b : null;
}

function mean(values: (number | null)[]): number | null {
  const known = values.filter(isNumber);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}
