"""Plain Python values in the source text of tests, without running it."""

import ast
import json
import math
from collections.abc import Callable
from typing import Any

_BUILDERS: dict[str, Callable[..., object]] = {
    "set": set,
    "frozenset": frozenset,
    "tuple": tuple,
    "list": list,
    "dict": dict,
    "float": float,
    "complex": complex,
}
_CONSTANTS = {"inf": math.inf, "nan": math.nan}
_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], object]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}
_NUMBERS = (int, float, complex)


def literal_value(node: ast.expr) -> Any:
    """The value of an expression of plain values: displays, numbers, ``set([1])``, ``-inf``.

    Raises:
        ValueError: It is something else.
    """
    try:
        return _value(node)
    except (TypeError, OverflowError, ZeroDivisionError, RecursionError) as error:
        raise ValueError(str(error)) from None


def python_output(value: object) -> str:
    """The expected output of a test whose result must be equal (``==``) to a plain value."""
    return json.dumps({"__python__": literal_text(value)})


def literal_text(value: object) -> str:
    """As ``repr`` writes a plain value, but items of sets in order: the same in every process.

    Example:
        >>> literal_text(({"b", "a"}, [2.0]))
        "({'a', 'b'}, [2.0])"
    """
    kind = type(value)
    if kind in (list, tuple, set, frozenset) and value:
        items = [literal_text(item) for item in value]  # type: ignore[attr-defined]
        if kind is list:
            return f"[{', '.join(items)}]"
        if kind is tuple:
            return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
        text = f"{{{', '.join(sorted(items, key=_shortest_first))}}}"
        return text if kind is set else f"frozenset({text})"
    if isinstance(value, dict) and kind is dict:
        pairs = (f"{literal_text(key)}: {literal_text(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    return repr(value)


def check_output(expression: str, setup: str = "") -> str:
    """The expected output of a test whose result an expression accepts."""
    return json.dumps({"__check__": expression} | ({"setup": setup} if setup else {}))


def call_input(expression: str, setup: str = "") -> str:
    """The input of a test that evaluates an expression in the program's namespace."""
    return json.dumps({"call": expression} | ({"setup": setup} if setup else {}))


def arguments_input(entry_point: str, arguments: list[Any]) -> str:
    """The input of a test that calls a function with plain values: JSON wherever that is exact."""
    if is_json(arguments):
        return json.dumps(arguments)
    setup = "from math import inf, nan" if _has_odd_float(arguments) else ""
    return call_input(f"{entry_point}({', '.join(map(literal_text, arguments))})", setup)


def is_json(value: object) -> bool:
    """Whether JSON keeps a value exactly."""
    if type(value) is list:
        return all(map(is_json, value))
    if type(value) is dict:
        return all(type(key) is str and is_json(item) for key, item in value.items())
    if type(value) is float:
        return math.isfinite(value)
    return type(value) in (str, int, bool, type(None))


def _shortest_first(text: str) -> tuple[int, str]:
    return len(text), text


def _has_odd_float(value: object) -> bool:
    """Whether ``repr`` of a value has an inf or nan in it."""
    if isinstance(value, dict):
        return any(map(_has_odd_float, (*value.keys(), *value.values())))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_has_odd_float, value))
    return isinstance(value, float) and not math.isfinite(value)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant() if node.value is not Ellipsis:
            return node.value
        case ast.List() | ast.Tuple() | ast.Set():
            items = [_value(item) for item in node.elts]
            kinds = {ast.List: list, ast.Tuple: tuple, ast.Set: set}
            return kinds[type(node)](items)
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return {_value(_present(key)): _value(item) for key, item in pairs}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            number = _number(node.operand)
            return -number if isinstance(node.op, ast.USub) else +number
        case ast.BinOp() if type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](_number(node.left), _number(node.right))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Attribute(value=ast.Name(id="math" | "np")) if node.attr in _CONSTANTS:
            return _CONSTANTS[node.attr]
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _BUILDERS:
            return _BUILDERS[name](*map(_value, node.args))
    raise ValueError(f"{ast.unparse(node)[:60]} is no plain value")


def _number(node: ast.expr) -> Any:
    value = _value(node)
    if type(value) not in _NUMBERS:
        raise ValueError(f"{ast.unparse(node)[:60]} is no number")
    return value


def _present(key: ast.expr | None) -> ast.expr:
    if key is None:
        raise ValueError("** in a dict")
    return key
