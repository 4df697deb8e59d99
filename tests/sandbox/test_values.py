"""Forms of tests beyond JSON: calls with setup, Python values, checks; and who lies about them."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlef.problems import Test
from rlef.sandbox import Limits, Sandbox, TestReport
from rlef.sandbox.values import LongInteger, read_literal, read_result

QUICK = Limits(cpu_s=1.0, memory_mb=256, output_kb=256)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
HASHABLE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=8,
)
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=3)
    ),
    max_leaves=12,
)


def python(literal: str) -> str:
    return json.dumps({"__python__": literal})


def check(expression: str, setup: str | None = None) -> str:
    return json.dumps({"__check__": expression} | ({} if setup is None else {"setup": setup}))


def run(
    sandbox: Sandbox, source: str, given: str, wanted: str, checker: str = "tokens"
) -> TestReport:
    return sandbox.judge(
        source,
        [Test(given, wanted)],
        mode="function",
        entry_point="f",
        limits=QUICK,
        checker=checker,
    ).tests[0]


def returning(sandbox: Sandbox, value: str, wanted: str, checker: str = "tokens") -> TestReport:
    return run(sandbox, f"def f(): return {value}", "[]", wanted, checker)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_what_repr_writes_is_read(value: object) -> None:
    assert read_literal(repr(value)) == value
    assert type(read_literal(repr(value))) is type(value)


@pytest.mark.parametrize(
    "text",
    ["", "1 2", "[1", "]", "(1)", "{1:}", "{1:2, 3}", "{1, 2: 3}", "[,]", "[1,,2]", "[1:2]", "(,)",
     "f()", "__import__('os')", "1+1", "{[1]}", "{[1]: 2}", "'a' 'b'", "'\\U00110000'", "'\\d'",
     "frozenset({1}", "[1]]", "[" * 200 + "]" * 200, "{:}", "infinity", "1_000", "0x10", "'\n'"],
)  # fmt: skip
def test_nothing_else_is_read(text: str) -> None:
    with pytest.raises(ValueError):
        read_literal(text)


def test_odd_numbers_are_read() -> None:
    assert read_literal("-inf") == -math.inf
    assert isinstance(value := read_literal("[nan]"), list) and math.isnan(value[0])
    assert read_literal("9" * 5000) == LongInteger("9" * 5000)
    assert repr(read_literal("[" + "9" * 5000 + "]")) == "[" + "9" * 5000 + "]"
    assert read_result(b'{"__python__": "(1,)"}') == (1,)
    assert read_result(b'{"__python__": 3}') == {"__python__": 3}


def test_keys_that_collide_are_refused_in_linear_time() -> None:
    keys = ", ".join(str(n * (2**61 - 1)) for n in range(20_000))
    others = ", ".join(map(str, range(20_000)))
    for items in (keys, f"{others}, {keys}"):
        with pytest.raises(ValueError, match="the same hash"):
            read_literal(f"{{{items}}}")


@pytest.mark.parametrize(
    ("value", "wanted", "verdict"),
    [
        ("(1, 2)", "(1, 2)", "AC"),
        ("[1, 2]", "(1, 2)", "WA"),
        ("(1, 2)", "[1, 2]", "WA"),
        ("1", "1.0", "AC"),
        ("True", "1", "AC"),
        ("'1'", "1", "WA"),
        ("{2, 1}", "{1, 2}", "AC"),
        ("frozenset({1})", "{1}", "AC"),
        ("{(1, 2): {3}}", "{(1, 2): {3}}", "AC"),
        ("{1: 'a'}", "{'1': 'a'}", "WA"),
        ("float('inf')", "inf", "AC"),
        ("float('nan')", "nan", "WA"),
        ("b'x'", "b'x'", "AC"),
        ("1j", "1j", "AC"),
        ("10 ** 5000", "1" + "0" * 5000, "AC"),
        ("__import__('collections').Counter('aab')", "{'a': 2, 'b': 1}", "AC"),
        ("__import__('collections').OrderedDict(b=1, a=2)", "{'a': 2, 'b': 1}", "AC"),
        ("{'__python__': '(1, 2)'}", "(1, 2)", "WA"),
        ("{'__python__': '(1, 2)'}", "{'__python__': '(1, 2)'}", "AC"),
        ("[0.1 + 0.2]", "[0.3]", "WA"),
        ("object()", "1", "RE"),
        ("range(3)", "[0, 1, 2]", "RE"),
    ],
)
def test_python_values_are_compared_with_equals(
    sandbox: Sandbox, value: str, wanted: str, verdict: str
) -> None:
    report = returning(sandbox, value, python(wanted))
    assert report.verdict == verdict, report
    assert "\n" not in report.message or verdict == "RE"


@pytest.mark.parametrize(
    ("value", "wanted", "verdict"),
    [
        ("[0.1 + 0.2, (1,)]", "[0.3, (1,)]", "AC"),
        ("{'a': (0.1 + 0.2,)}", "{'a': (0.3,)}", "AC"),
        ("[0.1 + 0.2]", "(0.3,)", "WA"),
        ("1000000001", "1000000000", "WA"),
        ("2", "2.0000000001", "AC"),
        ("10 ** 400", "1.5", "WA"),
    ],
)
def test_expected_floats_may_be_near(
    sandbox: Sandbox, value: str, wanted: str, verdict: str
) -> None:
    assert returning(sandbox, value, python(wanted), "float").verdict == verdict


def test_json_takes_tuples_but_no_sets(sandbox: Sandbox) -> None:
    assert returning(sandbox, "(1, (2,))", "[1, [2]]").verdict == "AC"
    report = returning(sandbox, "{1, 2}", "[1, 2]")
    assert report.verdict == "RE"
    assert report.message.endswith("returned a value of type set, which is not JSON")
    assert returning(sandbox, "(10 ** 700,)", "[1" + "0" * 700 + "]").verdict == "AC"


@pytest.mark.parametrize(
    ("value", "wanted", "verdict"),
    [
        ("0.3333", check("abs(result - 1 / 3) < 1e-3"), "AC"),
        ("0.3", check("abs(result - 1 / 3) < 1e-3"), "WA"),
        ("None", check("abs(result) < 1"), "WA"),
        ("[3, 1]", check("sorted(result) == [1, 3] and args == []"), "AC"),
        ("(1, {2})", check("result == (1, {2})"), "AC"),
        ("float('inf')", check("math.isinf(result)"), "AC"),
        ("4", check("double(2) == result", "def double(n): return 2 * n"), "AC"),
        ("True", check("result is True"), "AC"),
        ("10 ** 9", check("sum(range(result)) > 0"), "WA"),
        ("'x\\nbreak'", check("result == 1"), "WA"),
    ],
)
def test_checks(sandbox: Sandbox, value: str, wanted: str, verdict: str) -> None:
    report = returning(sandbox, value, wanted)
    assert report.verdict == verdict, report
    assert "\n" not in report.message


def test_a_check_says_what_it_asks(sandbox: Sandbox) -> None:
    report = returning(sandbox, "2", check("result > 3"))
    assert report.message == "the check 'result > 3' of the result '2' is not true"
    report = returning(sandbox, "'a'", check("result > 3"))
    assert "fails: TypeError: '>' not supported between instances of 'str'" in report.message


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"call": "f((1, 2), {3})"}, "6"),
        ({"call": "f(pair, {3})", "setup": "pair = Pair(1, 2)"}, "6"),
        ({"call": "str(f((1, 2), other={3}))"}, '"6"'),
    ],
)
def test_calls_run_in_the_program(sandbox: Sandbox, given: dict[str, str], wanted: str) -> None:
    source = """
