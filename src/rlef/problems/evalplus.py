"""HumanEval+ and MBPP+ (Liu et al. 2023), in the form of EvalPlus and in that of the Hub.

EvalPlus keeps inputs only: what its own solution returns is expected, so that is run once in the
sandbox. Its rules of comparison are kept: floats within ``atol``, and some functions of MBPP with
an oracle of their own.
"""

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlef.problems.asserts import called_name
from rlef.problems.humaneval import FIND_ZERO, Row, root_check
from rlef.problems.literals import (
    arguments_input,
    call_input,
    check_output,
    literal_text,
    literal_value,
    python_output,
)
from rlef.problems.mbpp import assert_tests, mbpp_statement
from rlef.problems.options import Options
from rlef.problems.records import Record, kind_name
from rlef.problems.reference import RESULT, Reference
from rlef.problems.syntax import parse_code
from rlef.problems.tuples import with_tuples
from rlef.problems.types import Problem, Test

_NOT_NONE = frozenset({"check_str", "text_match_three", "text_starta_endb"})
_AS_SETS = frozenset(
    {
        "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly",
        "larg_nnum", "intersection_array", "find_dissimilar", "Diff",
    }
)  # fmt: skip
_ALSO_RIGHT = {
    "are_equivalent": "True",
    "sum_div": "result == 0",
    "surface_Area": (
        "abs(result - round(args[0]**2 + 2 * args[0] * math.sqrt((args[0] / 2)**2 + args[1]**2)))"
        " <= {atol!r}"
    ),
    "digit_distance_nums": (
        "result == sum(abs(int(a) - int(b)) for a, b in zip(*[str(n).zfill("
        "max(len(str(m)) for m in args)) for n in args]))"
    ),
}
"""What EvalPlus accepts besides the solution's own value: Mbpp/164, 295, 581 and 558."""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The inputs of a problem, and what is expected where that is known."""

    arguments: list[list[Any]]
    results: list[Any] | None
    atol: float
    base: int
    """How many of them are base tests, at the start."""


def humanevalplus_problems(
    records: Iterator[Record], options: Options
) -> Iterator[tuple[Record, Problem]]:
    """Makes problems of ``HumanEvalPlus.jsonl`` or of evalplus/humanevalplus.

    The base tests are public and the plus tests private (RLEF section C.4). The Hub's form does
    not tell them apart: there the examples in the docstring are public, else the first test is.
    """
    rows: list[tuple[Row, _Inputs]] = []
    for record in records:
        with options.odd.row(record.place):
            row = Row.read(record)
            rows.append((row, _inputs(record, list)))
    for (row, given), wanted in zip(rows, _results(rows, options), strict=True):
        if wanted is not None:
            tests = _tests(row.entry_point, given, wanted)
            public = tests[: given.base] or row.shown(tests)
            yield row.record, row.problem(public, tests, _checker(given.atol, wanted))


def mbppplus_problems(
    records: Iterator[Record], options: Options
) -> Iterator[tuple[Record, Problem]]:
    """Makes problems of ``MbppPlus.jsonl`` or of evalplus/mbppplus.

    The base tests are public and the plus tests private (RLEF section C.5). In the Hub's form the
    asserts of MBPP are the base tests.
    """
    rows: list[tuple[_MbppRow, _Inputs]] = []
    for record in records:
        with options.odd.row(record.place):
            row = _MbppRow.read(record)
            rows.append((row, _inputs(record, partial(with_tuples, row.number))))
    for (row, given), wanted in zip(rows, _results(rows, options), strict=True):
        if wanted is not None:
            with options.odd.row(row.record.place):
                yield row.record, row.problem(_tests(row.entry_point, given, wanted), given, wanted)


@dataclass(frozen=True, slots=True)
class _MbppRow:
    record: Record
    number: int
    entry_point: str
    solution: str
    statement: str

    @classmethod
    def read(cls, record: Record) -> "_MbppRow":
        """Takes the fields of a row of either form."""
        task, prompt = record.get("task_id", (int, str)), record.get("prompt", (str,))
        number = str(task).rpartition("/")[2]
        if not number.isdigit():
            raise record.error("task_id", f"is {task!r}; allowed: a number, or Mbpp/NUMBER")
        if "base_input" in record.fields:
            statement = prompt.strip().strip('"').strip()
            code, name = record.get("canonical_solution", (str,)), record.get("entry_point", (str,))
        else:
            statement = mbpp_statement(prompt, record.strings("test_list"))
            code, name = record.get("code", (str,)), _called(record)
        return cls(record, int(number), name, code, statement)

    def problem(self, tests: list[Test], given: _Inputs, results: list[Any]) -> Problem:
        """The problem with these tests."""
        public = self.public_tests() or tests[: given.base] or tests[:1]
        hidden = [test for test in dict.fromkeys(tests) if test not in public]
        return Problem(
            name=f"Mbpp/{self.number}",
            statement=self.statement,
            public_tests=tuple(public),
            private_tests=tuple(hidden or tests),
            mode="function",
            entry_point=self.entry_point,
            checker=_checker(given.atol, results),
            solutions=(self.solution,),
        )

    def public_tests(self) -> list[Test]:
        """The asserts of MBPP, in the Hub's form."""
        if "base_input" in self.record.fields:
            return []
        asserts = self.record.strings("test_list")
        return assert_tests(self.record, "test_list", asserts, self.solution)


