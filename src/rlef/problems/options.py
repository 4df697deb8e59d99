"""What a specification asks of a data set, past its place."""

import logging
from dataclasses import dataclass, field

from rlef.languages import LANGUAGES
from rlef.problems.checker_names import wrong_checker
from rlef.problems.errors import ProblemError
from rlef.problems.odd import OddRows
from rlef.problems.programs import in_language
from rlef.problems.reference import RunReferences, run_in_sandbox
from rlef.problems.types import Problem

_log = logging.getLogger("rlef.problems")
_FIELDS = (
    *("difficulty", "source", "tag", "start_date", "end_date", "first", "checker", "untested"),
    *("broken", "language"),
)
OPTIONS = frozenset(_FIELDS)
"""Options of every data set; each may have its own as well."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one specification.

    Args:
        spec: The specification, for errors.
        values: ``key=value`` pairs of its query.
        split: The split that it names.
        odd: What becomes of rows that no problem can be made of.
        run: Runs the data set's own solutions where what they return is expected.
    """

    spec: str
    values: dict[str, str] = field(default_factory=dict)
    split: str | None = None
    odd: OddRows = field(default_factory=OddRows)
    run: RunReferences = run_in_sandbox

    def error(self, what: str) -> ProblemError:
        """Makes the error for this specification."""
        return ProblemError(f"{self.spec}: {what}")

    def check(self, own: tuple[str, ...]) -> None:
        """Raises ProblemError for an option that neither every data set nor this one has."""
        for name in self.values:
            if name not in OPTIONS and name not in own:
                allowed = ", ".join((*own, *_FIELDS))
                raise self.error(f"unknown option {name!r}; allowed: {allowed}")
        for name in ("start_date", "end_date"):
            if name in self.values and not is_date(self.values[name]):
                raise self.error(f"{name} is {self.values[name]!r}; allowed: such as 2024-08-31")
        for name in ("untested", "broken"):
            self.one_of(name, ("error", "skip"), "error")
        self.one_of("language", tuple(LANGUAGES), "python")
        self.number("first", 1)
        wrong = wrong_checker(self.values.get("checker", "tokens"), "stdin")
        if wrong is not None:
            raise self.error(f"checker {wrong}")

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """An option with few values."""
        value = self.values.get(name, default)
        if value not in allowed:
            raise self.error(f"{name} is {value!r}; allowed: {', '.join(allowed)}")
        return value

    def number(self, name: str, default: int) -> int:
        """An option that is a whole number from 1."""
        value = self.values.get(name, str(default))
        if not value.isascii() or not value.isdigit() or not 0 < int(value) < 10**9:
            raise self.error(f"{name} is {value!r}; allowed: a whole number above 0")
        return int(value)

    def select(self, problems: list[Problem]) -> list[Problem]:
        """Returns the problems that pass the filters, in order.

        Raises:
            ProblemError: None does.
        """
        kept = [problem for problem in problems if self._passes(problem)]
        if not kept:
            raise self.error(f"none of its {len(problems)} problems passes the filters")
        kept = self._in_language(kept)
        return kept[: self.number("first", len(kept))]

    def _in_language(self, problems: list[Problem]) -> list[Problem]:
        """The problems that can be solved in the language that is asked for, in that language."""
        language = self.values.get("language")
        if language is None:
            return problems
        able = [p for p in problems if p.mode == "stdin" or p.language == language]
        title, left_out = LANGUAGES[language].title, len(problems) - len(able)
        if not able:
            raise self.error(f"language={language}: all its problems call functions, not {title}")
        if left_out:
            _log.warning(
                "%s: left out %d problems that call functions, not %s", self.spec, left_out, title
            )
        return [in_language(problem, language) for problem in able]

    def _passes(self, problem: Problem) -> bool:
        wanted = self.values
        for name in ("difficulty", "source"):
            value: str = getattr(problem, name) or ""
            if name in wanted and value.lower() not in wanted[name].lower().split(","):
                return False
        if "tag" in wanted and wanted["tag"].lower() not in map(str.lower, problem.tags):
            return False
        dated = "start_date" in wanted or "end_date" in wanted
        if dated and problem.date is None:
            return False
        date = problem.date or ""
        return wanted.get("start_date", "") <= date <= wanted.get("end_date", "9999")


def is_date(text: str) -> bool:
    """Whether a text is a day as ``2024-08-31``: such texts are in order as days are."""
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
