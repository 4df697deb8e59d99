"""From a data set's own ``assert`` lines to tests that mean the same.

``assert f(1, 2) == 3`` becomes the input ``[1, 2]`` and an expected value that is compared with
``==``. Any other assert becomes the calls in it and a check: the rest of the expression, over what
the calls returned. So nothing of what is expected gets to the program.
"""

import ast
import builtins
import contextlib
import sys
from dataclasses import dataclass

from rlef.problems.literals import (
    arguments_input,
    call_input,
    check_output,
    literal_value,
    python_output,
)
from rlef.problems.syntax import parse_expression
from rlef.problems.types import Test

_WRAPPERS = frozenset(
    {"set", "frozenset", "tuple", "list", "sorted", "dict", "len", "round", "str"}
)


@dataclass(frozen=True, slots=True)
class Assertion:
    """How the asserts of a problem name things."""

    entry_point: str
    """Name of the function that is tested."""
    names: frozenset[str]
    """Names under which asserts call it: its own, or ``candidate``."""
    setup: str = ""
    """Code to run in the program's namespace before a call."""

    def test(self, node: ast.Assert) -> Test:
        """Makes the test that an assert is.

        Raises:
            ValueError: It does not call the function, or needs a name that is not there.
        """
        calls = self._calls(node.test)
        if not calls:
            raise ValueError(f"does not call {self.entry_point}: {ast.unparse(node)[:80]}")
        return self._equality(node.test) or self._check(node.test, calls)

    def _calls(self, node: ast.AST) -> list[ast.Call]:
        """The outermost calls of the function, in order."""
        if isinstance(node, ast.Call) and called_name(node) in self.names:
            return [node]
        children = ast.iter_child_nodes(node)
        return [call for child in children for call in self._calls(child)]

    def _equality(self, node: ast.expr) -> Test | None:
        """The test of ``f(…) == VALUE``, also with ``set(f(…))`` and the like, if it is one."""
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq):
            return None
        if len(node.ops) > 1:
            return None
        sides = [node.left, node.comparators[0]]
        if not self._calls(sides[0]):
            sides.reverse()
        if self._calls(sides[1]) or not self._is_wrapped_call(sides[0]):
            return None
        try:
            value = literal_value(sides[1])
        except ValueError:
            return None
        return Test(self._input(sides[0]), python_output(value))

    def _is_wrapped_call(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Call):
            return False
        if called_name(node) in self.names:
            return True
        return (
            called_name(node) in _WRAPPERS
            and bool(node.args)
            and self._is_wrapped_call(node.args[0])
            and not any(self._calls(argument) for argument in node.args[1:])
        )

    def _check(self, node: ast.expr, calls: list[ast.Call]) -> Test:
        """The test of any other assert: the calls, and what must be true of their results."""
        places = ["result"] if len(calls) == 1 else [f"result[{i}]" for i in range(len(calls))]
        parts = dict(zip(map(id, calls), places, strict=True))
        expression = ast.unparse(_Replaced(parts).visit(node))
        given = (
            self._input(calls[0])
            if len(calls) == 1
            else call_input(f"({', '.join(map(self._text, calls))})", self.setup)
        )
        return Test(given, check_output(expression, _imports(expression, self.setup)))

    def _input(self, call: ast.expr) -> str:
        """The input that evaluates a call, or a call in wrappers."""
        assert isinstance(call, ast.Call)
        if called_name(call) in self.names and not self.setup and not call.keywords:
            with contextlib.suppress(ValueError):
                return arguments_input(self.entry_point, [*map(literal_value, call.args)])
        return call_input(self._text(call), self.setup)

    def _text(self, node: ast.expr) -> str:
        renamed = _Renamed(self.names, self.entry_point).visit(parse_expression(ast.unparse(node)))
        return ast.unparse(renamed)


def called_name(call: ast.Call) -> str | None:
    """The name of what is called, if it has no dot."""
    return call.func.id if isinstance(call.func, ast.Name) else None


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: frozenset[str], name: str) -> None:
        self._names, self._name = names, name

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._name, node.ctx) if node.id in self._names else node


class _Replaced(ast.NodeTransformer):
    """Puts the names of results in the place of calls."""

    def __init__(self, parts: dict[int, str]) -> None:
        self._parts = parts

    def visit_Call(self, node: ast.Call) -> ast.AST:
        place = self._parts.get(id(node))
        if place is None:
            return self.generic_visit(node)
        return parse_expression(place)


def _imports(expression: str, setup: str) -> str:
    """The setup of a check: imports of the modules that it names, and the test's own setup."""
    nodes = list(ast.walk(parse_expression(expression)))
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    free = {n.id for n in nodes if isinstance(n, ast.Name)} - bound - {"result", "args"}
    free -= set(dir(builtins))
    modules = sorted(free & sys.stdlib_module_names)
    unknown = sorted(free - sys.stdlib_module_names)
    if unknown and not setup:
        raise ValueError(f"the check needs {unknown[0]!r}, which is not there: {expression[:80]}")
    lines = [f"import {name}" for name in modules] + ([setup] if unknown else [])
    return "\n".join(lines)
