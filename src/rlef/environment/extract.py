"""Which part of an answer is the program."""

import ast
import builtins
import re
from collections.abc import Iterator

from rlef.environment.fences import finished_blocks
from rlef.languages import LANGUAGES
from rlef.problems.syntax import bound_names, parsed
from rlef.problems.types import Mode

_MOST_PARSED = 100_000
"""Characters of the longest block that is parsed; a longer one is looked at line by line."""
_READS = re.compile(
    r"\b(?:raw_)?input\s*\(|\bstdin\b|\bfileinput\b|\bopen\s*\(\s*0|/dev/stdin|\bread\s*\(\s*0"
)
_WRITES = re.compile(r"\b(?:print|stdout|write)\b")
_BUILTIN = frozenset(dir(builtins))
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_READERS = {"input", "raw_input", "stdin", "fileinput"}
_WRITERS = {"print", "stdout", "__stdout__", "write", "writelines"}


def extract_program(
    response: str,
    *,
    language: str = "python",
    mode: Mode = "stdin",
    entry_point: str | None = None,
) -> str | None:
    r"""Returns the program in an answer, or ``None`` if the answer has no valid code.

    Valid code is a finished, non-empty fenced block outside of the answer's reasoning (see
    ``finished_blocks``), tagged as the problem's language or without a tag. Whether it parses does
    not matter here: a program with a syntax error is run and learns so from its feedback (verdict
    CE). Code without a fence, and a block that is cut off, are no valid code.

    RLEF leaves open which of several blocks counts. Here it is the one that does what is asked for:

    * ``function`` mode: it defines the entry point, or the class ``Solution`` with that method. A
      definition goes before any other assignment to the name, such as the ``f = Solution().f`` of
      an example, that before an import, and that before a stub or a method out of its class.
    * ``stdin`` mode: it reads its input. One that also prints, and does so when it is run, goes
      before a line that is explained, or a function that nothing calls. In other
      languages it has a ``main``, and rather one that reads, behind its includes.

    Among those, or if there is none, one that uses a name which only another block binds goes last:
    it is a part of that program, or an example. Then a tagged block goes before one without a tag,
    since sample output often comes in plain fences, and a later one before an earlier one. Blocks
    are never joined: the prompt asks for one, and what is missing shows in the feedback.

    Example:
        >>> extract_program("So:\n```python\nprint(1)\n```\nIt prints:\n```\n1\n```")
        'print(1)\n'
        >>> extract_program("```py\ndef f(a):\n  return a\n```\nUse:\n```py\nprint(f(3))\n```",
        ...                 mode="function", entry_point="f")
        'def f(a):\n  return a\n'
        >>> extract_program("```python\nprint(") is None
        True

    Args:
        response: The model's answer as text.
        language: Of the problem, as in ``Problem.language``.
        mode: Of the problem.
        entry_point: Name of the function, in ``function`` mode.

    Returns:
        The block's lines, each with its newline.
    """
    blocks = finished_blocks(response, language)
    if len(blocks) < 2:
        return blocks[0].program if blocks else None
    trees = [_tree(block.program, language) for block in blocks]
    bound = {name for tree in trees if tree for name in bound_names(tree)}

    def rank(place: int) -> tuple[int, bool, bool, int]:
        block, tree = blocks[place], trees[place]
        fitness = _fitness(block.program, tree, language, mode, entry_point)
        stands_alone = tree is None or bound.isdisjoint(_lacking(tree))
        return fitness, stands_alone, block.tagged, place

    return blocks[max(range(len(blocks)), key=rank)].program


def _tree(program: str, language: str) -> ast.Module | None:
    if language == "python" and len(program) <= _MOST_PARSED:
        return parsed(program)
    return None


def _lacking(tree: ast.Module) -> set[str]:
    """The names that a program uses and binds nowhere, but for built-in ones."""
    used, own = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                own.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                own.add(name)
            case ast.ClassDef(name=name):
                own.add(name)
            case ast.alias():
                own.add((node.asname or node.name).partition(".")[0])
            case ast.ExceptHandler(name=str(name)):
                own.add(name)
    return used - own - _BUILTIN


def _fitness(
    program: str, tree: ast.Module | None, language: str, mode: Mode, entry_point: str | None
) -> int:
    """How well a block does what is asked for; 0: not at all."""
    signs = LANGUAGES[language]
    if signs.main is not None:
        parts = sum(part.search(program) is not None for part in signs.parts)
        return 1 + parts if signs.main.search(program) else 0
    if mode == "function":
        if entry_point is None:
            return 0
        return _looks_bound(program, entry_point) if tree is None else _bound(tree, entry_point)
    if tree is None:
        return 2 + bool(_WRITES.search(program)) if _READS.search(program) else 0
    return 1 + _writes(tree) + _acts(tree) if _reads(tree) else 0


