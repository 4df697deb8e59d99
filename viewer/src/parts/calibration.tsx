import type { Bin } from "../lib/api";
import { count, isNumber, percent } from "../lib/format";

/** Sums bins over several batches: how many, mean value, share solved. */
export function mergeBins(lines: (Bin[] | null)[]): Bin[] {
  const size = Math.max(0, ...lines.map((bins) => bins?.length ?? 0));
  return Array.from({ length: size }, (_, i): Bin => {
    let [turns, value, solved] = [0, 0, 0];
    for (const bins of lines) {
      const [number, mean, share] = bins?.[i] ?? [0, null, null];
      if (!number || !isNumber(mean) || !isNumber(share)) continue;
      turns += number;
      value += number * mean;
      solved += number * share;
    }
    return turns === 0 ? [0, null, null] : [turns, value / turns, solved / turns];
  });
}

const SIZE = 260;
const PAD = 40;

/** What the critic expected against what came: on the diagonal it is right. */
export function Calibration({ bins }: { bins: Bin[] }) {
  const full = bins.filter((bin): bin is [number, number, number] => bin[0] > 0 && isNumber(bin[1]) && isNumber(bin[2]));
  const most = Math.max(1, ...full.map((bin) => bin[0]));
  const x = (value: number) => PAD + SIZE * Math.min(1, Math.max(0, (value + 1) / 2));
  const y = (share: number) => 12 + SIZE * (1 - share);
  return (
    <figure class="calibration">
      <svg viewBox={`0 0 ${PAD + SIZE + 16} ${SIZE + 54}`} role="img" aria-label="Calibration of the critic; the table beside it has its numbers">
        {[0, 0.25, 0.5, 0.75, 1].map((tick) => (
          <g key={tick} class="grid">
            <path d={`M${PAD} ${y(tick)}h${SIZE}M${x(2 * tick - 1)} 12v${SIZE}`} />
            <text x={PAD - 6} y={y(tick) + 4} text-anchor="end">{100 * tick}</text>
            <text x={x(2 * tick - 1)} y={SIZE + 28} text-anchor="middle">{100 * tick}</text>
          </g>
        ))}
        <path class="ideal" d={`M${x(-1)} ${y(0)}L${x(1)} ${y(1)}`} />
        <polyline class="line" points={full.map((bin) => `${x(bin[1])},${y(bin[2])}`).join(" ")} />
        {full.map((bin, i) => (
          <circle key={i} cx={x(bin[1])} cy={y(bin[2])} r={3 + 9 * Math.sqrt(bin[0] / most)}>
            <title>{`${count(bin[0])} turns: expected ${percent((bin[1] + 1) / 2)}, solved ${percent(bin[2])}`}</title>
          </circle>
        ))}
        <text class="axis" x={PAD + SIZE / 2} y={SIZE + 48} text-anchor="middle">expected by the critic, (value + 1) / 2, %</text>
        <text class="axis" transform={`translate(11 ${12 + SIZE / 2}) rotate(-90)`} text-anchor="middle">solved, %</text>
      </svg>
      <table>
        <thead><tr><th class="n">turns</th><th class="n">expected</th><th class="n">solved</th></tr></thead>
        <tbody>
          {full.map((bin, i) => (
            <tr key={i}><td class="n">{count(bin[0])}</td><td class="n">{percent((bin[1] + 1) / 2)}</td><td class="n">{percent(bin[2])}</td></tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}
