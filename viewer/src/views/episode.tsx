import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, type Episode, type EpisodeRow, type PublicTest, type Turn } from "../lib/api";
import { count, DASH, fixed, number, signed } from "../lib/format";
import { go, useKeys, useLoad, useTitle } from "../lib/hooks";
import { type Quantity } from "../lib/heat";
import { plainMarks } from "../lib/marks";
import { episodeLink, queryParameters, rolloutsLink, type Query } from "../lib/routes";
import { snapshot } from "../lib/snapshot";
import { stageLabel, STOPS } from "../lib/words";
import { Badge, Choice, CopyLink, Loading, Marked, Notice } from "../parts/basic";
import { Heat } from "../parts/heat";
import { Answer, Code, Diff, Plain } from "../parts/texts";

type Mode = "answer" | "diff" | "tokens";

interface Props {
  id: string;
  stage: string;
  row: number;
  query: Query;
  at: number | null;
}

/** How answers are shown stays as it is from one episode to the next. */
let lastMode: Mode = "answer";
let lastQuantity: Quantity = "behavior";

export function EpisodeView({ id, stage, row, query, at }: Props) {
  const { data: loaded, error } = useLoad(`${id} ${stage} ${row}`, 0, (signal) => api.episode(id, stage, row, signal));
  // On the way to the next episode the last one stays, pale: an empty page would flicker.
  const last = useRef<Episode | null>(null);
  if (loaded !== null) last.current = loaded;
  const data = loaded ?? (error === null ? last.current : null);
  useTitle(data === null ? "Episode" : plainMarks(data.problem));
  const [mode, setMode] = useState<Mode>(lastMode);
  const [quantity, setQuantity] = useState<Quantity>(lastQuantity);
  const [previous, next] = useNeighbours({ id, stage, row, query, at }, loaded);
  const choose = (value: Mode) => {
    lastMode = value;
    setMode(value);
  };
  useEffect(() => scrollTo(0, 0), [row]);
  useKeys({
    j: () => next !== null && go(next), k: () => previous !== null && go(previous), ArrowRight: () => next !== null && go(next), ArrowLeft: () => previous !== null && go(previous),
    n: () => toTurn(1), p: () => toTurn(-1), a: () => choose("answer"), d: () => choose("diff"), t: () => choose("tokens"),
    l: () => void navigator.clipboard?.writeText(location.href),
  });
  if (data === null) return error === null ? <Loading what="Reading the episode" /> : <Notice kind="error">{error}</Notice>;
  const hasTokens = data.turns.some((turn) => turn.tokens !== null && turn.tokens.length > 0);
  return (
    <>
      <div class="page-head episode-head">
        <div>
          <h1><Marked text={data.problem} /></h1>
          <p class="dim">{facts(data, stage).join(" · ")}</p>
        </div>
        <div class="tools">
          {snapshot === null && <CopyLink />}
          <Step link={previous} label="‹ Previous" title="Previous episode of the list (k)" />
          <Step link={next} label="Next ›" title="Next episode of the list (j)" />
        </div>
      </div>
      <div class={loaded === null ? "episode pale" : "episode"} aria-busy={loaded === null}>
        <aside aria-label="Turn by turn"><Numbers episode={data} rolloutsHref={rolloutsLink(id, { stage, problem_is: data.problem })} /></aside>
        <div class="talk">
          <div class="mode">
            <Choice label="Answers as" value={mode} onChange={choose} options={[["answer", "Answers"], ["diff", "Changes"], ...(hasTokens ? [["tokens", "Tokens"] as const] : [])]} />
          </div>
          <Statement episode={data} link={{ id, stage, row }} />
          {data.turns.map((turn, i) => (
            <TurnCard key={i} turn={turn} place={i} before={data.turns[i - 1] ?? null} mode={mode} quantity={quantity} link={{ id, stage, row }} unknown={data.tests_unknown ?? null}
              onQuantity={(value) => { lastQuantity = value; setQuantity(value); }} />
          ))}
          <End episode={data} />
        </div>
      </div>
    </>
  );
}

