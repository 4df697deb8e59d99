"""What a run is, how far it is and what it came to, of its files: for every list of runs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rlef.run.files import finite
from rlef.stored.files import is_evaluation

Record = Mapping[str, Any]
Kind = Literal["training", "evaluation"]
OF_BATCH = "solve_rate"
"""Name of the figure of a training that is not finished: of its last batch."""
_FOLDERS = re.compile(r"(^|:)/(?:[^/]*/)*")
_SOLVED = re.compile(r"1@(\d{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A run in a few words and numbers; ``None``: its files do not say.

    Attributes:
        kind: what it is.
        model: name of the model, or the file of samples that were judged.
        recipe: of a training the recipe's name, of an evaluation its problems.
        seed: of all draws.
        update, updates: of a training, how many are done and how many there are to be.
        figures: what it came to, by the names of metrics; ``gain`` of a training that is finished;
            of one that is not only ``OF_BATCH``.
    """

    kind: Kind
    model: str | None = None
    recipe: str | None = None
    seed: int | None = None
    update: int | None = None
    updates: int | None = None
    figures: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def main(self) -> str | None:
        """The figure that says most: the solve rate with most turns, else the first, if any."""
        names = [name for name in self.figures if name != "gain"]
        return max(names, key=_turns, default=None)


def facts_of(options: Record, summary: Record | None, last: Record | None) -> Facts:
    """The facts of a run.

    Args:
        options: Its config, from ``read_options``.
        summary: From ``read_summary``; ``None``: it is not finished.
        last: The last line of its metrics, if there is any.
    """
    named = options.get("model")
    model = _text(named.get("name") if isinstance(named, Mapping) else named)
    seed = _whole(options.get("seed"))
    if is_evaluation(options):
        return Facts(
            kind="evaluation",
            model=model or _name(options.get("samples_file")),
            recipe=_name(options.get("data")),
            seed=seed,
            figures={} if summary is None else _of_evaluation(summary),
        )
    return Facts(
        kind="training",
        model=model,
        recipe=_text(options.get("name")),
        seed=seed,
        update=_whole(last.get("update")) if last else 0,
        updates=_whole(options.get("updates")),
        figures=_of_training(summary, last),
    )


def turn_limit(options: Record, *, of_training: bool) -> int:
    """The turns that an episode may have; 1 where an evaluation does not say.

    Args:
        options: The config of the run.
        of_training: Whether the episode is one that a training learns from.
    """
    if is_evaluation(options):
        return _positive(options.get("turns"), 1)
    limit = _positive(section(options, "rollout").get("turn_limit"), 3)
    return limit if of_training else _positive(section(options, "eval").get("turn_limit"), limit)


def section(options: Record, key: str) -> Record:
    """A section of a run's config; empty where there is none, or something else."""
    found = options.get(key)
    return found if isinstance(found, Mapping) else {}


def _positive(value: object, default: int) -> int:
    return value if type(value) is int and value > 0 else default


def _of_evaluation(summary: Record) -> dict[str, float | None]:
    return {name: finite(one["estimate"]) for name, one in summary["metrics"].items()}


def _of_training(summary: Record | None, last: Record | None) -> dict[str, float | None]:
    if summary is not None:
        solved, gain = summary["after"]["solve"]["mean"], summary["gain"]["mean"]
        return {f"1@{summary['turn_limit']}": finite(solved), "gain": finite(gain)}
    return {OF_BATCH: finite(last.get(OF_BATCH))} if last else {}


def _turns(name: str) -> int:
    match = _SOLVED.fullmatch(name)
    return int(match[1]) if match else 0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _name(value: object) -> str | None:
    """Of a file, or of problems in one, without its folders.

    Example:
        >>> _name("jsonl:/data/my.jsonl"), _name("/data/samples.jsonl"), _name("hub:a/b")
        ('jsonl:my.jsonl', 'samples.jsonl', 'hub:a/b')
    """
    text = _text(value)
    return text if text is None else _FOLDERS.sub(r"\1", text)


def _whole(value: object) -> int | None:
    return value if type(value) is int else None