class Pair(tuple):
    def __new__(cls, a, b): return super().__new__(cls, (a, b))
def f(pair, other): return sum(pair) + sum(other)
"""
    assert run(sandbox, source, json.dumps(given), wanted).verdict == "AC"


def test_methods_of_solution_are_found(sandbox: Sandbox) -> None:
    source = "class Solution:\n    def f(self, n): return n + 1"
    assert run(sandbox, source, "[1]", "2").verdict == "AC"
    report = run(sandbox, "class Solution: pass", "[1]", "2")
    assert report.message.endswith("NameError: the program does not define 'f'")


LIES = {
    "equal to everything": "class A:\n    def __eq__(self, o): return True\ndef f(): return A()",
    "in a tuple": "class A(int):\n    def __eq__(self, o): return True\ndef f(): return (A(1), 2)",
    "tuple subclass": "class A(tuple):\n    def __eq__(self, o): return True\ndef f(): return A()",
    "counter subclass": (
        "import collections\nclass A(collections.Counter):\n    def items(self): return []\n"
        "def f(): return A('aa')"
    ),
    "patched repr": "import builtins\nbuiltins.repr = lambda v: '(7, 8)'\ndef f(): return (1, 2)",
    "own repr": "class A:\n    def __repr__(self): return '(7, 8)'\ndef f(): return A()",
    "code as text": "def f(): return ('__import__(\"os\")._exit(0)',)",
    "forged": (
        'import os\ndef f():\n    os.write(3, b\'{"__python__": "(7, 8)"}\')\n    os._exit(0)'
    ),
}


@pytest.mark.parametrize("source", LIES.values(), ids=LIES.keys())
def test_liars_do_not_pass(sandbox: Sandbox, source: str) -> None:
    for wanted in (python("(7, 8)"), check("result == (7, 8)"), "[7, 8]"):
        assert run(sandbox, source, "[]", wanted).verdict in ("RE", "WA")


def test_the_expected_value_never_comes_to_the_program(sandbox: Sandbox) -> None:
    source = """
