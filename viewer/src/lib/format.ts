/** Numbers as people read them. A missing one is a dash. */

export const DASH = "–";
const SPACE = "\u00a0";

export type Maybe = number | null | undefined;

export function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** A share from 0 to 1 in percent, with its unit. */
export function percent(share: Maybe, digits = 1): string {
  return isNumber(share) ? `${unsigned((100 * share).toFixed(digits))}${SPACE}%` : DASH;
}

/** A difference of two shares, in points of percent, with its sign. */
export function points(difference: Maybe, digits = 1): string {
  if (!isNumber(difference)) return DASH;
  const text = unsigned((100 * difference).toFixed(digits));
  return `${difference > 0 && Number(text) !== 0 ? "+" : ""}${text}`;
}

/** About three figures; very small and very large ones with an exponent. */
export function number(value: Maybe, figures = 3): string {
  if (!isNumber(value)) return DASH;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e7) {
    const [mantissa = "", exponent = ""] = value.toExponential(figures - 1).split("e");
    const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
    return `${minus(short)}e${minus(exponent.replace("+", ""))}`;
  }
  if (size >= 1000) return minus(Math.round(value).toLocaleString("en"));
  return minus(String(Number(value.toPrecision(figures))));
}

/** With a fixed number of digits behind the point, for columns; a true minus sign. */
export function fixed(value: Maybe, digits = 2): string {
  return isNumber(value) ? unsigned(value.toFixed(digits)) : DASH;
}

export function signed(value: Maybe, digits = 2): string {
  if (!isNumber(value)) return DASH;
  const text = unsigned(value.toFixed(digits));
  return value > 0 && Number(value.toFixed(digits)) !== 0 ? `+${text}` : text;
}

export function count(value: Maybe): string {
  return isNumber(value) ? Math.round(value).toLocaleString("en") : DASH;
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)}${SPACE}${value === 1 ? one : many}`;
}

/** Half of an interval's width behind its estimate: "63.5 ± 3.0 %". */
export function withInterval(mean: Maybe, low: Maybe, high: Maybe): string {
  if (!isNumber(mean)) return DASH;
  if (!isNumber(low) || !isNumber(high)) return percent(mean);
  return `${(100 * mean).toFixed(1)}${SPACE}±${SPACE}${(50 * (high - low)).toFixed(1)}${SPACE}%`;
}

export function ago(seconds: Maybe, now = Date.now() / 1000): string {
  if (!isNumber(seconds)) return DASH;
  const age = Math.max(0, now - seconds);
  if (age < 60) return "just now";
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]] as const) {
    if (age >= length) return `${plural(Math.floor(age / length), unit)} ago`;
  }
  return "just now";
}

export function dateTime(seconds: Maybe): string {
  if (!isNumber(seconds)) return DASH;
  const at = new Date(1000 * seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

export function setting(value: unknown): string {
  if (value === null || value === undefined) return DASH;
  if (typeof value === "string") return value;
  return JSON.stringify(value);
}

/** Means over `window` values to either side, over fewer at the ends; gaps stay gaps. */
export function runningMean(values: readonly (number | null)[], window: number): (number | null)[] {
  return values.map((value, place) => {
    if (value === null) return null;
    let sum = 0;
    let known = 0;
    for (let i = Math.max(0, place - window); i <= Math.min(values.length - 1, place + window); i++) {
      const near = values[i];
      if (isNumber(near)) {
        sum += near;
        known++;
      }
    }
    return sum / known;
  });
}

function minus(text: string): string {
  return text.replace("-", "−");
}

/** No "−0.00". */
function unsigned(text: string): string {
  return minus(Number(text) === 0 ? text.replace("-", "") : text);
}