function facts(episode: Episode, stage: string): string[] {
  return [
    stageLabel(stage),
    episode.batch === null || episode.batch === undefined ? "" : `batch ${count(episode.batch)}`,
    episode.update === null || episode.update === undefined ? "" : `update ${count(episode.update)}`,
    episode.status === "too_old" ? "dropped as too old: not trained on" : episode.status === "pending" ? "in no batch yet" : "",
    episode.hidden_detail === null ? "" : `hidden detail: ${plainMarks(episode.hidden_detail)}`,
    episode.seed === null || episode.seed === undefined ? "" : `seed ${episode.seed}`,
  ].filter(Boolean);
}

function toTurn(step: number): void {
  const cards = [...document.querySelectorAll<HTMLElement>(".turn")];
  const top = (card: HTMLElement) => card.getBoundingClientRect().top;
  const target = step > 0 ? cards.find((card) => top(card) > 80) : cards.findLast((card) => top(card) < 40);
  target?.scrollIntoView();
  target?.focus({ preventScroll: true });
}

/** Links to the episodes beside this one in the list that it was opened from, else in its stage. */
function useNeighbours({ id, stage, row, query, at }: Props, data: Episode | null): [string | null, string | null] {
  const key = at === null ? "" : `${id} ${stage} ${queryParameters(query)} ${at}`;
  const { data: rows } = useLoad<(EpisodeRow | null)[]>(`around ${key}`, 0, async (signal) => {
    if (at === null) return [];
    const first = Math.max(0, at - 1);
    const page = await api.episodes(id, { ...query, stage }, first, at === 0 ? 2 : 3, signal);
    return at === 0 ? [null, ...page.rows] : page.rows;
  });
  // The list may have moved on while a run grows; then its order is no longer that of the link.
  if (at !== null && rows !== null && rows[1]?.row === row) {
    const link = (neighbour: EpisodeRow | null | undefined, place: number) =>
      neighbour ? episodeLink(id, stage, neighbour.row, query, place) : null;
    return [link(rows[0], at - 1), link(rows[2], at + 1)];
  }
  const plain = (other: number | null | undefined) => (other === null || other === undefined ? null : episodeLink(id, stage, other));
  return [plain(data?.previous_row), plain(data?.next_row)];
}

function Step({ link, label, title }: { link: string | null; label: string; title: string }) {
  return link === null
    ? <span class="button off" aria-disabled="true">{label}</span>
    : <a class="button" href={link} title={title}>{label}</a>;
}

type Line = [string, string, (turn: Turn) => string];

const LINES: Line[] = [
  ["Reward", "What the judge's verdict was worth, before the KL penalty", (turn) => fixed(turn.reward, 2)],
  ["KL", "Mean over the turn of log π_old − log π_ref, nats per token", (turn) => number(turn.kl, 2)],
  ["Value", "What the critic expected before the answer", (turn) => signed(turn.value, 2)],
  ["Return", "Reward to go after the KL penalty", (turn) => signed(turn.return, 2)],
  ["Advantage", "What the loss takes: return less value, whitened over the batch. Above 0 the answer was better than expected", (turn) => signed(turn.advantage, 2)],
  ["Tokens", "Sampled in this turn", (turn) => count(turn.completion_tokens)],
  ["Prompt", "Tokens of the whole prompt of this turn", (turn) => count(turn.prompt_tokens)],
  ["Policy version", "Optimizer steps behind the policy that sampled it", (turn) => count(turn.policy_version)],
];

