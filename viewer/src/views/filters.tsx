import { useEffect, useRef, useState } from "preact/hooks";
import type { Run } from "../lib/api";
import { activeFilters, type FilterKey, type Query } from "../lib/routes";
import { inOutcomeOrder, outcomeLabel, STOPS, stageLabel } from "../lib/words";
import { Marked, Select } from "../parts/basic";

const VERDICTS = ["AC", "WA", "RE", "TLE", "MLE", "OLE", "CE", "none"];
const TYPING_MS = 220;
/** Filters that links set, by what they are called. */
const LINKED = [["problem_is", "Problem"], ["family", "Family"]] as const;

/** What narrows the list; all of it stands in the address. */
export function Filters({ run, query, onChange }: { run: Run; query: Query; onChange: (query: Query) => void }) {
  const [more, setMore] = useState(false);
  const stage = query.stage ?? "";
  const isTraining = stage === "train";
  const set = (values: Partial<Record<FilterKey | "stage", string | undefined>>) => {
    const next: Record<string, string> = {};
    for (const [key, value] of Object.entries({ ...query, ...values })) if (value) next[key] = value;
    onChange(next as Query);
  };
  const field = (key: FilterKey) => (value: string) => set({ [key]: value });
  const active = activeFilters(query);
  const others = run.stages.map((one) => one.name).filter((name) => name !== stage);
  const turns = Math.max(run.turn_limit ?? 1, 1);
  const result = query.repaired === "1" ? "repaired" : query.solved === "1" ? (query.repaired === "0" ? "first" : "solved") : query.solved === "0" ? "failed" : "";
  const results: Record<string, Partial<Record<FilterKey, string | undefined>>> = {
    "": { solved: undefined, repaired: undefined }, solved: { solved: "1", repaired: undefined }, failed: { solved: "0", repaired: undefined },
    repaired: { solved: undefined, repaired: "1" }, first: { solved: "1", repaired: "0" },
  };
  const hidden: FilterKey[] = ["min_reward", "max_reward", "from", "to", "stop", "status", "changed_from", "direction"];
  const linked = LINKED.flatMap(([key, label]) => (query[key] ? [{ key, label, value: query[key] }] : []));
  const isOpen = more || active.some((key) => hidden.includes(key));
  return (
    <form class={`filters${more ? " open" : ""}`} role="search" aria-label="Filters" onSubmit={(event) => event.preventDefault()}>
      <div class="filter-row">
        <Select label="Stage" value={stage} options={run.stages.map((one) => [one.name, stageLabel(one.name, run.config)] as const)} onChange={(value) => {
          const { batch: _, ...rest } = { batch: null, ...query };
          const dropped = value === "train" ? {} : { min_reward: undefined, max_reward: undefined, from: undefined, to: undefined, status: undefined };
          onChange(clean({ ...rest, ...dropped, stage: value, changed_from: query.changed_from === value ? undefined : query.changed_from }));
        }} />
        <Typed label="Text" id="filter-text" placeholder="in answers and feedback, any case  /" value={query.text ?? ""} onChange={field("text")} wide />
        <Typed label="Problem" placeholder="name, any case" value={query.problem ?? ""} onChange={field("problem")} />
        <Select label="Verdict" value={query.verdict ?? ""} options={[["", "any"], ...inOutcomeOrder([...VERDICTS, ...(query.verdict ? [query.verdict] : [])]).map((one) => [one, outcomeLabel(one)] as const)]} onChange={field("verdict")} />
        <Select label="at turn" value={query.turn ?? ""} options={[["", "any"], ...Array.from({ length: turns }, (_, i) => [String(i + 1), String(i + 1)] as const)]} onChange={field("turn")} />
        <Select label="Result" value={result} options={[["", "any"], ["solved", "solved"], ["first", "solved at turn 1"], ["repaired", "solved only with feedback"], ["failed", "not solved"]]} onChange={(value) => set(results[value] ?? {})} />
        <button type="button" aria-expanded={isOpen} onClick={() => setMore(!isOpen)}>{isOpen ? "Fewer" : "More"}</button>
        {active.length > 0 && <button type="button" onClick={() => onChange(clean({ stage, sort: query.sort, desc: query.desc }))}>Clear {active.length > 1 ? `all ${active.length}` : ""}</button>}
      </div>
      {isOpen && (
        <div class="filter-row">
          {isTraining && (
            <>
              <Typed label="Reward from" type="number" placeholder="min" value={query.min_reward ?? ""} onChange={field("min_reward")} />
              <Typed label="to" type="number" placeholder="max" value={query.max_reward ?? ""} onChange={field("max_reward")} />
              <Typed label="Batch from" type="number" placeholder="first" value={query.from ?? ""} onChange={field("from")} />
              <Typed label="to" type="number" placeholder="last" value={query.to ?? ""} onChange={field("to")} />
              <Select label="Used" value={query.status ?? ""} options={[["", "any"], ["taken", "in a batch"], ["pending", "in none yet"], ["too_old", "dropped as too old"]]} onChange={field("status")} />
            </>
          )}
          <Select label="Ended by" value={query.stop ?? ""} options={[["", "any"], ...Object.entries(STOPS)]} onChange={field("stop")} />
          {others.length > 0 && (
            <Select label="Problems changed since" value={query.changed_from ?? ""} options={[["", "any"], ...others.map((name) => [name, stageLabel(name, run.config)] as const)]}
              onChange={(value) => set({ changed_from: value, direction: value ? query.direction : undefined })} />
          )}
          {query.changed_from && (
            <Select label="which way" value={query.direction ?? ""} options={[["", "either"], ["gained", "solved more"], ["lost", "solved less"]]} onChange={field("direction")} />
          )}
        </div>
      )}
      {linked.length > 0 && (
        <ul class="chips">
          {linked.map(({ key, label, value }) => (
            <li key={key}>
              <span>{label}: <Marked text={value} /></span>
              <button type="button" class="plain remove" onClick={() => field(key)("")} aria-label={`Show other ${key === "family" ? "families" : "problems"} too`}>×</button>
            </li>
          ))}
        </ul>
      )}
    </form>
  );
}

function clean(values: Record<string, string | undefined>): Query {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value)) as Query;
}

/** A field that filters shortly after the last key. */
function Typed({ label, value, onChange, placeholder, id, type = "search", wide = false }: {
  label: string; value: string; onChange: (value: string) => void; placeholder: string; id?: string; type?: string; wide?: boolean;
}) {
  const [text, setText] = useState(value);
  const sent = useRef(value);
  const latest = useRef(onChange);
  latest.current = onChange;
  useEffect(() => {
    if (value !== sent.current) {
      sent.current = value;
      setText(value);
    }
  }, [value]);
  useEffect(() => {
    if (text === sent.current) return;
    const timer = setTimeout(() => {
      sent.current = text;
      latest.current(text);
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <label class={`field${wide ? " wide" : ""}${type === "number" ? " short" : ""}`}>
      <span>{label}</span>
      <input id={id} type={type} step="any" placeholder={placeholder} value={text} autocomplete="off" spellcheck={false} onInput={(event) => setText(event.currentTarget.value)} />
    </label>
  );
}
