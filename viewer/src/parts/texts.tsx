import { useMemo, useState } from "preact/hooks";
import { guessLanguage, scopeClass, segments, tokens, type Language } from "../lib/code";
import { diffRows, diffSize } from "../lib/diff";
import { count } from "../lib/format";
import { Marked } from "./basic";

/** Shown at once; the rest at a press, since a line of megabytes would hold the page up. */
const SHOWN_CHARS = 20_000;

function Limited({ text, children }: { text: string; children: (text: string) => preact.ComponentChildren }) {
  const [all, setAll] = useState(false);
  if (all || text.length <= SHOWN_CHARS) return <>{children(text)}</>;
  return (
    <>
      {children(text.slice(0, SHOWN_CHARS))}
      <button type="button" class="more" onClick={() => setAll(true)}>
        Show the other {count(text.length - SHOWN_CHARS)} characters
      </button>
    </>
  );
}

export function Plain({ text, label }: { text: string; label?: string }) {
  return <Limited text={text}>{(shown) => <pre class="text" aria-label={label} tabIndex={0}><Marked text={shown} /></pre>}</Limited>;
}

export function Code({ code, language }: { code: string; language?: Language | null }) {
  return (
    <Limited text={code}>
      {(shown) => <pre class="code" tabIndex={0} aria-label="program"><Highlighted code={shown} language={language === undefined ? guessLanguage(code) : language} /></pre>}
    </Limited>
  );
}

function Highlighted({ code, language }: { code: string; language: Language | null }) {
  const found = useMemo(() => tokens(code, language), [code, language]);
  return (
    <code>
      {found.map((token, i) =>
        token.scope === null ? <Marked key={i} text={token.text} /> : <span key={i} class={scopeClass(token.scope)}><Marked text={token.text} /></span>,
      )}
    </code>
  );
}

/** An answer as it was written: prose as text, fenced blocks highlighted. */
export function Answer({ text }: { text: string }) {
  return (
    <Limited text={text}>
      {(shown) => (
        <>
          {segments(shown).map((segment, i) =>
            segment.kind === "code"
              ? <pre key={i} class="code" tabIndex={0} aria-label="code in the answer"><Highlighted code={segment.text} language={segment.language} /></pre>
              : <p key={i} class="prose"><Marked text={segment.text.replace(/^\n+|\n+$/g, "")} /></p>,
          )}
          {shown === "" && <p class="dim">(an empty answer)</p>}
        </>
      )}
    </Limited>
  );
}

export function Diff({ before, after }: { before: string; after: string }) {
  const rows = useMemo(() => diffRows(before, after), [before, after]);
  const { added, removed } = diffSize(rows);
  if (added + removed === 0) return <p class="dim">The same program as before.</p>;
  return (
    <>
      <p class="dim"><span class="plus">+{added}</span> <span class="minus">−{removed}</span> {added + removed === 1 ? "line" : "lines"}</p>
      <div class="diff" role="table" aria-label="Changes" tabIndex={0}>
        {rows.map((row, i) =>
          row.kind === "fold"
            ? <div key={i} class="fold" role="row"><span role="cell">{count(row.lines)} lines without a change</span></div>
            : (
              <div key={i} class={row.kind} role="row">
                <span class="line" role="cell">{row.old ?? ""}</span>
                <span class="line" role="cell">{row.new ?? ""}</span>
                <span class="sign" role="cell" aria-label={row.kind}>{{ same: " ", added: "+", removed: "−" }[row.kind]}</span>
                <code role="cell">
                  {row.parts.map((part, j) => part.changed ? <mark key={j}><Marked text={part.text} /></mark> : <Marked key={j} text={part.text} />)}
                </code>
              </div>
            ),
        )}
      </div>
    </>
  );
}
