"""The public tests of a turn: what was given, what was expected, what came."""

import re
import string
from typing import Any, NamedTuple

from rlef.environment.feedback import shown_input, shown_output
from rlef.environment.templates import Prompts
from rlef.problems.types import PublicProblem
from rlef.run.files import Record

_TEMPLATES = {
    "WA": "wrong_answer",
    "RE": "run_time_error",
    "TLE": "time_limit",
    "MLE": "memory_limit",
    "OLE": "output_limit",
    "CE": "compile_error",
}


_Pieces = list[tuple[str, str | None]]


class _Told(NamedTuple):
    """What feedback says of a failed test."""

    fields: dict[str, str]
    end: int


def public_tests(
    problem: PublicProblem | None, record: Record, turn: int, prompts: Prompts
) -> list[dict[str, Any]] | None:
    """The public tests of a turn, as far as they are known.

    A record has verdicts only. Inputs and expected outputs are those of the problem, where it is
    known; what a program printed, or the error it ended with, stands in the feedback if anywhere,
    as it was told to the model.

    Args:
        problem: ``None``: not known.
        record: The episode.
        turn: From 0.
        prompts: The templates of its messages.

    Returns:
        ``verdict``, and where known ``input``, ``expected``, ``got``, ``error``; ``None`` where no
        more than verdicts is known of any test.
    """
    this = record["turns"][turn]
    verdicts = this["public_verdicts"]
    told = _told(this["feedback"], verdicts, prompts) if this["feedback"] else {}
    tests = problem.public_tests if problem is not None else ()
    if len(tests) != len(verdicts):
        tests = ()
    if not verdicts or (not tests and not told):
        return None
    found = []
    for i, verdict in enumerate(verdicts):
        fields = told.get(i, {})
        known: dict[str, Any] = {"input": fields.get("input"), "expected": fields.get("expected")}
        if problem is not None and tests:
            known = {
                "input": shown_input(problem, tests[i]),
                "expected": shown_output(problem, tests[i].output),
            }
        error = fields.get("error", fields.get("error_line"))
        found.append({"verdict": verdict, **known, "got": fields.get("observed"), "error": error})
    return found


def _told(feedback: str, verdicts: list[str], prompts: Prompts) -> dict[int, dict[str, str]]:
    """What feedback says of each failed test that it lists; nothing where it has another form."""
    before, after = _around(prompts.feedback, "failures")
    text = feedback.removesuffix(after)
    more = re.escape(prompts.more_failures).replace(re.escape("{count}"), r"\d+")
    text = re.sub(rf"\n+{more}\Z", "", text)
    place = len(before) if text.startswith(before) else 0
    failed = [(i, v) for i, v in enumerate(verdicts) if v in _TEMPLATES]
    templates = [_pieces(getattr(prompts, _TEMPLATES[v]), i + 1) for i, v in failed]
    found: dict[int, dict[str, str]] = {}
    for number, (i, verdict) in enumerate(failed):
        following = templates[number + 1] if number + 1 < len(templates) else None
        told = _fields(text, place, templates[number], following)
        if told is None:
            break
        found[i], place = told
        if verdict == "CE":
            break
    return found


def _fields(text: str, start: int, pieces: _Pieces, following: _Pieces | None) -> _Told | None:
    """The fields of a failed test, which begins at or after ``start``."""
    (literal, name), *rest = pieces
    place = text.find(literal, start)
    if place < 0:
        return None
    place += len(literal)
    fields: dict[str, str] = {}
    for literal, following_name in rest:
        end = text.find(literal, place) if literal else _end(text, place, following)
        if end < 0 or name is None:
            return None
        fields[name] = text[place:end]
        place, name = end + len(literal), following_name
    if name is not None:
        end = _end(text, place, following)
        fields[name] = text[place:end].rstrip("\n")
        place = end
    return _Told(fields, place)


def _end(text: str, start: int, following: _Pieces | None) -> int:
    """Where the last field of a test ends: where the next begins, or else with the text."""
    end = -1 if following is None else text.find("\n" + following[0][0], start)
    return len(text) if end < 0 else end


def _pieces(template: str, number: int) -> _Pieces:
    """The literal parts of a test's template, each with the name of the field behind it."""
    pieces: list[tuple[str, str | None]] = []
    before = ""
    for literal, name, _, _ in string.Formatter().parse(template):
        if name == "number":
            before += f"{literal}{number}"
        else:
            pieces.append((before + literal, name))
            before = ""
    return [*pieces, (before, None)] if before or not pieces else pieces


def _around(template: str, field: str) -> tuple[str, str]:
    """What stands before and behind a field."""
    before, _, after = template.partition("{" + field + "}")
    return before.format(**_NO_WORDS), after.format(**_NO_WORDS)


_NO_WORDS = {"language": "Python", "tag": "python"}
