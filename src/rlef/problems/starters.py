"""Answers that go on where starter code ends, with whatever indentation they come."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from rlef.problems.syntax import bound_names, parsed

_CLASS = "Solution"
_STEPS = ("    ", "\t", "  ")
_LEAVES = (ast.Return, ast.Yield, ast.YieldFrom, ast.Await)
"""What only a function can have."""
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class _Draft(NamedTuple):
    """A program that an answer might stand for."""

    before: str
    """What stands before the answer's first line."""
    rest: str
    strict: bool = False
    """Whether what follows the function must have to do with it."""


class _Place(NamedTuple):
    """Where an answer could stand."""

    before: str
    """The starter code up to there, whole lines."""
    indent: str
    """Of a statement there."""


def continued(starter: str, answer: str, name: str) -> str | None:
    """The program that starter code and an answer make; ``None``: the answer stands for itself.

    The answer may be the rest of the function's body. It may have the indentation that the starter
    asks for (blanks at the end of the starter then count as the answer's own), lack it in its first
    line, have any other, or go on in the middle of the starter's last line. It may also be a whole
    program that is indented, or the method of ``Solution`` without its class.

    Args:
        starter: How a program begins: defines the function, or the class with it.
        answer: What was written.
        name: Name of the function or method.
    """
    starter, answer = _newlines(starter), _newlines(answer)
    body = _body(starter, name)
    method = _method(body, name)
    shifted = _indented(answer, "")
    tree = parsed(shifted)
    if tree is not None and not _leaves(tree) and {name, _CLASS} & bound_names(tree):
        methods = [] if method is None or _CLASS in bound_names(tree) else _methods(tree)
        if name in methods:
            lines = "".join(f"    {one} = {one}\n" for one in methods)
            return f"{shifted.rstrip()}\n\n\nclass {_CLASS}:\n{lines}"
        return None if parsed(answer) else shifted
    if parsed(answer) is not None and not _goes_on(parsed(answer), starter):
        return None
    for draft in _drafts(starter, answer, body, method):
        if _fits(draft, name):
            return draft.before + draft.rest
    return None


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _first_code(text: str) -> int | None:
    """Number of the first line that is neither empty nor a comment, from 0."""
    lines = enumerate(text.split("\n"))
    return next((i for i, line in lines if line.strip() and line.lstrip()[0] != "#"), None)


def _blanks(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _indented(text: str, indent: str) -> str:
    """The text with another indentation; lines of its long strings stay as they are."""
    first, lines = _first_code(text), text.split("\n")
    if first is None:
        return text
    own = _blanks(lines[first])
    moved = [
        indent + line[len(own) :] if line.strip() and line.startswith(own) else line
        for line in lines
    ]
    bare = parsed("\n".join(line.removeprefix(own) for line in lines))
    for node in ast.walk(bare) if bare else ():
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        ):
            inside = slice(node.lineno, node.end_lineno)
            moved[inside] = lines[inside]
    return "\n".join(moved)


def _body(starter: str, name: str) -> _Place | None:
    """Where the function's body goes on, if its starter ends there."""
    start = starter.rstrip(" \t")
    tail = starter[len(start) :] if start.endswith("\n") else ""
    before = start if start.endswith("\n") or not start else f"{start}\n"
    lines = [line for line in before.split("\n") if line.strip()]
    around = [_blanks(line) for line in reversed(lines)]
    for indent in dict.fromkeys([tail, *(a + step for a in around for step in ("", *_STEPS))]):
        tree = parsed(f"{before}{indent}pass\n") if indent else None
        function = _entry(tree, name) if tree else None
        if function is not None and function.end_lineno == before.count("\n") + 1:
            return _Place(before, indent)
    return None


def _method(body: _Place | None, name: str) -> _Place | None:
    """Where the method begins, if the starter's function is one."""
    tree = parsed(f"{body.before}{body.indent}pass\n") if body else None
    function = _entry(tree, name) if tree else None
    if body is None or function is None or function.col_offset == 0:
        return None
    lines = body.before.split("\n")[: function.lineno]
    return _Place("".join(f"{line}\n" for line in lines[:-1]), _blanks(lines[-1]))


