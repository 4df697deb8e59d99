"""Episodes on a terminal: a list of some, and one as the conversation that it was."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rlef.environment import StopReason
from rlef.report.fitted import FittedTable, flowed, output_width
from rlef.report.run_screen import read_evaluation
from rlef.run import RunFolder
from rlef.run.training import SCHEMA, TOKEN_COLUMNS, read_training_rollouts, unescaped
from rlef.text import one_line

Record = Mapping[str, Any]
TRAINING = "train"
_CONTEXT = 3
"""Lines of a program shown around what has changed."""


class Line(NamedTuple):
    """A line of text, and how ``rich`` shows it."""

    text: str
    style: str = ""


def stage_names(run: RunFolder) -> list[str]:
    """The stages of a run that have episodes: training first, if it has any."""
    training = [TRAINING] if run.has_training_rollouts() else []
    return [*training, *(name for name in run.rollout_names() if name != TRAINING)]


def default_stage(names: Sequence[str]) -> str | None:
    """The one that says most of what the run came to."""
    for name in ("eval-after", "eval", "eval-before", TRAINING):
        if name in names:
            return name
    return names[0] if names else None


def read_stage(run: RunFolder, stage: str) -> list[Record]:
    """The episodes of a stage, as evaluations have them; those of training with more beside.

    Raises:
        RunDamagedError: One cannot be read.
    """
    if stage == TRAINING:
        columns = [name for name in SCHEMA.names if name not in TOKEN_COLUMNS]
        found: list[Record] = unescaped(read_training_rollouts(run, columns).to_pylist())
        return found
    return read_evaluation(run, stage)


def is_repaired(episode: Record) -> bool:
    """Whether it was solved after a turn that failed; of blind episodes nobody knows."""
    return bool(episode["solved"]) and len(episode["turns"]) > 1 and not episode["blind"]


def turn_verdict(turn: Record) -> str:
    """The first verdict of a turn that is not AC, AC if all are, "-" without a program."""
    if turn["program"] is None:
        return "-"
    return next((v for v in turn["public_verdicts"] if v != "AC"), "AC")


def end_words(episode: Record) -> str:
    """How it ended."""
    if episode["stop"] == StopReason.INFRA_ERROR:
        return "not judged"
    if episode["solved"]:
        return f"solved at turn {len(episode['turns'])}"
    return "failed"


def episodes_table(stage: str, rows: Sequence[tuple[int, Record]]) -> FittedTable:
    """Episodes by row, for ``rich`` to print."""
    cells = [
        [
            f"{stage}/{row}",
            episode["problem"],
            " ".join(map(turn_verdict, episode["turns"])) or "-",
            episode["final_verdict"] or "-",
            end_words(episode),
        ]
        for row, episode in rows
    ]
    return FittedTable(headings=["episode", "problem", "turns", "final", "end"], rows=cells)


def episode_lines(name: str, episode: Record, printable: Callable[[str], str]) -> Iterator[Line]:
    """An episode from its first message to its last verdict.

    Args:
        name: Of it.
        episode: From ``read_stage``.
        printable: Makes text of what a model wrote, which could drive a terminal.
    """
    facts = [one_line(part) for part in (name, *_facts(episode))]
    yield from (Line(line, "bold") for line in flowed(facts, " · ", output_width()))
    if episode.get("statement"):
        yield from _block("problem", episode["statement"], printable)
    before: str | None = None
    rewards = episode.get("rewards") or []
    versions = episode.get("policy_versions") or []
    for number, turn in enumerate(episode["turns"]):
        words = [f"turn {number + 1}", *_tokens(turn)]
        words += [f"policy {versions[number]}"] if number < len(versions) else []
        yield from _block(" · ".join(words), turn["response"], printable)
        program = turn["program"]
        if program is not None and before is not None:
            yield from _diff(before, program, number, printable)
        words = _verdict_words(turn)
        words += [f"reward {rewards[number]:.2f}"] if number < len(rewards) else []
        yield Line("")
        yield Line("   ".join(words), "green" if turn_verdict(turn) == "AC" else "red")
        before = program if program is not None else before
        if turn["feedback"] is not None:
            yield from _block(f"feedback after turn {number + 1}", turn["feedback"], printable)
    yield Line("")
    style = "bold green" if episode["solved"] else "bold red"
    yield from (Line(line, style) for line in flowed(_end(episode), " · ", output_width()))


def _facts(episode: Record) -> list[str]:
    words = [f"problem {episode['problem']}"]
    for key, name in (("family", "family"), ("hidden_detail", "hidden detail")):
        if episode.get(key):
            words.append(f"{name} {episode[key]}")
    for key in ("index", "batch", "seed"):
        if episode.get(key) is not None:
            words.append(f"{key} {episode[key]}")
    if episode.get("status") not in (None, "taken"):
        words.append(str(episode["status"]).replace("_", " "))
    return words


def _end(episode: Record) -> list[str]:
    words = [end_words(episode), f"final verdict {episode['final_verdict'] or 'none'}"]
    if episode.get("passed_share") is not None:
        words.append(f"{100 * episode['passed_share']:.0f} % of all tests passed")
    if episode.get("rewards"):
        words.append(f"reward {sum(episode['rewards']):.2f}")
    return [*words, f"ended by {str(episode['stop']).replace('_', ' ')}"]


def _tokens(turn: Record) -> list[str]:
    prompt, answer = turn.get("prompt_tokens"), turn.get("completion_tokens")
    if prompt is None or answer is None:
        return []
    return [f"{prompt:,} tokens read, {answer:,} written"]


def _verdict_words(turn: Record) -> list[str]:
    if turn["program"] is None:
        return ["no program"]
    return ["public tests: " + " ".join(turn["public_verdicts"])]


def _block(title: str, text: str, printable: Callable[[str], str]) -> Iterator[Line]:
    yield Line("")
    yield Line(f"── {printable(title)} ──", "cyan")
    yield from (Line(line) for line in printable(text).rstrip("\n").split("\n"))


def _diff(
    before: str, program: str, number: int, printable: Callable[[str], str]
) -> Iterator[Line]:
    """What a turn changed of the last program before it."""
    yield Line("")
    yield Line(f"── program of turn {number + 1}, less that before ──", "cyan")
    if before == program:
        yield Line("the same program again", "red")
        return
    old, new = (printable(text).rstrip("\n").split("\n") for text in (before, program))
    lines = difflib.unified_diff(old, new, n=_CONTEXT, lineterm="")
    for line in list(lines)[2:]:  # without names of files
        style = {"+": "green", "-": "red", "@": "dim"}.get(line[:1], "")
        yield Line(line, style)
