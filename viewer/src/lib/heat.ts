/** What a token's colour stands for. */

import { isNumber } from "./format";

export interface Token {
  text: string;
  logprob: number | null;
  policy_logprob: number | null;
  ref_logprob: number | null;
  action: boolean;
}

export const QUANTITIES = ["behavior", "policy", "gap", "kl", "mask"] as const;
export type Quantity = (typeof QUANTITIES)[number];

export const QUANTITY_NAMES: Record<Quantity, { label: string; about: string }> = {
  behavior: { label: "log-probability when sampled", about: "log π_b: of the policy that sampled the token" },
  policy: { label: "log-probability of the policy", about: "log π_old: of the policy at the start of the update" },
  gap: { label: "gap of the two", about: "log π_b − log π_old: 0 where sampler and learner agree and the rollout is fresh" },
  kl: { label: "KL to the reference", about: "log π_old − log π_ref: above 0 where training made the token likelier" },
  mask: { label: "loss mask", about: "tokens that the model sampled count in the policy's loss, others do not" },
};

export function tokenValue(token: Token, quantity: Quantity): number | null {
  const { logprob, policy_logprob: policy, ref_logprob: reference } = token;
  if (!token.action) return null;
  switch (quantity) {
    case "behavior": return isNumber(logprob) ? logprob : null;
    case "policy": return isNumber(policy) ? policy : null;
    case "gap": return isNumber(logprob) && isNumber(policy) ? logprob - policy : null;
    case "kl": return isNumber(policy) && isNumber(reference) ? policy - reference : null;
    case "mask": return 1;
  }
}

export function known(tokens: readonly Token[], quantity: Quantity): boolean {
  return tokens.some((token) => tokenValue(token, quantity) !== null);
}

/** Largest values of the eight levels, in nats: sampled tokens are mostly near certain. */
export const LOGPROB_LEVELS = [0.01, 0.05, 0.2, 0.7, 1.5, 3, 5];
/** Of differences, to either side; the gap of a fresh rollout is rounding only. */
export const DIFFERENCE_LEVELS = [0.01, 0.05, 0.2, 0.7, 2];

/** A class of the style sheet: "s0" to "s7" (surprise), "n5" to "n1", "z", "p1" to "p5", "off". */
export function heatClass(token: Token, quantity: Quantity): string {
  const value = tokenValue(token, quantity);
  if (value === null) return "off";
  if (quantity === "mask") return "on";
  const size = Math.abs(value);
  if (quantity === "behavior" || quantity === "policy") {
    return `s${LOGPROB_LEVELS.filter((level) => size >= level).length}`;
  }
  const level = DIFFERENCE_LEVELS.filter((one) => size >= one).length;
  return level === 0 ? "z" : `${value < 0 ? "n" : "p"}${level}`;
}

export function meanValue(tokens: readonly Token[], quantity: Quantity): number | null {
  const values = tokens.map((token) => tokenValue(token, quantity)).filter(isNumber);
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}
