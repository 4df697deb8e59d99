"""Parsing of Python text from data sets and models: one kind of error, no warnings."""

import ast
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Literal

from rlef.problems.integers import long_integers

_FILTERS = threading.Lock()
"""Filters of warnings belong to the whole process."""
_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


def parse_code(text: str) -> ast.Module:
    """Parses statements.

    Raises:
        ValueError: The text is no Python; one line says why.
    """
    return _parse(text, "exec")  # type: ignore[no-any-return]


def parse_expression(text: str) -> ast.expr:
    """Parses one expression.

    Raises:
        ValueError: The text is none; one line says why.
    """
    return _parse(text.strip(), "eval").body  # type: ignore[no-any-return]


def parsed(program: str) -> ast.Module | None:
    """The tree of a program; ``None`` if it is no Python."""
    try:
        return parse_code(program)
    except ValueError:
        return None


def bound_names(tree: ast.Module) -> set[str]:
    """The names that a program binds at its outermost level; ``*`` for an import of everything."""
    names: set[str] = set()
    for node in outermost(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
    return names


def outermost(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one that are not inside of a function, a class or a comprehension there."""
    waiting = [*ast.iter_child_nodes(tree)]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _SCOPES):
            waiting += ast.iter_child_nodes(node)


def _parse(text: str, mode: Literal["exec", "eval"]) -> Any:
    try:
        with long_integers(), _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\w", which old programs have
            return ast.parse(text, mode=mode)
    except SyntaxError as error:
        raise ValueError(f"{error.msg}, line {error.lineno}") from None
    except (RecursionError, MemoryError):
        raise ValueError("nested too deeply") from None
