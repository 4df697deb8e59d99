"""Comparison of what functions return, by the form that a test's expected output has.

* JSON: by value, see ``checker_json``; a tuple counts as a list.
* ``{"__python__": LITERAL}``: with Python's ``==`` between plain values.
* ``{"__check__": EXPRESSION, "setup": CODE}``: by an expression over ``result`` and ``args``, run
  in a jail of its own. ``setup`` may be left out.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

from rlef.problems import Test
from rlef.sandbox.checker_json import compare_json, is_number
from rlef.sandbox.checker_numbers import Tolerance
from rlef.sandbox.checker_text import shared_start, show, show_pair
from rlef.sandbox.checkers import FunctionRules, function_rules
from rlef.sandbox.jail import Jail, Program, StarvedError
from rlef.sandbox.types import Limits
from rlef.sandbox.values import CHECK, PYTHON, LongInteger, marked, read_literal, read_result

LIMITS = Limits(cpu_s=10.0, memory_mb=512, output_kb=64)
_FORMS = (f'"{PYTHON}"'.encode(), f'"{CHECK}"'.encode())
_START = 20
"""Bytes at the start of a result in which the mark of a literal stands."""
_WHOLE = 60
_PATH = 80
_JUDGE = """
import json, math, sys
from math import inf, nan

def judge(expression, setup, literal, given):
    sys.set_int_max_str_digits(0)
    arguments = json.loads(given)
    names = {"math": math, "inf": inf, "nan": nan}
    exec(setup, names)
    names["result"] = eval(literal, {"inf": inf, "nan": nan})
    names["args"] = arguments if type(arguments) is list else None
    return bool(eval(expression, names))