def _inputs(record: Record, restore: Callable[[list[Any]], list[Any]]) -> _Inputs:
    if "base_input" not in record.fields:
        return _hub_inputs(record)
    base = record.get("base_input", (list,))
    plus = record.get("plus_input", (list, dict), [])  # one problem of MBPP+ has {} here
    inputs = [*base, *plus]
    if not all(type(given) is list for given in inputs):
        raise record.error("plus_input", "holds something else; allowed: lists of arguments")
    atol = float(record.get("atol", (int, float), 0))
    return _Inputs([*map(restore, inputs)], None, atol, len(base))


def _hub_inputs(record: Record) -> _Inputs:
    """The inputs and results in the text of the Hub's ``test`` field."""
    nodes = _checking_nodes(_test_tree(record))
    try:
        values = {
            node.targets[0].id: literal_value(node.value)
            for node in nodes
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in ("inputs", "results")
        }
        atol = _tolerance(nodes)
    except (ValueError, TypeError, IndexError) as error:
        raise record.error("test", str(error)) from None
    inputs, results = values.get("inputs"), values.get("results")
    if type(inputs) is not list or not all(type(given) in (list, tuple) for given in inputs):
        what = "lists" if type(inputs) is list else kind_name(inputs)
        raise record.error("test", f"inputs is {what}; allowed: a list of lists of arguments")
    if results is not None and (type(results) is not list or len(results) != len(inputs)):
        raise record.error("test", "has another number of results than of inputs")
    return _Inputs([list(given) for given in inputs], results, atol, 0)


def _checking_nodes(tree: ast.Module) -> list[ast.AST]:
    """What compares: the statements outside functions, and ``check``.

    Other functions are oracles and the solution itself, whose names mean something else.
    """
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    checking = [s for s in tree.body if not isinstance(s, functions) or s.name == "check"]
    return [node for statement in checking for node in ast.walk(statement)]


def _tolerance(nodes: Sequence[ast.AST]) -> float:
    """The last argument of ``assertion``, or what ``find_zero`` may be off by."""
    atol = 0.0
    for node in nodes:
        if isinstance(node, ast.Call) and called_name(node) == "assertion":
            atol = float(literal_value(node.args[-1]))
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.LtE):
            atol = float(literal_value(node.comparators[0]))
    return atol


def _test_tree(record: Record) -> ast.Module:
    text: str = record.get("test", (str,))
    try:
        return parse_code(text)
    except ValueError as error:
        raise record.error("test", f"does not parse ({error})") from None


def _called(record: Record) -> str:
    """The function that the text of the Hub's ``test`` field calls with ``*inp``."""
    for node in _checking_nodes(_test_tree(record)):
        name = called_name(node) if isinstance(node, ast.Call) else None
        if name is not None and name not in ("ref_func", "candidate"):
            assert isinstance(node, ast.Call)
            starred = [a.value for a in node.args if isinstance(a, ast.Starred)]
            if [getattr(value, "id", "") for value in starred] == ["inp"]:
                return name
    raise record.error("test", "calls no function with *inp")


def _results(
    rows: Sequence[tuple[Row | _MbppRow, _Inputs]], options: Options
) -> list[list[Any] | None]:
    """What is expected of each input; what is not known is what the solution returns."""
    unknown = [i for i, (_, given) in enumerate(rows) if given.results is None]
    made = options.run([_reference(*rows[i]) for i in unknown], options.odd)
    results = [given.results for _, given in rows]
    for i, values in zip(unknown, made, strict=True):
        results[i] = values
    return results


def _reference(row: Row | _MbppRow, given: _Inputs) -> Reference:
    value = f"{row.entry_point}(*copy.deepcopy(given))"
    if row.entry_point in _NOT_NONE:
        value += " is not None"
    program = (
        f"{row.solution}\n\nimport copy\nfrom math import inf, nan\n"
        f"def {RESULT}():\n    return [{value} for given in {given.arguments!r}]\n"
    )
    return Reference(row.record, "canonical_solution", program)


def _tests(name: str, given: _Inputs, results: list[Any]) -> list[Test]:
    pairs = zip(given.arguments, results, strict=True)
    return [_test(name, arguments, result, given.atol) for arguments, result in pairs]


def _test(name: str, arguments: list[Any], wanted: Any, atol: float) -> Test:
    given = arguments_input(name, arguments)
    if name == FIND_ZERO:
        return Test(given, root_check(atol, strict=False))
    if name in _NOT_NONE:  # a match of a regular expression, which is no plain value
        found = f"{name}({', '.join(map(literal_text, arguments))})"
        call = f"(lambda out: out if isinstance(out, bool) else out is not None)({found})"
        return Test(call_input(call), python_output(wanted))
    if name in _AS_SETS:
        return Test(given, check_output(f"set(result) == set({literal_text(wanted)})"))
    if name in _ALSO_RIGHT:
        also = _ALSO_RIGHT[name].format(atol=atol)
        return Test(given, check_output(f"result == {literal_text(wanted)} or {also}"))
    return Test(given, python_output(wanted))


def _checker(atol: float, results: list[Any]) -> str:
    """EvalPlus allows ``atol``, or 1e-6 for floats and lists of floats, plus a relative 1e-7."""
    if atol == 0 and not any(map(_is_floats, results)):
        return "tokens"
    return f"float(abs={atol or 1e-6!r},rel=1e-07)"


def _is_floats(value: Any) -> bool:
    if type(value) in (list, tuple):
        return bool(value) and all(type(item) is float for item in value)
    return type(value) is float
