/** What one program changed of the one before, line by line. */

import { diffArrays, diffWordsWithSpace } from "diff";

export type DiffPart = { text: string; changed: boolean };

export type DiffRow =
  | { kind: "same" | "added" | "removed"; old: number | null; new: number | null; parts: DiffPart[] }
  | { kind: "fold"; lines: number };

const TIMEOUT_MS = 400;
const CONTEXT = 4;
const MAX_WORDS_LINE = 2000;

/** Rows of a unified diff. Long stretches without a change are folded. */
export function diffRows(before: string, after: string, context = CONTEXT): DiffRow[] {
  const [old, now] = [lines(before), lines(after)];
  const changes = diffArrays(old, now, { timeout: TIMEOUT_MS }) ?? [
    { value: old, removed: true, added: false, count: old.length },
    { value: now, added: true, removed: false, count: now.length },
  ];
  const rows: DiffRow[] = [];
  let [oldLine, newLine] = [1, 1];
  for (let i = 0; i < changes.length; i++) {
    const change = changes[i]!;
    const next = changes[i + 1];
    if (change.removed && next?.added) {
      const pairs = paired(change.value, next.value);
      for (const parts of pairs.removed) rows.push({ kind: "removed", old: oldLine++, new: null, parts });
      for (const parts of pairs.added) rows.push({ kind: "added", old: null, new: newLine++, parts });
      i++;
    } else {
      for (const text of change.value) {
        const parts = [{ text, changed: false }];
        if (change.removed) rows.push({ kind: "removed", old: oldLine++, new: null, parts });
        else if (change.added) rows.push({ kind: "added", old: null, new: newLine++, parts });
        else rows.push({ kind: "same", old: oldLine++, new: newLine++, parts });
      }
    }
  }
  return folded(rows, context);
}

/** How many lines were added and removed. */
export function diffSize(rows: readonly DiffRow[]): { added: number; removed: number } {
  return {
    added: rows.filter((row) => row.kind === "added").length,
    removed: rows.filter((row) => row.kind === "removed").length,
  };
}

function lines(text: string): string[] {
  const found = text.split("\n");
  if (found.at(-1) === "") found.pop();
  return found;
}

/** Words are compared where as many lines came as went: then the nth is most likely the nth. */
function paired(removed: string[], added: string[]): { removed: DiffPart[][]; added: DiffPart[][] } {
  const whole = (text: string): DiffPart[] => [{ text, changed: false }];
  const short = [...removed, ...added].every((line) => line.length <= MAX_WORDS_LINE);
  if (removed.length !== added.length || !short) {
    return { removed: removed.map(whole), added: added.map(whole) };
  }
  const result: { removed: DiffPart[][]; added: DiffPart[][] } = { removed: [], added: [] };
  removed.forEach((line, i) => {
    const words = diffWordsWithSpace(line, added[i]!);
    const kept = words.filter((word) => !word.added && !word.removed).reduce((sum, word) => sum + word.value.length, 0);
    const alike = kept > 0.3 * Math.max(line.length, added[i]!.length);
    const side = (skip: "added" | "removed"): DiffPart[] =>
      words.filter((word) => !word[skip]).map((word) => ({ text: word.value, changed: word.added || word.removed }));
    result.removed.push(alike ? side("added") : whole(line));
    result.added.push(alike ? side("removed") : whole(added[i]!));
  });
  return result;
}

function folded(rows: DiffRow[], context: number): DiffRow[] {
  const near = new Array<boolean>(rows.length).fill(false);
  rows.forEach((row, i) => {
    if (row.kind === "same") return;
    for (let j = Math.max(0, i - context); j <= Math.min(rows.length - 1, i + context); j++) near[j] = true;
  });
  if (!near.includes(true)) return rows;
  const result: DiffRow[] = [];
  for (let i = 0; i < rows.length; ) {
    let end = i;
    while (end < rows.length && !near[end]) end++;
    // A fold takes a line itself, so one of two lines would save nothing.
    if (end - i > 2) result.push({ kind: "fold", lines: end - i });
    else result.push(...rows.slice(i, end));
    if (end > i) i = end;
    else result.push(rows[i++]!);
  }
  return result;
}