"""
_PROGRAM = Program(kind="python", source=_JUDGE.encode(), entry_point="judge")


class NotJsonError(Exception):
    """The function returned what JSON does not have, where only JSON could be right."""


@dataclass(frozen=True)
class ValueChecker:
    """Judges what a function returned.

    Args:
        rules: What counts as equal.
        jail: Gives the jail for expressions.
    """

    rules: FunctionRules
    jail: Callable[[], Jail]

    def check(self, test: Test, expected: bytes, actual: bytes) -> str | None:
        """Returns ``None`` where it accepts, else the first difference.

        Raises:
            NotJsonError: Only JSON could be right here.
            JailError: The jail died.
        """
        form = _form(expected)
        if form is None and not self.rules.loose:
            rules = self.rules
            return compare_json(expected, as_json(actual), rules.tolerance, rules.any_order)
        try:
            got = read_result(actual)
        except ValueError as error:
            return f"the result {show(actual)} is no plain value: {error}"
        if form is None:
            return compare_loosely(read_result(expected), got, unwrap=self.rules.unwrap)
        if CHECK in form:
            return self._run(form, test.input, got)
        try:
            want = read_literal(form[PYTHON])
        except ValueError as error:
            return f"the expected value {show(form[PYTHON].encode())} is no plain value: {error}"
        if self.rules.loose:
            return compare_loosely(want, got, unwrap=self.rules.unwrap)
        return compare_values(want, got, self.rules.tolerance)

    def _run(self, form: dict[str, str], given: str, got: object) -> str | None:
        words = [form[CHECK], form.get("setup", ""), repr(got), given]
        run = self.jail().run(_PROGRAM, json.dumps(words).encode(), LIMITS)
        if run.killed == "starved":
            raise StarvedError("the machine gave the check no time to run")
        if run.returned == b"true" and run.exit == 0 and not run.killed:
            return None
        shown = f"the check {show(form[CHECK].encode())} of the result {_shown(got)}"
        if run.killed:
            return f"{shown} takes too long"
        if run.exit == 0:
            return f"{shown} is not true"
        error = run.stderr.decode("utf-8", "backslashreplace").strip().rpartition("\n")[2]
        return f"{shown} fails: {show(error.encode())[1:-1]}"


def make_value_checker(spec: str, jail: Callable[[], Jail]) -> ValueChecker:
    """Returns the checker that a specification names, for ``mode="function"``.

    Args:
        spec: See ``make_json_checker``.
        jail: Gives the jail for expressions.

    Raises:
        ValueError: No such checker, or one for text only.
    """
    return ValueChecker(function_rules(spec), jail)


def compare_values(want: object, got: object, tolerance: Tolerance | None) -> str | None:
    """Compares two plain values with ``==``; numbers within a tolerance, if there is one.

    Args:
        want: The expected value.
        got: The returned value.
        tolerance: Not for two integers. ``None`` means equal.
    """
    if _same(want, got, tolerance):
        return None
    return _words(want, got, tolerance)


def compare_loosely(want: object, got: object, *, unwrap: bool) -> str | None:
    """Compares with ``==`` as LiveCodeBench and APPS do: tuples count as lists, 1 as 1.0 and True.

    Args:
        want: The expected value.
        got: The returned value.
        unwrap: Whether a list of one item is also met by the item, as APPS has it.
    """
    want, got = _listed(want), _listed(got)
    if want == got or (unwrap and type(want) is list and len(want) == 1 and want[0] == got):
        return None
    return _words(want, got, None)


def as_json(actual: bytes) -> bytes:
    """What a function returned as JSON, tuples as lists.

    Raises:
        NotJsonError: JSON has no such value.
    """
    if _FORMS[0] not in actual[:_START]:
        return actual
    try:
        return _json(read_result(actual)).encode()
    except ValueError as error:
        raise NotJsonError(f"the result is no plain value: {error}") from None


def _json(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_json, value))}]"
    if isinstance(value, dict):
        pairs = (f"{json.dumps(_key(key))}: {_json(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, LongInteger):
        return value.text
    if value is None or isinstance(value, str | int | float):
        return json.dumps(value)
    kind = type(value).__name__
    raise NotJsonError(f"the function returned a value of type {kind}, which is not JSON")


def _key(key: object) -> str:
    if isinstance(key, tuple):
        raise NotJsonError("the function returned a dict with a tuple as a key, which is not JSON")
    return key if isinstance(key, str) else _json(key)


def _listed(value: object) -> object:
    if isinstance(value, list | tuple):
        return list(map(_listed, value))
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value


def _form(expected: bytes) -> dict[str, str] | None:
    """The object of one of the two marked forms, if the expected output is one."""
    if not any(form in expected for form in _FORMS):
        return None
    try:
        value = json.loads(expected)
    except (ValueError, RecursionError):
        return None
    if marked(value, PYTHON) is None and marked(value, CHECK) is None:
        return None
    return value  # type: ignore[no-any-return]


def _same(want: object, got: object, tolerance: Tolerance | None) -> bool:
    if want == got:
        return True
    if tolerance is None:
        return False
    if is_number(want) and is_number(got):
        return tolerance.close_values(want, got)
    if type(want) is not type(got):
        return False
    if isinstance(want, list | tuple) and isinstance(got, list | tuple):
        pairs = zip(want, got, strict=False)
        return len(want) == len(got) and all(_same(a, b, tolerance) for a, b in pairs)
    if isinstance(want, dict) and isinstance(got, dict):
        return want.keys() == got.keys() and all(
            _same(item, got[key], tolerance) for key, item in want.items()
        )
    return False


def _words(want: object, got: object, tolerance: Tolerance | None) -> str:
    """Both values if they are short, else the first place where two lists differ."""
    one, other, place = _raw(want), _raw(got), ""
    while max(len(one), len(other)) > _WHOLE and type(want) is type(got):
        if not (isinstance(want, list | tuple) and isinstance(got, list | tuple)):
            break
        pairs = enumerate(zip_longest(want, got, fillvalue=_NOTHING))
        at, (want, got) = next((i, p) for i, p in pairs if not _same(*p, tolerance))
        place += f"[{at}]"
        one, other = _raw(want), _raw(got)
    shown = show_pair(one, other, shared_start(one, other))
    expected = "nothing" if want is _NOTHING else shown[0]
    given = "nothing" if got is _NOTHING else shown[1]
    return f"{f'at {place[-_PATH:]}: ' if place else ''}expected {expected}, got {given}"


_NOTHING = LongInteger("")
"""Stands where one side has no value."""


def _raw(value: object) -> bytes:
    try:
        return repr(value).encode("utf-8", "backslashreplace")
    except RecursionError:
        return b"a value that is nested too deeply to be shown"


def _shown(value: object) -> str:
    return show(_raw(value))
