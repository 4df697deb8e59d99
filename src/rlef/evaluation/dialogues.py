"""What a model did in a run, for others: dialogues to fine-tune on, or rollouts as they were.

Three forms. ``messages``: a dialogue a row, as TRL's ``SFTTrainer`` and axolotl load it.
``prompt-completion``: the last answer apart, so that it alone is learnt from, as RLEF's supervised
baseline does. ``rollouts``: all that is known of an episode but its tokens.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlef.environment import Prompts, StopReason
from rlef.environment.feedback import first_message
from rlef.environment.messages import episode_messages
from rlef.evaluation.episodes import WITHOUT_SAMPLE, read_episodes
from rlef.problems import ProblemError, load_problems
from rlef.problems.hashing import problem_hash
from rlef.run import RunDamagedError, RunError, RunFolder
from rlef.run.inputs import refuse_changed
from rlef.run.training import (
    SCHEMA,
    TOKEN_COLUMNS,
    batch_paths,
    pending_path,
    read_batch_file,
    read_pending,
    unescaped,
)
from rlef.stored import EPISODES, is_evaluation, read_options, section
from rlef.text import whole_characters

Row = dict[str, Any]
TRAINING = "train"
"""Name of the rollouts that a training learnt from."""
FORMS = ("messages", "prompt-completion", "rollouts")
_ARRAYS = (*TOKEN_COLUMNS, "prompt_ends", "sequence_starts")
_ROLLOUTS = pa.schema([column for column in SCHEMA if column.name not in _ARRAYS])
_FACTS = pa.schema(
    {
        "problem": pa.string(),
        "solved": pa.bool_(),
        "reward": pa.float64(),
        "turns": pa.int32(),
        "stop": pa.string(),
        "batch": pa.int32(),
        "index": pa.int64(),
    }
)
"""Beside a dialogue: ``reward``, the sum over turns before any KL penalty, null in evaluations;
``batch`` from 0, null where there is none; ``index`` of the rollout in the run."""
_ROWS = 256
_NEARLY = 1e-6
"""Rewards are stored in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which rollouts are written, and what of them.

    Attributes:
        form: One of ``FORMS``.
        solved: Only those whose last program passes all tests.
        min_reward: Only those with at least this sum of rewards.
        last_turn: Of a dialogue the problem and the last answer only.
        last_loss: Each message says (``train``) whether it is learnt from: the last answer only.
        distinct: Of equal dialogues the first only.
    """

    form: str = "messages"
    solved: bool = False
    min_reward: float | None = None
    last_turn: bool = False
    last_loss: bool = False
    distinct: bool = False


@dataclass(slots=True)
class Counts:
    """What became of rollouts."""

    seen: int = 0
    unjudged: int = 0
    """Left out: the judge could not do its work."""
    written: int = 0


@dataclass(frozen=True, slots=True)
class Openings:
    """What stood before the first answers of a run."""

    first: Mapping[str, str] = field(default_factory=dict)
    """Name of a problem to the first message."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """And to its ``problem_hash``."""
    system: str | None = None
    data: str = ""
    """Where the problems are from."""


def check_rollouts(run: RunFolder, name: str | None) -> str:
    """Returns the name of a run's rollouts; by default those of its training or evaluation.

    Raises:
        RunError: There are none of this name.
        RunDamagedError: The run's config cannot be read.
    """
    names = run.rollout_names()
    if run.has_training_rollouts():
        names.insert(0, TRAINING)
    if not names:
        raise RunError(f"{run.path} has no rollouts yet; allowed: a run that has some")
    if name is None:  # of a training never an evaluation that nobody has asked for
        name = EPISODES if is_evaluation(read_options(run)) else TRAINING
    if name not in names:
        allowed = ", ".join(names)
        raise RunError(f"{run.path} has no rollouts {name!r}; allowed: {allowed} (--of)")
    return name


def read_openings(run: RunFolder, name: str, data: str | None = None) -> Openings:
    """Makes the first messages anew, of the problems and prompts that the run's config names.

    Args:
        run: A training, or an evaluation of a model.
        name: From ``check_rollouts``.
        data: The problems, where they are no longer where the config says.

    Raises:
        RunError: A file is not what it was, or the run judged samples of others, which had no
            prompts.
        ProblemError, ValueError: Problems or prompts cannot be read.
        RunDamagedError: The run's config cannot be read.
    """
    options = read_options(run)
    if is_evaluation(options):
        if options.get("samples_file"):
            raise RunError(
                f"{run.path} judged samples of a file, whose prompts nobody knows; allowed: a "
                "training, an evaluation of a model, or the form rollouts"
            )
        spec, prompts, system = options["data"], options.get("prompts"), options.get("system")
        refuse_changed(run, {"prompts": Path(str(prompts))}, "the file as it was then")
    else:
        part = {TRAINING: "train"}.get(name, "valid" if name.startswith("valid-") else "test")
        spec = section(options, "data").get(part)
        prompts = section(options, "rollout").get("prompts")
        system = section(options, "model").get("system")
        files = dict.fromkeys(("rollout.prompts", *(() if data else (f"data.{part}",))))
        refuse_changed(run, files, "the file as it was then, or the problems by --data")
        if not isinstance(spec, str):
            raise RunDamagedError(f"{run.config_path} is damaged: data.{part} is missing")
    try:
        problems = load_problems(data or spec)
    except ProblemError as error:
        if data:
            raise
        allowed = "where the problems are now (--data)"
        raise ProblemError(f"{run.path}: {error}; allowed: {allowed}") from None
    texts = Prompts.load(prompts or "default")
    return Openings(
        first={problem.name: first_message(problem.public, texts) for problem in problems},
        hashes={problem.name: problem_hash(problem) for problem in problems},
        system=system,
        data=data or spec,
    )


def read_rows(run: RunFolder, name: str) -> Iterator[Row]:
    """Yields rollouts of a run with the columns of ``SCHEMA`` but those of tokens.

    Another process may be writing to the run.

    Raises:
        RunDamagedError: A file cannot be read.
    """
    if name != TRAINING:
        for place, (_, entry) in enumerate(read_episodes(run, name)):
            if WITHOUT_SAMPLE in entry:
                continue
            row = {column: entry.get(column) for column in _ROLLOUTS.names}
            yield {**row, "index": place, "problem_hash": entry.get("problem_hash")}
        return
    pending = read_pending(pending_path(run.training_path))[0]  # first: they move into batches
    known = set()
    for path in batch_paths(run.training_path):
        rows: list[Row] = unescaped(read_batch_file(path, _ROLLOUTS.names).to_pylist())
        known |= {row["index"] for row in rows} if pending else set()
        yield from rows
    rest = pa.Table.from_batches(pending, SCHEMA).select(_ROLLOUTS.names)
    yield from (row for row in unescaped(rest.to_pylist()) if row["index"] not in known)


def chosen_rows(
    rows: Iterable[Row], openings: Openings, choice: Choice, counts: Counts
) -> Iterator[Row]:
    """Yields what is to be written of rollouts.

    Args:
        rows: From ``read_rows``.
        openings: Of the run; of no meaning for the form ``rollouts``.
        choice: Which, and how.
        counts: Gets numbers on the way.

    Raises:
        RunError: A problem is missing, or another than it was.
    """
    seen: set[bytes] = set()
    for row in rows:
        counts.seen += 1
        if row["stop"] == StopReason.INFRA_ERROR:
            counts.unjudged += 1
            continue
        if not row["turns"] or (choice.solved and not row["solved"]):
            continue
        reward = None if row["rewards"] is None else sum(row["rewards"])
        if choice.min_reward is not None and (reward or 0.0) < choice.min_reward - _NEARLY:
            continue
        made = _valid_text(_made(row, reward, openings, choice))
        if choice.distinct:
            key = _key(made, choice)
            if key in seen:
                continue
            seen.add(key)
        counts.written += 1
        yield made


def write_rows(rows: Iterable[Row], path: Path, choice: Choice, *, table: bool) -> None:
    """Writes rows as they come.

    Args:
        rows: From ``chosen_rows``.
        path: The file.
        choice: As there.
        table: Parquet; else JSON lines.

    Raises:
        OSError: The file cannot be written.
    """
    if not table:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    schema, waiting = _schema(choice), iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while some := list(islice(waiting, _ROWS)):
            writer.write_table(pa.Table.from_pylist(some, schema))


def _made(row: Row, reward: float | None, openings: Openings, choice: Choice) -> Row:
    if choice.form == "rollouts":
        return {name: row[name] for name in _ROLLOUTS.names}
    messages: list[Row] = _messages(row, openings, last_turn=choice.last_turn)
    facts = {name: row[name] for name in ("problem", "solved", "stop", "batch", "index")}
    facts |= {"reward": reward, "turns": len(row["turns"])}
    facts = {name: facts[name] for name in _FACTS.names}
    if choice.form == "prompt-completion":
        return {"prompt": messages[:-1], "completion": messages[-1:], **facts}
    if choice.last_loss:
        last = len(messages) - 1
        messages = [{**one, "train": place == last} for place, one in enumerate(messages)]
    return {"messages": messages, **facts}


def _messages(row: Row, openings: Openings, *, last_turn: bool) -> list[Row]:
    name = row["problem"]
    if name not in openings.first:
        raise RunError(
            f"problem {name!r} of the rollouts is not in {openings.data}; allowed: the problems of "
            "the run (--data)"
        )
    if row.get("problem_hash") not in (None, openings.hashes[name]):
        raise RunError(
            f"problem {name!r} of {openings.data} had another statement, other tests or limits "
            "then; allowed: the problems of the run (--data)"
        )
    turns = row["turns"][-1:] if last_turn else row["turns"]
    return [
        dict(message)
        for message in episode_messages(
            openings.first[name],
            [turn["response"] for turn in turns],
            [turn["feedback"] for turn in turns],
            openings.system,
        )
    ]


def _key(row: Row, choice: Choice) -> bytes:
    """What makes two rows the same dialogue."""
    parts: object = [row.get(name) for name in ("messages", "prompt", "completion")]
    if choice.form == "rollouts":
        parts = [row["problem"], [[turn["response"], turn["feedback"]] for turn in row["turns"]]]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _valid_text(value: Any) -> Any:
    """A value in whose texts halves of characters, which no tokenizer takes, are U+FFFD."""
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, list):
        return [_valid_text(item) for item in value]
    if isinstance(value, dict):
        return {key: _valid_text(item) for key, item in value.items()}
    return value


def _schema(choice: Choice) -> pa.Schema:
    if choice.form == "rollouts":
        return _ROLLOUTS
    flags = {"train": pa.bool_()} if choice.last_loss and choice.form == "messages" else {}
    messages = pa.list_(pa.struct({"role": pa.string(), "content": pa.string(), **flags}))
    names = ("messages",) if choice.form == "messages" else ("prompt", "completion")
    return pa.schema([*(pa.field(name, messages) for name in names), *_FACTS])
