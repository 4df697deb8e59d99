import { useMemo, useState } from "preact/hooks";
import { DASH, fixed, isNumber, signed } from "../lib/format";
import { DIFFERENCE_LEVELS, heatClass, known, LOGPROB_LEVELS, meanValue, QUANTITIES, QUANTITY_NAMES, type Quantity, type Token } from "../lib/heat";
import { Marked, Select } from "./basic";

/** Each token of an answer, coloured by one of its numbers. */
export function Heat({ tokens, quantity, onQuantity }: { tokens: Token[]; quantity: Quantity; onQuantity: (quantity: Quantity) => void }) {
  const [at, setAt] = useState<number | null>(null);
  const available = useMemo(() => QUANTITIES.filter((one) => known(tokens, one)), [tokens]);
  const shown = available.includes(quantity) ? quantity : (available[0] ?? "mask");
  const token = at === null ? null : (tokens[at] ?? null);
  const point = (event: Event) => {
    const index = (event.target as HTMLElement).closest<HTMLElement>("[data-i]")?.dataset["i"];
    if (index !== undefined) setAt(Number(index));
  };
  const move = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    setAt(Math.min(tokens.length - 1, Math.max(0, (at ?? -step) + step)));
  };
  const body = useMemo(
    () => tokens.map((one, i) => (
      <span key={i} data-i={i} class={`tok ${heatClass(one, shown)}`}>
        {one.text === "\n" ? "⏎\n" : <Marked text={one.text} />}
      </span>
    )),
    [tokens, shown],
  );
  return (
    <div class="heat">
      <div class="heat-tools">
        <Select label="Colour" value={shown} options={available.map((one) => [one, QUANTITY_NAMES[one].label] as const)} onChange={(value) => onQuantity(value as Quantity)} />
        <Scale quantity={shown} />
        {shown !== "mask" && <span class="dim">mean {signed(meanValue(tokens, shown), 3)} nats</span>}
      </div>
      <pre class="tokens" tabIndex={0} onMouseOver={point} onClick={point} onKeyDown={move} aria-label={`${tokens.length} tokens, coloured by ${QUANTITY_NAMES[shown].label}; arrow keys move`}>
        {body}
      </pre>
      <p class="readout" aria-live="polite">
        {token === null
          ? QUANTITY_NAMES[shown].about
          : (
            <>
              <span>{at! + 1} of {tokens.length}</span> <code><Marked text={JSON.stringify(token.text)} /></code>
              {token.action ? null : <span>not sampled, outside the loss</span>}
              <span>sampled at {nats(token.logprob)}{chance(token.logprob)}</span>
              {token.policy_logprob !== null && <span>policy {nats(token.policy_logprob)}</span>}
              {token.ref_logprob !== null && <span>reference {nats(token.ref_logprob)}</span>}
            </>
          )}
      </p>
    </div>
  );
}

function nats(value: number | null): string {
  return isNumber(value) ? fixed(value, 4) : DASH;
}

function chance(logprob: number | null): string {
  return isNumber(logprob) ? ` (${(100 * Math.exp(logprob)).toFixed(1)} %)` : "";
}

function Scale({ quantity }: { quantity: Quantity }) {
  const steps: [string, string][] =
    quantity === "mask"
      ? [["on", "in the loss"], ["off", "not"]]
      : quantity === "behavior" || quantity === "policy"
        ? [["s0", "0"], ...LOGPROB_LEVELS.map((level, i): [string, string] => [`s${i + 1}`, `−${level}`])]
        : [
          ...DIFFERENCE_LEVELS.map((level, i): [string, string] => [`n${i + 1}`, `−${level}`]).reverse(),
          ["z", "0"], ...DIFFERENCE_LEVELS.map((level, i): [string, string] => [`p${i + 1}`, `+${level}`]),
        ];
  return (
    <span class="scale" role="img" aria-label={`Scale: ${steps.map(([, label]) => label).join(", ")}`}>
      {steps.map(([name, label]) => <span key={name} class={`tok ${name}`}>{label}</span>)}
    </span>
  );
}