def _methods(tree: ast.Module) -> list[str]:
    """Names of the functions whose first parameter is called ``self``."""
    functions = [node for node in tree.body if isinstance(node, _Function)]
    return [f.name for f in functions if f.args.args and f.args.args[0].arg == "self"]


def _goes_on(tree: ast.Module | None, starter: str) -> bool:
    """Whether an answer that could stand alone is the rest of a function."""
    if tree is None or _leaves(tree):
        return True
    return not starter.endswith("\n") and not any(isinstance(n, _DEFINITIONS) for n in tree.body)


def _drafts(
    starter: str, answer: str, body: _Place | None, method: _Place | None
) -> Iterator[_Draft]:
    joined = starter.rstrip(" \t")
    if not joined.endswith("\n") and _can_join(starter, answer, body):
        yield _Draft(starter, answer)
    first = _first_code(answer)
    if first is None:
        return
    line = answer.split("\n")[first]
    if method is not None and re.match(r"(?:async\s+)?def\s+\w+\s*\(\s*self\b", line):
        yield _Draft(method.before + method.indent, answer)
    if body is not None:
        if _blanks(line):
            yield _Draft(body.before, answer)
        elif first == 0:
            yield _Draft(body.before + body.indent, answer, strict=True)
        yield _Draft(body.before, _indented(answer, body.indent))
        for own in _later_blanks(answer) if first == 0 and not _blanks(line) else ():
            yield _Draft(body.before, _indented(own + answer, body.indent), strict=True)
    if joined.endswith("\n"):
        yield _Draft(starter, answer)


def _can_join(starter: str, answer: str, body: _Place | None) -> bool:
    """Whether an answer can go on in the starter's last line: neither in a word nor a comment."""
    if answer.startswith("\n"):
        return True
    in_comment = body and parsed(f"{starter} )\n{body.indent}pass\n")  # an odd bracket is no harm
    return not in_comment and not re.fullmatch(r"\w\w", starter[-1:] + answer[:1])


def _later_blanks(answer: str) -> list[str]:
    """The indentations of the lines after the first, narrow ones first."""
    found = {_blanks(line) for line in answer.split("\n")[1:] if line.strip()}
    return sorted(found - {""}, key=len)


def _fits(draft: _Draft, name: str) -> bool:
    """Whether the answer is a part of the function, and all of it is where it can be."""
    tree, first = parsed(draft.before + draft.rest), _first_code(draft.rest)
    function = _entry(tree, name) if tree else None
    if tree is None or function is None or first is None or _leaves(tree):
        return False
    line = draft.before.count("\n") + 1 + first
    if not function.lineno <= line <= (function.end_lineno or 0):
        return False
    if any(isinstance(node, _Function) and node.name == name for node in function.body):
        return False  # the head once more
    return all(_may_follow(node, name, draft) for node in _behind(tree, function))


def _behind(tree: ast.Module, function: _Function) -> Iterator[ast.stmt]:
    """What follows the function, in its class and outside."""
    for node in tree.body:
        if node.lineno > function.lineno:
            yield node
        elif isinstance(node, ast.ClassDef) and function in node.body:
            yield from node.body[node.body.index(function) + 1 :]


def _may_follow(node: ast.stmt, name: str, draft: _Draft) -> bool:
    if isinstance(node, _DEFINITIONS):
        return True
    if node.col_offset > 0:
        return False
    if not draft.strict or isinstance(node, ast.Import | ast.ImportFrom | ast.If):
        return True
    return any(isinstance(n, ast.Name) and n.id in (name, _CLASS) for n in ast.walk(node))


def _entry(tree: ast.Module, name: str) -> _Function | None:
    """The last function of that name, or the last method of that name in ``Solution``."""
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == _CLASS]
    for body in (tree.body, *(node.body for node in reversed(classes))):
        found = [node for node in body if isinstance(node, _Function) and node.name == name]
        if found:
            return found[-1]
    return None


def _leaves(tree: ast.Module) -> bool:
    """Whether something stands outside of functions that only they can have."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _LEAVES):
            return True
        if not isinstance(node, _Function | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return False
