import { useEffect, useRef } from "preact/hooks";

const KEYS: [string, [string, string][]][] = [
  ["Everywhere", [["?", "this help"], ["Esc", "leave a field; else one level up"]]],
  ["Runs", [["j / k", "next, previous run"], ["Enter", "open it"], ["x", "choose it for comparison"], ["c", "compare the chosen ones"], ["/", "search"]]],
  ["Run", [["r", "its rollouts"]]],
  ["Rollouts", [["j / k, ↓ / ↑", "next, previous episode"], ["Enter", "open it"], ["/", "search in texts"], ["g / G", "first, last"]]],
  ["Episode", [
    ["j / k", "next, previous episode of the list"], ["n / p", "next, previous turn"],
    ["a, d, t", "show answers, differences, tokens"], ["l", "copy the link"],
  ]],
];

export function Help({ open, onClose }: { open: boolean; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal();
    if (!open && dialog.current?.open) dialog.current.close();
  }, [open]);
  return (
    <dialog ref={dialog} class="help" onClose={onClose} aria-label="Help and keys"
      onClick={(event) => { if (event.target === dialog.current) onClose(); }}>
      <div class="section-head">
        <h2>Keys</h2>
        <button type="button" onClick={onClose}>Close</button>
      </div>
      {KEYS.map(([view, keys]) => (
        <section key={view}>
          <h3>{view}</h3>
          <dl>{keys.map(([key, what]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{what}</dd></div>)}</dl>
        </section>
      ))}
      <h2>Words</h2>
      <dl class="words">
        <div><dt>turn</dt><dd>one answer of the model and what it is told then</dd></div>
        <div><dt>solved</dt><dd>the last program passes all tests, public and private</dd></div>
        <div><dt>1@3</dt><dd>share of problems solved by one episode of up to three answers, of which the last is submitted</dd></div>
        <div><dt>repaired</dt><dd>solved, but not at the first turn</dd></div>
        <div><dt>± and shaded</dt><dd>95 % intervals</dd></div>
        <div><dt>nat</dt><dd>unit of log-probabilities: natural logarithms</dd></div>
      </dl>
    </dialog>
  );
}
