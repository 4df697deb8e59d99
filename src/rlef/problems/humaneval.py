"""HumanEval (Chen et al. 2021): functions that go on where a signature and a docstring end."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rlef.problems.asserts import Assertion
from rlef.problems.literals import arguments_input, check_output, literal_value, python_output
from rlef.problems.options import Options
from rlef.problems.records import Record
from rlef.problems.reference import RESULT, Reference, run_references
from rlef.problems.types import Problem, Test

FIND_ZERO = "find_zero"
"""The one function with several right answers: any root of the polynomial."""
_WRONG_EXAMPLES = frozenset(("HumanEval/47", "HumanEval/116", "HumanEval/130", "HumanEval/148"))
"""Problems with an example that the data set's own solution does not meet."""
_ARROW = re.compile(r"\s*(?:==>|=>|->|➞|==|=|#? ?returns?|should return)\s*(.*)")
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

    Examples in the docstring are the public tests, else the first assert is; the private tests are
    the asserts of the data set. Loops of asserts (six problems) are unrolled by running the data
    set's own check on its own solution in the sandbox and noting the calls.
    """
    rows = [Row.read(record) for record in records]
    checks = [_check_function(row) for row in rows]
    looped = [i for i, check in enumerate(checks) if not _is_flat(check)]
    noted = run_references([rows[i].recorder() for i in looped])
    calls = dict(zip(looped, noted, strict=True))
    for i, (row, check) in enumerate(zip(rows, checks, strict=True)):
        if i in calls:
            tests = [row.call_test(list(given), result) for given, result in calls[i]]
        else:
            tests = row.assert_tests(check)
        public = row.examples() or tests[:1]
        yield row.record, row.problem(public, tests)


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

    def examples(self) -> list[Test]:
        """The examples in the docstring whose call and value are plain."""
        if self.name in _WRONG_EXAMPLES:
            return []
        lines = self.prompt.splitlines()
        found: list[Test] = []
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            text = line.strip().removeprefix("*").strip()
            shell = text.startswith(">>>")
            call, rest = self._call(text.removeprefix(">>>").strip())
            arrow = _ARROW.fullmatch(rest)
            value = following.strip() if shell and not rest else arrow[1] if arrow else ""
            test = self._example(call, value.strip().removesuffix("."))
            if test is not None and test not in found:
                found.append(test)
        return found

    def _call(self, text: str) -> tuple[ast.Call | None, str]:
        """The call at the start of a line, and the rest of the line."""
        if not re.match(rf"{re.escape(self.entry_point)}\s*\(", text):
            return None, ""
        for match in re.finditer(r"\)", text):
            try:
                node = ast.parse(text[: match.end()], mode="eval").body
            except (SyntaxError, ValueError):
                continue
            return (node if isinstance(node, ast.Call) else None), text[match.end() :].strip()
        return None, ""

    def _example(self, call: ast.Call | None, value: str) -> Test | None:
        value = {"true": "True", "false": "False"}.get(value, value)
        if call is None or call.keywords or not value or self.entry_point == FIND_ZERO:
            return None
        try:
            wanted = literal_value(ast.parse(value, mode="eval").body)
            given = [literal_value(argument) for argument in call.args]
        except (ValueError, SyntaxError):
            return None
        return Test(arguments_input(self.entry_point, given), python_output(wanted))

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
        body = ast.parse(record.get("test", (str,))).body
    except (SyntaxError, ValueError, RecursionError) as error:
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