def _writes(tree: ast.Module) -> bool:
    """Whether a program prints, in any of the usual ways."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in _WRITERS:
                return True
            case ast.Call(func=ast.Name(id="open"), args=[ast.Constant(value=1), *_]):
                return True
    return False


def _acts(tree: ast.Module) -> bool:
    """Whether a program does something, rather than define what nothing calls."""
    nodes = [node for node in tree.body if not isinstance(node, _DEFINITIONS)]
    return any(isinstance(node, ast.Call) for one in nodes for node in ast.walk(one))


def _reads(tree: ast.Module) -> bool:
    """Whether a program reads its input, by a name that is not one of its own."""
    loaded, own = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                loaded.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                own.add(name)
            case ast.Attribute(attr="stdin" | "__stdin__", ctx=ast.Load()):
                return True
            case ast.Constant(value="/dev/stdin"):
                return True
            case ast.Call(
                func=ast.Name(id="open" | "read") | ast.Attribute(attr="open" | "read"),
                args=[ast.Constant(value=0), *_],
            ):
                return True
            case ast.Assign(
                targets=[ast.Attribute(attr="stdin")],
                value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)),
            ) if name in ("StringIO", "BytesIO"):
                own.add("input")  # a test of a program, with an input in its own text
    return not loaded.isdisjoint(_READERS - own)


def _bound(tree: ast.Module, name: str) -> int:
    """How a program binds a name: 4 defines, 3 assigns, 2 imports, 1 declares, 0 not at all."""
    return max((_binding(node, name) for node in _statements(tree.body)), default=0)


def _binding(node: ast.stmt, name: str) -> int:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name == name:
            lost = [arg.arg for arg in node.args.args[:1]] == ["self"]
            return 1 if lost or _is_stub(node.body) else 4
        case ast.ClassDef() if node.name == name:
            return 1 if _is_stub(node.body) else 4
        case ast.ClassDef():
            own = max((_method(inner, name) for inner in _statements(node.body)), default=0)
            return own or int(bool(node.bases)) if node.name == "Solution" else min(own, 1)
        case ast.Import() | ast.ImportFrom():
            names = [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
            return 2 if name in names else 0
    return 3 if name in _assigned(node) else 0


def _method(node: ast.stmt, name: str) -> int:
    """As ``_binding``, of a statement in a class."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return (1 if _is_stub(node.body) else 4) if node.name == name else 0
    return 4 if _binding(node, name) else 0


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run in one scope, those of ``if``, ``try`` and the like among them."""
    waiting = [*body]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for part in ("body", "orelse", "finalbody"):
                waiting += getattr(node, part, [])
            for part in ("handlers", "cases"):
                waiting += [inner for one in getattr(node, part, []) for inner in one.body]


def _assigned(node: ast.stmt) -> Iterator[str]:
    """The names that a statement itself assigns to."""
    match node:
        case ast.Assign():
            targets = [*node.targets]
        case ast.AnnAssign() if node.value is not None:
            targets = [node.target]
        case ast.For() | ast.AsyncFor():
            targets = [node.target]
        case ast.With() | ast.AsyncWith():
            targets = [item.optional_vars for item in node.items if item.optional_vars]
        case _:
            return
    for target in targets:
        for part in ast.walk(target):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id


def _is_stub(body: list[ast.stmt]) -> bool:
    """Whether a body is left out, in whole or with ``...`` in part."""
    said = [node.value for node in body if isinstance(node, ast.Expr)]
    constants = [value for value in said if isinstance(value, ast.Constant)]
    left_out = sum(isinstance(node, ast.Pass | ast.Raise) for node in body)
    return len(constants) + left_out == len(body) or any(one.value is ... for one in constants)


def _looks_bound(program: str, name: str) -> int:
    """As ``_bound``, of a program that does not parse."""
    word = re.escape(name)
    defines = rf"^(?:(?:async[ \t]+)?def|class)[ \t]+{word}\b"
    if re.search(r"^class[ \t]+Solution\b", program, re.M):
        defines += rf"|^[ \t]+(?:async[ \t]+)?def[ \t]+{word}\b"
    assigns = rf"^{word}[ \t]*(?::[^=\n]*)?=(?!=)"
    imports = rf"^(?:from[ \t]+\S+[ \t]+)?import[ \t].*\b{word}\b"
    patterns = {4: defines, 3: assigns, 2: imports}
    return next((how for how, one in patterns.items() if re.search(one, program, re.M)), 0)