import gc, sys
def f(n):
    frame, seen = sys._getframe(), []
    while frame:
        seen += [repr(frame.f_locals), repr(frame.f_globals)]
        frame = frame.f_back
    seen += [repr(o) for o in gc.get_objects() if type(o) in (dict, list, tuple)]
    wanted = "".join(reversed("885522114477"))
    return any(wanted in text for text in seen)
"""
    for wanted in (python("774411225588"), check("result == 774411225588"), "774411225588"):
        report = run(sandbox, source, "[1]", wanted)
        assert report.verdict == "WA"
        assert report.stdout == "false"


def test_programs_keep_the_limit_on_digits(sandbox: Sandbox) -> None:
    for _ in range(2):
        assert returning(sandbox, "10 ** 5000", python("1" + "0" * 5000)).verdict == "AC"
        report = returning(sandbox, "len(str(10 ** 5000))", "5001")
        assert report.verdict == "RE"
        assert "set_int_max_str_digits" in report.message


SUBCLASSES = """
import enum
import numpy as np
from collections import *
from typing import NamedTuple
class P(NamedTuple):
    x: int
    y: int
class E(enum.IntEnum): A = 5
class F(enum.IntFlag): A = 5
class SE(str, enum.Enum): A = 'a'
class S(str):
    def __str__(self): return 'liar'
    def __repr__(self): return 'liar'
class I(int):
    def __int__(self): return 42
    def __index__(self): return 42
    def __eq__(self, o): return True
    __hash__ = int.__hash__
class L(list):
    def __iter__(self): return iter([42])
    def __len__(self): return 1
class D(dict):
    def items(self): return [(1,2)]
class T(tuple): pass
class SS(set): pass
class FS(frozenset): pass
class FL(float):
    def __float__(self): return 1.0
class C(complex): pass
class B(bytes): pass
"""


def test_what_is_built_on_plain_types_counts_as_that(sandbox: Sandbox) -> None:
    """Whatever it says of itself: no method of the program is asked."""
    wanted = {
        "np.bool_(True)": "true",
        "np.int64(5)": "5",
        "np.float64(2.5)": "2.5",
        "np.float32(2.5)": "2.5",
        "np.str_('a')": '"a"',
        "np.median([1,2])": "1.5",
        "np.all([1])": "true",
        "P(1,2)": "[1,2]",
        "[P(1,2)]": "[[1,2]]",
        "E.A": "5",
        "F.A": "5",
        "SE.A": '"a"',
        "S('x')": '"x"',
        "I(3)": "3",
        "L([1,2])": "[1,2]",
        "D(a=1)": '{"a":1}',
        "Counter('aa')": '{"a":2}',
        "OrderedDict(a=1)": '{"a":1}',
        "defaultdict(int,a=1)": '{"a":1}',
        "T((1,))": '{"__python__":"(1,)"}',
        "SS({1})": '{"__python__":"{1}"}',
        "FS({1})": '{"__python__":"frozenset({1})"}',
        "FL(2.5)": "2.5",
        "C(1j)": '{"__python__":"1j"}',
        "B(b'x')": '{"__python__":"b\'x\'"}',
        "{E.A: S('k')}": '{"__python__":"{5: \'k\'}"}',
        "{S('k'): 1}": '{"k": 1}',
    }
    calls = [Test(json.dumps({"call": call}), output) for call, output in wanted.items()]
    others = ("deque([1])", "np.array([1])", "np.array(5)", "object()")
    calls += [Test(json.dumps({"call": call}), "5") for call in others]
    report = sandbox.judge(SUBCLASSES, calls, mode="function", entry_point="f")
    assert [test.verdict for test in report.tests] == ["AC"] * len(wanted) + ["RE"] * len(others)
    assert report.tests[-1].message.endswith("a value of type object, which is not plain")
