import ast
import json

import pytest

from rlef.problems.asserts import Assertion
from rlef.problems.literals import arguments_input, literal_value
from rlef.problems.syntax import parse_expression


def made(text: str, setup: str = "") -> tuple[object, object]:
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.Assert)
    test = Assertion("f", frozenset({"f", "candidate"}), setup).test(node)
    return json.loads(test.input), json.loads(test.output)


@pytest.mark.parametrize(
    ("text", "given", "wanted"),
    [
        ("f(1, 'a') == 2, 'says why'", [1, "a"], "2"),
        ("candidate([1.5]) == (1, 2.0 / 4)", [[1.5]], "(1, 0.5)"),
        ("3 == f({'a': None})", [{"a": None}], "3"),
        ("f((1,), {2}) == -1", {"call": "f((1,), {2})"}, "-1"),
        ("f(n=1) == 1", {"call": "f(n=1)"}, "1"),
        ("set(candidate(1)) == set([2])", {"call": "set(f(1))"}, "{2}"),
        ("f(Pair(1, 2)) == 1", {"call": "f(Pair(1, 2))"}, "1"),
        ("f(f(1)) == 1", {"call": "f(f(1))"}, "1"),
        ("f(float('inf')) == 1", {"call": "f(inf)", "setup": "from math import inf, nan"}, "1"),
    ],
)
def test_equalities(text: str, given: object, wanted: str) -> None:
    assert made(f"assert {text}") == (given, {"__python__": wanted})


@pytest.mark.parametrize(
    ("text", "given", "wanted"),
    [
        ("f(1)", [1], {"__check__": "result"}),
        ("not candidate(1)", [1], {"__check__": "not result"}),
        ("f(1) is True", [1], {"__check__": "result is True"}),
        ("abs(f(1) - 0.5) < 1e-6", [1], {"__check__": "abs(result - 0.5) < 1e-06"}),
        (
            "math.isclose(f(1), 2)",
            [1],
            {"__check__": "math.isclose(result, 2)", "setup": "import math"},
        ),
        (
            "f(1) == f(2)",
            {"call": "(f(1), f(2))"},
            {"__check__": "result[0] == result[1]"},
        ),
        ("f(1) == 1 != 2", [1], {"__check__": "result == 1 != 2"}),
        ("all(x > 0 for x in f(1))", [1], {"__check__": "all((x > 0 for x in result))"}),
    ],
)
def test_other_asserts(text: str, given: object, wanted: object) -> None:
    assert made(f"assert {text}") == (given, wanted)


def test_setup_comes_along() -> None:
    given, wanted = made("assert f(root) == 1", "root = Node(1)")
    assert given == {"call": "f(root)", "setup": "root = Node(1)"}
    _, wanted = made("assert f(1) == limit", "limit = 3")
    assert wanted == {"__check__": "result == limit", "setup": "limit = 3"}


@pytest.mark.parametrize(
    ("text", "words"), [("g(1) == 2", "does not call f"), ("f(1) == x", "needs 'x'")]
)
def test_what_cannot_be_judged(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(f"assert {text}")


@pytest.mark.parametrize(
    "text",
    ["1 + 2j", "frozenset({1})", "{**a}", "[f(1)]", "'a' + 'b'", "1 / 0", "...", "x", "2**9"],
)
def test_literals(text: str) -> None:
    node = parse_expression(text)
    if text in ("1 + 2j", "frozenset({1})"):
        assert literal_value(node) == eval(text)
    else:
        with pytest.raises(ValueError):
            literal_value(node)


def test_arguments_stay_exact() -> None:
    assert arguments_input("f", [1, [True, None, {"a": 1.5}]]) == '[1, [true, null, {"a": 1.5}]]'
    assert json.loads(arguments_input("f", [{1: 2}])) == {"call": "f({1: 2})"}
