"""From an answer to the program that is judged."""

import ast
import re
from dataclasses import replace
from typing import NamedTuple

from rlef.problems.starters import continued
from rlef.problems.syntax import bound_names, parsed
from rlef.problems.types import Problem

_BINDING = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class WholeProgram(NamedTuple):
    """What is judged for an answer."""

    prelude: str
    """Runs first, in the same namespace; may be empty."""
    source: str


def whole_program(problem: Problem, answer: str) -> WholeProgram:
    """Returns the program that an answer stands for.

    An answer that defines the entry point is a whole program. One that goes on where the starter
    code ends is put behind that, with the indentation that is needed there, see ``continued``. The
    problem's prelude (imports and helper functions that the data set gives) runs before either if
    it lacks a name from there. An answer that does not parse is left as it is.

    Args:
        problem: The problem.
        answer: What was written for it.
    """
    if problem.language != "python":
        return WholeProgram("", answer)
    source = answer
    if problem.entry_point is not None and problem.starter_code.strip():
        source = continued(problem.starter_code, answer, problem.entry_point) or answer
    tree = parsed(source) if problem.prelude else None
    if tree is None or _lacks_nothing(tree, problem.prelude):
        return WholeProgram("", source)
    return WholeProgram(_without_numpy(problem.prelude, source), source)


def in_language(problem: Problem, language: str) -> Problem:
    """Returns a problem whose programs print, to be solved in another language.

    What it holds in its own language, such as references, does not come along.
    """
    if problem.language == language:
        return problem
    cpp = language == "cpp"
    return replace(
        problem,
        language=language,
        prelude="",
        starter_code="",
        solutions=problem.cpp_solutions if cpp else (),
        incorrect_solutions=problem.incorrect_cpp_solutions if cpp else (),
        cpp_solutions=() if cpp else problem.cpp_solutions,
        incorrect_cpp_solutions=() if cpp else problem.incorrect_cpp_solutions,
    )


def _lacks_nothing(tree: ast.Module, prelude: str) -> bool:
    """Whether a program binds all names of a prelude that does nothing else than bind names."""
    wanted = parsed(prelude)
    if wanted is None or not all(isinstance(node, _BINDING) for node in wanted.body):
        return False
    return "*" not in (names := bound_names(wanted)) and names <= bound_names(tree)


def _without_numpy(prelude: str, source: str) -> str:
    """The prelude without its import of numpy, unless the program has a name from there.

    Programs that import numpy run in another jail, in which each test takes longer.
    """
    tree = parsed(prelude) if "numpy" in prelude else None
    found = [node for node in tree.body if _imports_numpy(node)] if tree else []
    if tree is None or not found:
        return prelude
    names = bound_names(ast.Module(found, []))
    rest = ast.unparse(ast.Module([node for node in tree.body if node not in found], []))
    words = "|".join(map(re.escape, names))
    return prelude if re.search(rf"\b(?:{words})\b", f"{rest}\n{source}") else f"{rest}\n"


def _imports_numpy(node: ast.stmt) -> bool:
    """Whether a statement does nothing but import numpy; ``try`` around it counts as nothing."""
    if isinstance(node, ast.Try):
        return all(map(_imports_numpy, node.body))
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").partition(".")[0] == "numpy" and node.names[0].name != "*"
    return isinstance(node, ast.Import) and all(
        alias.name.partition(".")[0] == "numpy" for alias in node.names
    )
