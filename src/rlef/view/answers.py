"""What is asked of runs by name, by a browser (``app.py``) or for a page (``snapshot.py``)."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlef.run import json_value
from rlef.view.changes import changes
from rlef.view.comparing import compared
from rlef.view.episode import episode, text_of
from rlef.view.episodes import Episodes, integer
from rlef.view.errors import ViewError, missing
from rlef.view.numbers import problem_rates, transitions, verdict_mix
from rlef.view.overview import Overview, metrics_after
from rlef.view.problems import ProblemBook
from rlef.view.runs import Library, Run, Stage
from rlef.view.tokens import TokenTexts

Words = Mapping[str, str]
_Answer = Callable[[Words, Sequence[str]], Any]


class Answers:
    """Answers of the API, as JSON values.

    Args:
        library: The runs.
        book: Knows problems.

    Attributes:
        library: the runs.
        episodes: answers about lists of episodes.
    """

    def __init__(self, library: Library, book: ProblemBook) -> None:
        self.library, self.episodes = library, Episodes()
        self._overview = Overview(library)
        self._book, self._texts = book, TokenTexts()
        self._answers: dict[str, _Answer] = {
            "runs": lambda words, ids: {"runs": self._overview.runs()},
            "run": lambda words, ids: self._about(ids),
            "metrics": self._metrics,
            "settings": lambda words, ids: {"keys": self._overview.settings(self._runs(ids))},
            "transitions": self._transitions,
            "verdicts": lambda words, ids: self._verdicts(ids),
            "problems": self._problems,
            "changes": lambda words, ids: changes(self._run(ids)),
            "episodes": lambda words, ids: self.episodes.page(*self._stage(words, ids), words),
            "episode": self._episode,
            "text": self._text,
            "compare": lambda words, ids: compared(self._runs(ids)),
        }

    @property
    def names(self) -> Sequence[str]:
        """What can be asked for."""
        return list(self._answers)

    def ask(self, name: str, words: Words, ids: Sequence[str]) -> Any:
        """The answer to a question, see ``docs/viewer.md``.

        Args:
            name: One of ``names``.
            words: The question's, but for the runs that it is about.
            ids: The runs that it is about.

        Raises:
            ViewError: It cannot be answered.
        """
        return self._answers[name](words, ids)

    def _about(self, ids: Sequence[str]) -> Any:
        found = self.library.folders.find(_last(ids))
        if found.kind == "study":
            return self._overview.study(found)
        run = self.library.of(found)
        self._book.prepare(run)
        return self._overview.run(run)

    def _metrics(self, words: Words, ids: Sequence[str]) -> Any:
        return metrics_after(self._run(ids).metrics, max(0, integer(words, "after", 0)))

    def _transitions(self, words: Words, ids: Sequence[str]) -> Any:
        run, stage = self._stage(words, ids)
        first, last = (
            integer(words, name, 0) if words.get(name) else None for name in ("from", "to")
        )
        return transitions(run.database, stage.outcomes(), first, last)

    def _verdicts(self, ids: Sequence[str]) -> Any:
        run = self._run(ids)
        if "train" not in run.stage_names():
            return {"batches": [], "series": {}}
        return verdict_mix(run.database, run.stage("train").outcomes())

    def _problems(self, words: Words, ids: Sequence[str]) -> Any:
        run, stage = self._stage(words, ids)
        other = words.get("other")
        there = run.stage(other).outcomes() if other else None
        limit = run.turn_limit(stage.name, run.options())
        return {"rows": problem_rates(run.database, stage.outcomes(), limit, there)}

    def _episode(self, words: Words, ids: Sequence[str]) -> Any:
        run, stage = self._stage(words, ids)
        return episode(run, stage, integer(words, "row", 0), self._book, self._texts)

    def _text(self, words: Words, ids: Sequence[str]) -> Any:
        run, stage = self._stage(words, ids)
        row, turn = integer(words, "row", 0), integer(words, "turn", 1) - 1
        field = _word(words, "field")
        return {"text": text_of(run, stage, row, turn, field, self._book, self._texts)}

    def _run(self, ids: Sequence[str]) -> Run:
        return self.library.run(_last(ids))

    def _runs(self, ids: Sequence[str]) -> list[Run]:
        _last(ids)
        return [self.library.run(run_id) for run_id in ids]

    def _stage(self, words: Words, ids: Sequence[str]) -> tuple[Run, Stage]:
        run = self._run(ids)
        return run, run.stage(_word(words, "stage"))


def as_json(value: Any) -> str:
    """An answer as JSON, in ASCII: a lone surrogate of a model's output has no bytes in UTF-8.

    A number that JSON lacks is null: older recipes could make rewards of that.
    """
    return json.dumps(json_value(value), allow_nan=False, separators=(",", ":"), default=str)


def unknown() -> ViewError:
    """What is said of a name that nothing answers to."""
    return missing("such answer")


def _last(ids: Sequence[str]) -> str:
    if not ids or not ids[-1]:
        raise ViewError(400, "id is missing")
    return ids[-1]


def _word(words: Words, name: str) -> str:
    value = words.get(name)
    if not value:
        raise ViewError(400, f"{name} is missing")
    return value
