"""Prompt templates: text files, checked when they are read."""

import string
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Self

from rlef.languages import LANGUAGES

_TEST = frozenset({"number", "input"})
_LANGUAGE = frozenset({"language", "tag"})
_ALLOWED = {
    "first_stdin": _LANGUAGE | {"statement"},
    "first_function": _LANGUAGE | {"statement", "entry_point"},
    "other_language": _LANGUAGE,
    "feedback": _LANGUAGE | {"failures"},
    "no_code": _LANGUAGE,
    "wrong_answer": _TEST | {"expected", "observed"},
    "run_time_error": _TEST | {"error", "error_line"},
    "time_limit": _TEST,
    "memory_limit": _TEST,
    "output_limit": _TEST,
    "compile_error": frozenset({"error", "error_line"}),
    "more_failures": frozenset({"count"}),
    "empty": frozenset[str](),
    "test_failed": frozenset[str](),
    "try_again": _LANGUAGE,
    "not_shown": frozenset[str](),
    "example": frozenset({"input", "expected"}),
}
_OPTIONAL = {"other_language", "test_failed", "try_again", "not_shown", "example"}
_NEEDED = {
    "first_stdin": "statement",
    "first_function": "statement",
    "feedback": "failures",
    "example": "expected",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """A set of templates. ``{name}`` is replaced; a literal brace is written twice.

    Where a section may ask for code, ``{language}`` is the name of the problem's language, such as
    ``C++``, and ``{tag}`` what stands behind its fences, such as ``cpp``.

    A file has one section per field, each under a line ``[[field]]``; see ``prompts/default.txt``.
    """

    first_stdin: str
    """First message in ``stdin`` mode: ``{statement}``, ``{language}``, ``{tag}``."""
    first_function: str
    """First message in ``function`` mode: these and ``{entry_point}``."""
    feedback: str
    """Message after a program that failed: ``{failures}``, ``{language}``, ``{tag}``; then asks for
    another try."""
    no_code: str
    """Message after an answer without valid code: ``{language}``, ``{tag}``."""
    wrong_answer: str
    """One failed test: ``{number}`` from 1, ``{input}``, ``{expected}``, ``{observed}``."""
    run_time_error: str
    """``{number}``, ``{input}``, ``{error}``: the traceback, ``{error_line}``: its last line."""
    time_limit: str
    """``{number}``, ``{input}``."""
    memory_limit: str
    """``{number}``, ``{input}``."""
    output_limit: str
    """``{number}``, ``{input}``."""
    compile_error: str
    """``{error}``, ``{error_line}``; stands once, not per test."""
    more_failures: str
    """Stands for the failed tests that are not listed: ``{count}``."""
    empty: str
    """Stands where an input or output is empty."""
    other_language: str = "Write {language}."
    """Stands before the first message on a problem that is not in Python, where that message does
    not name the language: ``{language}``, ``{tag}``."""
    test_failed: str = "A test failed."
    """All that feedback of the kind ``pass_fail`` says, as ``{failures}``."""
    try_again: str = "Try again."
    """Message after every program where there is no feedback (kind ``none``): ``{language}``,
    ``{tag}``."""
    not_shown: str = "(not shown)"
    """Stands for errors in feedback of the kind ``no_traceback``."""
    example: str = "Example\nInput:\n{input}\nExpected output:\n{expected}"
    """A test as an example in the statement, for a teacher (``learner.teacher``): ``{input}``,
    ``{expected}``."""

    @classmethod
    def load(cls, name: str) -> Self:
        """Reads a set.

        Args:
            name: ``"default"``, ``"mini"`` (short, for models with a few hundred tokens of
                context), or the path of a file of one's own, ending in ``.txt``.

        Raises:
            ValueError: No such set, or the file is not in UTF-8, lacks a section, has an unknown or
                repeated one, or uses a name that its section does not have.
        """
        if name.endswith(".txt"):
            path = Path(name)
            if not path.is_file():
                raise ValueError(f"{name}: no such prompts file")
            try:
                text = path.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError:
                raise ValueError(f"{name}: not UTF-8; allowed: UTF-8 text") from None
            except OSError as error:
                raise ValueError(f"{name} cannot be read: {error.strerror}") from None
            return cls._parse(text, name)
        shipped = resources.files("rlef.environment") / "prompts"
        names = sorted(entry.name.removesuffix(".txt") for entry in shipped.iterdir())
        if name not in names:
            allowed = ", ".join(names)
            raise ValueError(f"unknown prompts {name!r}; allowed: {allowed}, or the path of a .txt")
        return cls._parse((shipped / f"{name}.txt").read_text(encoding="utf-8"), name)

    @property
    def tell_outputs(self) -> bool:
        """Whether ``wrong_answer`` shows a test whole: its input and its expected output."""
        return {"input", "expected"} <= _names(self.wrong_answer)

    @classmethod
    def _parse(cls, text: str, where: str) -> Self:
        sections: dict[str, list[str]] = {}
        for number, line in enumerate(text.split("\n"), start=1):
            if line.startswith("[[") and line.endswith("]]"):
                section = line[2:-2]
                if section in sections:
                    raise ValueError(f"{where}:{number}: section {section!r} stands twice")
                sections[section] = []
            elif sections:
                sections[next(reversed(sections))].append(line)
            elif line.strip():
                raise ValueError(f"{where}:{number}: text before the first [[section]]")
        known = [field.name for field in fields(cls)]
        for section in sections:
            if section not in known:
                raise ValueError(f"{where}: unknown section {section!r}; allowed: {_join(known)}")
        missing = [name for name in known if name not in sections and name not in _OPTIONAL]
        if missing:
            raise ValueError(f"{where}: missing sections: {', '.join(missing)}")
        templates = {name: "\n".join(lines).strip() for name, lines in sections.items()}
        for section, template in templates.items():
            _check(template, section, where)
        return cls(**templates)


def language_words(language: str) -> dict[str, str]:
    """What templates call a problem's language: ``{language}`` and ``{tag}``."""
    return {"language": LANGUAGES[language].title, "tag": language}


@cache
def default_prompts() -> Prompts:
    """The set named ``"default"``."""
    return Prompts.load("default")


def _check(template: str, section: str, where: str) -> None:
    """Raises ValueError if a template uses what its section does not have."""
    place = f"{where}: section {section!r}"
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{place}: {error} (a literal brace is written twice)") from None
    used = {name for _, name, _, _ in parts if name is not None}
    unknown = sorted(used - _ALLOWED[section])
    if unknown or any(spec or conversion for _, _, spec, conversion in parts):
        wrong = unknown[0] if unknown else "a format"
        raise ValueError(f"{place}: unknown {wrong!r}; allowed: {_join(_ALLOWED[section])}")
    needed = _NEEDED.get(section)
    if needed is not None and needed not in used:
        raise ValueError(f"{place}: lacks {{{needed}}}")


def _names(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _join(names: "frozenset[str] | list[str]") -> str:
    return ", ".join(sorted(names)) or "nothing in braces"
