/** Where nodes and bands of the flow diagram stand. */

import type { Flow } from "./api";
import { inOutcomeOrder } from "./words";

export interface FlowNode {
  key: string;
  turn: number;
  outcome: string;
  count: number;
  x: number;
  y: number;
  height: number;
}

export interface FlowBand {
  key: string;
  turn: number;
  from: string;
  to: string;
  count: number;
  /** Of the episodes at its start. */
  share: number;
  path: string;
}

const NODE_WIDTH = 12;
const GAP = 16;
const TOP = 24;
const ENDS = new Set(["solved", "failed", "unjudged"]);

/**
 * A column per turn and one for the end. Bands to "solved" and "failed" lead from any turn to the
 * last column, past the columns between.
 */
export function layoutFlow(flow: Flow, columnWidth = 190, tall = 300): {
  nodes: FlowNode[]; bands: FlowBand[]; width: number; height: number; turns: number; total: number;
} {
  const links = flow.links.filter((link) => link.count > 0);
  const turns = Math.max(0, ...links.map((link) => link.turn));
  const target = (link: Flow["links"][number]) => (ENDS.has(link.to) ? turns + 1 : link.turn + 1);
  const [outs, ins] = [new Map<string, number>(), new Map<string, number>()];
  const key = (turn: number, outcome: string) => `${turn}/${outcome}`;
  for (const link of links) {
    bump(outs, key(link.turn, link.from), link.count);
    bump(ins, key(target(link), link.to), link.count);
  }
  const count = (at: string) => Math.max(outs.get(at) ?? 0, ins.get(at) ?? 0);
  const columns: string[][] = Array.from({ length: turns + 1 }, (_, i) => {
    const found = [...new Set([...outs.keys(), ...ins.keys()])].filter((at) => at.startsWith(`${i + 1}/`));
    return inOutcomeOrder(found.map((at) => at.slice(at.indexOf("/") + 1)));
  });
  const total = (columns[0] ?? []).reduce((sum, outcome) => sum + count(key(1, outcome)), 0);
  const most = Math.max(1, ...columns.map((column) => column.length));
  const scale = total === 0 ? 0 : tall / total;
  const nodes = new Map<string, FlowNode>();
  columns.forEach((column, i) => {
    // Room above for the episodes that have ended: they pass by on their way to the last column.
    const ended = i < turns ? total - column.reduce((sum, outcome) => sum + count(key(i + 1, outcome)), 0) : 0;
    let y = TOP + (ended > 0 ? ended * scale + GAP : 0);
    for (const outcome of column) {
      const at = key(i + 1, outcome);
      const height = count(at) * scale;
      nodes.set(at, { key: at, turn: i + 1, outcome, count: count(at), x: i * columnWidth, y, height });
      y += Math.max(2, height) + GAP;
    }
  });
  const [left, arrived] = [new Map<string, number>(), new Map<string, number>()];
  const place = (at: string) => nodes.get(at)!;
  const ordered = [...links].sort(
    (a, b) => a.turn - b.turn || place(key(a.turn, a.from)).y - place(key(b.turn, b.from)).y ||
      place(key(target(a), a.to)).y - place(key(target(b), b.to)).y,
  );
  const bands = ordered.map((link): FlowBand => {
    const [start, end] = [key(link.turn, link.from), key(target(link), link.to)];
    const [a, b] = [place(start), place(end)];
    const height = Math.max(0.6, link.count * scale);
    const [y0, y1] = [a.y + (left.get(start) ?? 0), b.y + (arrived.get(end) ?? 0)];
    bump(left, start, height);
    bump(arrived, end, height);
    const [x0, x1] = [a.x + NODE_WIDTH, b.x];
    const bend = columnWidth / 2;
    const path =
      `M${n(x0)} ${n(y0)}C${n(x0 + bend)} ${n(y0)} ${n(x1 - bend)} ${n(y1)} ${n(x1)} ${n(y1)}` +
      `V${n(y1 + height)}C${n(x1 - bend)} ${n(y1 + height)} ${n(x0 + bend)} ${n(y0 + height)} ${n(x0)} ${n(y0 + height)}Z`;
    return { key: `${start}>${end}`, turn: link.turn, from: link.from, to: link.to, count: link.count, share: link.count / count(start), path };
  });
  return {
    nodes: [...nodes.values()], bands, total, turns,
    width: turns * columnWidth + 150, height: TOP + tall + (most + 1) * GAP,
  };
}

function bump(map: Map<string, number>, key: string, by: number): void {
  map.set(key, (map.get(key) ?? 0) + by);
}

function n(value: number): string {
  return String(Math.round(value * 10) / 10);
}
