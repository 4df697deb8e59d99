import { useState } from "preact/hooks";
import type { Flow } from "../lib/api";
import { layoutFlow } from "../lib/flow";
import { count, percent } from "../lib/format";
import { OUTCOMES, outcomeLabel } from "../lib/words";

/** Episodes from turn to turn by what their public tests said, as bands as wide as they are many. */
export function FlowDiagram({ flow, link, isWide }: { flow: Flow; link: (turn: number, outcome: string) => string | null; isWide: boolean }) {
  const [shown, setShown] = useState<string | null>(null);
  const { nodes, bands, width, height, turns, total } = layoutFlow(flow, isWide ? 290 : 190);
  if (total === 0) return <p class="dim">No episodes.</p>;
  return (
    <figure class="flow">
      <div class="scroll">
      <svg viewBox={`0 0 ${width} ${height}`} role="img" width={width} height={height}
        aria-label={`Flow of ${total} episodes through ${turns} turns; the table below has its numbers`}>
        {nodes.filter((node, i) => nodes.findIndex((other) => other.turn === node.turn) === i).map((node) => (
          <text key={node.turn} class="turn" x={node.x} y={14}>{node.turn > turns ? "all tests" : `turn ${node.turn}`}</text>
        ))}
        {bands.map((band) => (
          <path key={band.key} d={band.path} class={`band v-${band.to}`} onMouseEnter={() => setShown(words(band, total))} onMouseLeave={() => setShown(null)}>
            <title>{words(band, total)}</title>
          </path>
        ))}
        {nodes.map((node) => {
          const href = link(node.turn, node.outcome);
          const label = (
            <>
              <rect class={`node v-${node.outcome}`} x={node.x} y={node.y} width={12} height={Math.max(2, node.height)} rx={2} />
              <text class="name" x={node.x + 18} y={node.y + node.height / 2 + 4}>
                {outcomeLabel(node.outcome)} <tspan class="number">{count(node.count)}</tspan>
              </text>
              <title>{`${OUTCOMES[node.outcome] ?? node.outcome}: ${count(node.count)} episodes (${percent(node.count / total)})`}</title>
            </>
          );
          return href === null ? <g key={node.key}>{label}</g> : <a key={node.key} href={href}>{label}</a>;
        })}
      </svg>
      </div>
      <figcaption aria-live="polite">{shown ?? "Point at a band for its numbers; follow an outcome to its episodes."}</figcaption>
      <details>
        <summary>As a table</summary>
        <table>
          <thead><tr><th>after turn</th><th>from</th><th>to</th><th class="n">episodes</th><th class="n">of those from there</th></tr></thead>
          <tbody>
            {bands.map((band) => (
              <tr key={band.key}><td>{band.turn}</td><td>{outcomeLabel(band.from)}</td><td>{outcomeLabel(band.to)}</td><td class="n">{count(band.count)}</td><td class="n">{percent(band.share)}</td></tr>
            ))}
          </tbody>
        </table>
      </details>
    </figure>
  );
}

function words(band: { turn: number; from: string; to: string; count: number; share: number }, total: number): string {
  return `Turn ${band.turn}: ${outcomeLabel(band.from)} → ${outcomeLabel(band.to)}: ${count(band.count)} episodes, ${percent(band.share)} of those with ${outcomeLabel(band.from)} there, ${percent(band.count / total)} of all`;
}