/** All numbers, a column per turn. */
function Numbers({ episode, rolloutsHref }: { episode: Episode; rolloutsHref: string }) {
  const lines = LINES.filter(([, , text]) => episode.turns.some((turn) => text(turn) !== DASH));
  return (
    <>
      <div class="scroll">
        <table class="numbers">
          <thead>
            <tr><th>Turn</th>{episode.turns.map((_, i) => <th key={i} class="n"><button type="button" class="sort" onClick={() => document.getElementById(`turn-${i + 1}`)?.scrollIntoView()}>{i + 1}</button></th>)}</tr>
          </thead>
          <tbody>
            <tr><th>Public tests</th>{episode.turns.map((turn, i) => <td key={i} class="n"><Badge outcome={outcome(turn)} small /></td>)}</tr>
            {lines.map(([name, title, text]) => (
              <tr key={name}><th title={title}>{name}</th>{episode.turns.map((turn, i) => <td key={i} class={`n${name === "Advantage" && turn.advantage !== null ? (turn.advantage > 0 ? " up" : " down") : ""}`}>{text(turn)}</td>)}</tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="all-tests">
        All tests: <Badge outcome={episode.solved ? "solved" : episode.stop === "infra_error" ? "IE" : (episode.final_verdict ?? "failed")} />
        {episode.passed_share !== null && <span class="dim"> {(100 * episode.passed_share).toFixed(0)} % passed</span>}
      </p>
      <p class="dim">Ended by: {STOPS[episode.stop] ?? episode.stop}</p>
      <p><a href={rolloutsHref}>Other episodes of this problem</a></p>
    </>
  );
}

function outcome(turn: Turn): string {
  if (turn.program === null) return "none";
  return turn.public_verdicts.find((verdict) => verdict !== "AC") ?? "AC";
}

interface Where {
  id: string;
  stage: string;
  row: number;
}

function Statement({ episode, link }: { episode: Episode; link: Where }) {
  const text = episode.statement ?? episode.turns[0]?.prompt ?? null;
  if (text === null) return null;
  const isLong = text.length > 1500;
  const cut = episode.statement === null ? episode.turns[0]?.cut?.["prompt"] : episode.cut?.["statement"];
  return (
    <section class="card problem-card" aria-label="Problem">
      <h2>Problem</h2>
      {isLong
        ? <details><summary><Marked text={text.slice(0, 160)} />…</summary><Plain text={text} /></details>
        : <p class="prose"><Marked text={text} /></p>}
      <Cut left={cut} link={link} turn={1} field={episode.statement === null ? "prompt" : "statement"} />
    </section>
  );
}

function TurnCard({ turn, place, before, mode, quantity, onQuantity, link, unknown }: {
  unknown: string | null; turn: Turn; place: number; before: Turn | null; mode: Mode; quantity: Quantity; onQuantity: (quantity: Quantity) => void; link: Where;
}) {
  const told = turn.prompt !== null && place > 0 && turn.prompt !== before?.feedback ? turn.prompt : null;
  const tokens = turn.tokens ?? [];
  return (
    <>
      {told !== null && <div class="card judge"><h3>What the model was told</h3><Plain text={told} /></div>}
      <section class="card turn" id={`turn-${place + 1}`} tabIndex={-1} aria-label={`Turn ${place + 1}`}>
        <header>
          <h2>Turn {place + 1}</h2>
          <Badge outcome={outcome(turn)} />
          <span class="facts">
            {turn.reward !== null && <span>reward <b>{fixed(turn.reward, 2)}</b></span>}
            {turn.value !== null && <span>value <b>{signed(turn.value, 2)}</b></span>}
            {turn.advantage !== null && <span>advantage <b class={turn.advantage > 0 ? "up" : "down"}>{signed(turn.advantage, 2)}</b></span>}
            {turn.completion_tokens !== null && <span><b>{count(turn.completion_tokens)}</b> tokens</span>}
          </span>
        </header>
        <Body turn={turn} before={before} mode={mode} place={place} />
        {mode === "tokens" && (tokens.length > 0
          ? <Heat tokens={tokens} quantity={quantity} onQuantity={onQuantity} />
          : <><p class="dim">No token is stored for this turn.</p><Answer text={turn.response} /></>)}
        <Cut left={turn.cut?.["response"]} link={link} turn={place + 1} field="response" />
        <Tests turn={turn} unknown={unknown} />
      </section>
      {turn.feedback !== null && (
        <section class="card judge" aria-label={`Feedback after turn ${place + 1}`}>
          <h3>Feedback</h3>
          <Plain text={turn.feedback} label="feedback" />
          <Cut left={turn.cut?.["feedback"]} link={link} turn={place + 1} field="feedback" />
        </section>
      )}
    </>
  );
}

function Body({ turn, before, mode, place }: { turn: Turn; before: Turn | null; mode: Mode; place: number }) {
  if (mode === "tokens") return null;
  if (mode === "answer" || place === 0) return <Answer text={turn.response} />;
  if (turn.program === null) return <><p class="dim">No program in this answer.</p><Answer text={turn.response} /></>;
  if (before?.program === null || before === null) return <><p class="dim">No program before this one.</p><Code code={turn.program} /></>;
  return <Diff before={before.program} after={turn.program} />;
}

function Tests({ turn, unknown }: { turn: Turn; unknown: string | null }) {
  const tests = turn.public_tests ?? [];
  const failed = tests.filter((test) => test.verdict !== "AC").length;
  if (tests.length === 0) {
    return turn.public_verdicts.length === 0
      ? <p class="dim tests-line">No public test was run.</p>
      : <><p class="tests-line"><span class="dim">Public tests</span> {turn.public_verdicts.map((verdict, i) => <Badge key={i} outcome={verdict} small />)}</p><Unknown why={unknown} /></>;
  }
  return (
    <details class="tests" open={failed > 0}>
      <summary>Public tests: {tests.length - failed} of {tests.length} passed {tests.map((test, i) => <Badge key={i} outcome={test.verdict} small />)}</summary>
      {tests.map((test, i) => <TestCard key={i} test={test} place={i} />)}
      <Unknown why={unknown} />
    </details>
  );
}

/** One line on why a test has no input and no expected output. */
function Unknown({ why }: { why: string | null }) {
  return why === null ? null : <p class="dim tests-line">Inputs and expected outputs are known from feedback alone: <Marked text={why} />.</p>;
}

function TestCard({ test, place }: { test: PublicTest; place: number }) {
  const parts: [string, string | null][] = [["Input", test.input], ["Expected", test.expected], ["Got", test.got], ["Error", test.error]];
  return (
    <div class={`test ${test.verdict === "AC" ? "passed" : "not-passed"}`}>
      <h4><Badge outcome={test.verdict} small /> test {place + 1}</h4>
      <div class="test-parts">
        {parts.map(([name, text]) => text === null || text === undefined ? null : (
          <div key={name} class={name.toLowerCase()}><h5>{name}</h5>{text === "" ? <p class="dim">(nothing)</p> : <Plain text={text} label={name} />}</div>
        ))}
      </div>
    </div>
  );
}

function End({ episode }: { episode: Episode }) {
  const verdict = useMemo(() => {
    if (episode.stop === "infra_error") return ["IE", "The judge could not do its work: neither right nor wrong, masked in training."];
    if (episode.solved) return ["solved", "The last program passes all tests, public and private."];
    if (episode.final_verdict !== null) return [episode.final_verdict, "The last program passes its public tests; a private one fails."];
    return ["failed", `Not solved. Private tests were not run: ${episode.stop === "context_limit" ? "the context was full" : "a public one failed"}.`];
  }, [episode]);
  const isPublicFailure = !episode.solved && episode.stop !== "public_passed" && episode.stop !== "infra_error" && episode.final_verdict !== null;
  return (
    <section class={`card end ${episode.solved ? "good" : "bad"}`} aria-label="All tests">
      <Badge outcome={verdict[0]!} /> <span>{isPublicFailure ? "Not solved: the last program fails." : verdict[1]}</span>
    </section>
  );
}

/** The middle of a very long text stays with the server until it is asked for. */
function Cut({ left, link, turn, field }: { left: number | null | undefined; link: Where; turn: number; field: string }) {
  const [text, setText] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);
  if (!left) return null;
  if (snapshot !== null) return <p class="dim cut">{count(left)} characters in the middle are left out.</p>;
  const show = () => {
    api.text(link.id, link.stage, link.row, turn, field).then(
      (answer) => setText(answer.text),
      (problem: unknown) => setError(String(problem)),
    );
  };
  return (
    <div class="cut">
      <p class="dim">{count(left)} characters in the middle are left out. <button type="button" class="more" onClick={show}>Load the whole text</button></p>
      {error !== null && <Notice kind="error">{error}</Notice>}
      {text !== null && <Plain text={text} label={`whole ${field}`} />}
    </div>
  );
}
