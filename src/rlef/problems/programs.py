"""From an answer to the program that is judged."""

import ast

from rlef.problems.syntax import parse_code
from rlef.problems.types import Problem


def full_program(problem: Problem, answer: str) -> str:
    """Returns the program that an answer stands for.

    An answer that defines the entry point is a whole program. The problem's prelude (imports and
    helper functions that the statement gives) is put before it if it lacks a name from there, and
    after its ``from __future__`` lines. An indented answer that goes on where the starter code
    ends is put behind that. One that does not parse is left as it is, so that the lines in its
    error are right.

    Args:
        problem: The problem.
        answer: What was written for it.
    """
    tree = _parsed(answer)
    if tree is None or not _defines(tree, problem.entry_point):
        continued = problem.starter_code + answer
        indented = answer.lstrip("\n")[:1] in (" ", "\t")
        if problem.starter_code and indented and _defines(_parsed(continued), problem.entry_point):
            return continued
    if tree is None or not problem.prelude or _lacks_nothing(tree, problem.prelude):
        return answer
    future = [node for node in tree.body if _is_future(node)]
    at = future[-1].end_lineno if future else 0
    lines = answer.splitlines(keepends=True)
    end = "" if problem.prelude.endswith("\n") else "\n"
    return "".join(lines[:at]) + problem.prelude + end + "".join(lines[at:])


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


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"
