/** Several runs of equal settings as one curve. */

import { isNumber, runningMean } from "./format";

export interface SeedCurve {
  mean: (number | null)[];
  low: (number | null)[];
  high: (number | null)[];
}

/** Student's t at 97.5 % for 1, 2, … degrees of freedom; beyond, the normal's. */
const STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131];
const NORMAL = 1.96;
/** As in the charts of one run. */
const SMOOTHING = 0.08;

/** The mean over seeds and its 95 % interval; no interval of one seed, nothing where one is missing. */
export function overSeeds(curves: readonly (readonly (number | null)[])[]): SeedCurve {
  const length = Math.min(...curves.map((curve) => curve.length));
  const result: SeedCurve = { mean: [], low: [], high: [] };
  for (let i = 0; i < (Number.isFinite(length) ? length : 0); i++) {
    const values = curves.map((curve) => curve[i]).filter(isNumber);
    const n = values.length;
    if (n === 0 || n < curves.length) {
      for (const part of Object.values(result)) part.push(null);
      continue;
    }
    const mean = values.reduce((sum, value) => sum + value, 0) / n;
    const spread = n < 2 ? null : Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
    const half = spread === null ? null : ((STUDENT[n - 2] ?? NORMAL) * spread) / Math.sqrt(n);
    result.mean.push(mean);
    result.low.push(half === null ? null : mean - half);
    result.high.push(half === null ? null : mean + half);
  }
  return result;
}

export function smoothed(values: readonly (number | null)[]): (number | null)[] {
  const known = values.filter(isNumber).length;
  return known < 8 ? [...values] : runningMean(values, Math.max(1, Math.round(SMOOTHING * known)));
}

/** A curve's values at the updates of an axis. */
export function at(axis: readonly number[], updates: readonly (number | null)[], values: readonly (number | null)[]): (number | null)[] {
  const places = new Map(updates.map((update, i) => [update, i]));
  return axis.map((update) => values[places.get(update) ?? -1] ?? null);
}
