"""Parsing of Python text from data sets and models: one kind of error, no warnings."""

import ast
import threading
import warnings
from typing import Any, Literal

_FILTERS = threading.Lock()
"""Filters of warnings belong to the whole process."""


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


def _parse(text: str, mode: Literal["exec", "eval"]) -> Any:
    try:
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\w", which old programs have
            return ast.parse(text, mode=mode)
    except SyntaxError as error:
        raise ValueError(f"{error.msg}, line {error.lineno}") from None
    except (RecursionError, MemoryError):
        raise ValueError("nested too deeply") from None
