"""From an answer to the program that is judged."""

import ast
from typing import NamedTuple

from rlef.problems.syntax import parse_code
from rlef.problems.types import Problem


class WholeProgram(NamedTuple):
    """What is judged for an answer."""

    prelude: str
    """Runs first, in the same namespace; may be empty."""
    source: str


def whole_program(problem: Problem, answer: str) -> WholeProgram:
    """Returns the program that an answer stands for.

    An answer that defines the entry point is a whole program. The problem's prelude (imports and
    helper functions that the statement gives) runs before it if it lacks a name from there. An
    indented answer that goes on where the starter code ends is put behind that. One that does not
    parse is left as it is.

    Args:
        problem: The problem.
        answer: What was written for it.
    """
    tree = _parsed(answer)
    if tree is None or not _defines(tree, problem.entry_point):
        continued = problem.starter_code + answer
        indented = answer.lstrip("\n")[:1] in (" ", "\t")
        if problem.starter_code and indented and _defines(_parsed(continued), problem.entry_point):
            return WholeProgram("", continued)
    if tree is None or not problem.prelude or _lacks_nothing(tree, problem.prelude):
        return WholeProgram("", answer)
    return WholeProgram(problem.prelude, answer)


def _parsed(program: str) -> ast.Module | None:
    try:
        return parse_code(program)
    except ValueError:
        return None


def _defines(tree: ast.Module | None, name: str | None) -> bool:
    """Whether a program binds a name; of a method of ``Solution`` only the class is asked for."""
    if tree is None or name is None:
        return False
    return bool({name, "Solution"} & _bound(tree))


def _lacks_nothing(tree: ast.Module, prelude: str) -> bool:
    wanted = _parsed(prelude)
    return wanted is not None and "*" not in (names := _bound(wanted)) and names <= _bound(tree)


def _bound(tree: ast.Module) -> set[str]:
    """The names that the outermost statements bind; ``*`` for an import of everything."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    return names
