import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { hasMarks, pieces } from "../lib/marks";
import { OUTCOMES, outcomeLabel } from "../lib/words";

export function Notice({ kind = "info", children }: { kind?: "info" | "error" | "warning"; children: ComponentChildren }) {
  return <p class={`notice ${kind}`} role={kind === "error" ? "alert" : "note"}>{children}</p>;
}

export function Loading({ what = "Loading" }: { what?: string }) {
  return <p class="loading" role="status">{what}…</p>;
}

/** Text of a model or a program, with what cannot be seen as marks. */
export function Marked({ text }: { text: string }) {
  if (!hasMarks(text)) return <>{text}</>;
  return (
    <>
      {pieces(text).map((piece, i) =>
        piece.mark === undefined
          ? piece.text
          : <span key={i} class="odd" title={piece.name} role="img" aria-label={piece.name}>{piece.mark}</span>,
      )}
    </>
  );
}

export function Badge({ outcome, small = false }: { outcome: string; small?: boolean }) {
  return (
    <span class={`badge v-${outcome.replace(/\W/g, "")}${small ? " small" : ""}`} title={OUTCOMES[outcome] ?? outcome}>
      {outcomeLabel(outcome)}
    </span>
  );
}

/** A number that people look for first. */
export function Tile({ label, value, detail, title }: { label: string; value: string; detail?: string | null; title?: string }) {
  return (
    <div class="tile" title={title}>
      <dt>{label}</dt>
      <dd>{value}</dd>
      {detail && <dd class="detail">{detail}</dd>}
    </div>
  );
}

export function Section({ id, title, about, children, tools }: {
  id?: string; title: string; about?: ComponentChildren; children: ComponentChildren; tools?: ComponentChildren;
}) {
  return (
    <section id={id} class="section" aria-label={title} tabIndex={-1}>
      <div class="section-head">
        <h2>{title}</h2>
        {tools && <div class="tools">{tools}</div>}
      </div>
      {about && <p class="about">{about}</p>}
      {children}
    </section>
  );
}

export function Select({ label, value, options, onChange, hideLabel = false }: {
  label: string; value: string; options: readonly (readonly [string, string])[]; onChange: (value: string) => void; hideLabel?: boolean;
}) {
  return (
    <label class="field">
      <span class={hideLabel ? "hidden" : ""}>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([key, name]) => <option key={key} value={key} selected={key === value}>{name}</option>)}
      </select>
    </label>
  );
}

/** One of a few, side by side. */
export function Choice<T extends string>({ label, value, options, onChange }: {
  label: string; value: T; options: readonly (readonly [T, string])[]; onChange: (value: T) => void;
}) {
  return (
    <div class="choice" role="group" aria-label={label}>
      {options.map(([key, name]) => (
        <button key={key} type="button" aria-pressed={key === value} onClick={() => onChange(key)}>{name}</button>
      ))}
    </div>
  );
}

export function CopyLink() {
  const [copied, setCopied] = useState(false);
  const copy = () => {
    void navigator.clipboard.writeText(location.href).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    });
  };
  // Browsers have none on pages that are neither encrypted nor of this machine.
  if (!navigator.clipboard) return null;
  return <button type="button" onClick={copy}>{copied ? "Copied" : "Copy link"}</button>;
}

/** A bar behind a share, so that a column can be read at a glance. */
export function ShareBar({ share, low, high }: { share: number | null; low?: number | null; high?: number | null }) {
  if (share === null || !Number.isFinite(share)) return null;
  const at = (value: number) => 100 * Math.min(1, Math.max(0, value));
  return (
    <svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
      <rect class="track" width="100" height="8" />
      <rect class="fill" width={at(share)} height="8" />
      {typeof low === "number" && typeof high === "number" && (
        <rect class="interval" x={at(low)} width={Math.max(0.5, at(high) - at(low))} y="3.2" height="1.6" />
      )}
    </svg>
  );
}
