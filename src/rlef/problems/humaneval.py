"""HumanEval (Chen et al. 2021): functions that go on where a signature and a docstring end."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rlef.problems.asserts import Assertion
from rlef.problems.literals import arguments_input, check_output, literal_value, python_output
from rlef.problems.options import Options
from rlef.problems.records import Record
from rlef.problems.reference import RESULT, Reference
from rlef.problems.syntax import parse_code, parse_expression
from rlef.problems.types import Problem, Test

FIND_ZERO = "find_zero"
"""The one function with several right answers: any root of the polynomial."""
_RECORDER = f"""

def {RESULT}():
    import copy
    calls = []
    def candidate(*args):
        given = copy.deepcopy(args)
        result = {{name}}(*args)
        calls.append((given, copy.deepcopy(result)))
        return result
    check(candidate)
    return calls
"""


def humaneval_problems(
    records: Iterator[Record], options: Options
) -> Iterator[tuple[Record, Problem]]:
    """Makes problems of rows of ``HumanEval.jsonl``.

    The tests are the asserts of the data set. Those whose calls stand as examples in the docstring
    are public, else the first one is. Loops of asserts (six problems) are unrolled by running the
    data set's own check on its own solution in the sandbox and noting the calls.
    """
    rows: list[tuple[Row, ast.FunctionDef]] = []
    for record in records:
        with options.odd.row(record.place):
            row = Row.read(record)
            rows.append((row, _check_function(row)))
    looped = [i for i, (_, check) in enumerate(rows) if not _is_flat(check)]
    noted = options.run([rows[i][0].recorder() for i in looped], options.odd)
    calls = dict(zip(looped, noted, strict=True))
    for i, (row, check) in enumerate(rows):
        noted_calls = calls.get(i, [])
        if noted_calls is None:
            continue
        with options.odd.row(row.record.place):
            tests = [row.call_test(list(given), result) for given, result in noted_calls]
            tests = tests if i in calls else row.assert_tests(check)
            yield row.record, row.problem(row.shown(tests), tests)


@dataclass(frozen=True, slots=True)
class Row:
    """The fields that HumanEval and HumanEval+ share."""

    record: Record
    name: str
    prompt: str
    entry_point: str
    solution: str
    """The canonical solution behind the prompt."""

    @classmethod
    def read(cls, record: Record) -> "Row":
        """Takes the fields of a row.

        Raises:
            ProblemError: One is missing or has another type.
        """
        prompt = record.get("prompt", (str,))
        return cls(
            record=record,
            name=record.get("task_id", (str,)),
            prompt=prompt,
            entry_point=record.get("entry_point", (str,)),
            solution=prompt + record.get("canonical_solution", (str,)),
        )

    @property
    def prelude(self) -> str:
        """What stands in the prompt before the function: imports and helper functions."""
        lines = self.prompt.splitlines(keepends=True)
        start = next((i for i, line in enumerate(lines) if self._begins(line)), 0)
        return "".join(lines[:start])

    def _begins(self, line: str) -> bool:
        return re.match(rf"def\s+{re.escape(self.entry_point)}\s*\(", line) is not None

    def recorder(self) -> Reference:
        """The program that notes the calls of the data set's own check."""
        recorder = _RECORDER.format(name=self.entry_point)
        test = self.record.get("test", (str,))
        return Reference(self.record, "test", f"{self.solution}\n{test}\n{recorder}")

    def call_test(self, arguments: list[object], result: object) -> Test:
        """The test that a call must return what the solution returned, or another root."""
        given = arguments_input(self.entry_point, arguments)
        if self.entry_point != FIND_ZERO:
            return Test(given, python_output(result))
        return Test(given, root_check(1e-4, strict=True))

    def assert_tests(self, check: ast.FunctionDef) -> list[Test]:
        """The tests of a check that is made of asserts only.

        Raises:
            ProblemError: One cannot be judged.
        """
        names = frozenset({self.entry_point, "candidate"})
        assertion = Assertion(self.entry_point, names)
        try:
            return [assertion.test(node) for node in _asserts(check)]
        except ValueError as error:
            raise self.record.error("test", f"cannot be judged: {error}") from None

    def shown(self, tests: list[Test]) -> list[Test]:
        """The tests whose calls stand as examples in the docstring, else the first test.

        What an example says is not used: a few are wrong, others stricter than the asserts.
        """
        called = set(filter(None, map(self._example, self.prompt.splitlines())))
        return [test for test in dict.fromkeys(tests) if test.input in called] or tests[:1]

    def _example(self, line: str) -> str | None:
        """The input of a test that makes the call at the start of a line, if there is one."""
        text = line.strip().lstrip(">*").strip()
        if not re.match(rf"{re.escape(self.entry_point)}\s*\(", text):
            return None
        for match in re.finditer(r"\)", text):
            try:
                node = parse_expression(text[: match.end()])
            except ValueError:
                continue
            if not isinstance(node, ast.Call) or node.keywords:
                return None
            try:
                return arguments_input(self.entry_point, [*map(literal_value, node.args)])
            except ValueError:
                return None
        return None

    def problem(self, public: list[Test], private: list[Test], checker: str = "tokens") -> Problem:
        """The problem with these tests; private ones that are public as well are left out."""
        hidden = [test for test in dict.fromkeys(private) if test not in public]
        return Problem(
            name=self.name,
            statement=f"Complete this Python code:\n\n```python\n{self.prompt.rstrip()}\n```",
            public_tests=tuple(public),
            private_tests=tuple(hidden or private),
            mode="function",
            entry_point=self.entry_point,
            starter_code=self.prompt,
            prelude=self.prelude,
            checker=checker,
            solutions=(self.solution,),
        )


def root_check(tolerance: float, *, strict: bool) -> str:
    """The expected output for ``find_zero``: a root of the polynomial ``args[0]``."""
    value = "abs(sum([c * math.pow(result, i) for i, c in enumerate(args[0])]))"
    return check_output(f"{value} {'<' if strict else '<='} {tolerance!r}")


def _check_function(row: Row) -> ast.FunctionDef:
    record = row.record
    try:
        body = parse_code(record.get("test", (str,))).body
    except ValueError as error:
        raise record.error("test", f"does not parse ({error})") from None
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == "check":
            return node
    raise record.error("test", "defines no function check(candidate)")


def _is_flat(check: ast.FunctionDef) -> bool:
    """Whether nothing but asserts matters in a check."""
    return all(isinstance(node, ast.Assert | ast.Import | ast.Expr) for node in check.body)


def _asserts(check: ast.FunctionDef) -> list[ast.Assert]:
    asserts = [node for node in check.body if isinstance(node, ast.Assert)]
    return [node for node in asserts if not isinstance(node.test, ast.Constant)]
