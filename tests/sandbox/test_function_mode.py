"""``mode="function"``: what is called, what is returned, and programs that lie about it."""

import json

import pytest

from rlef.languages import LANGUAGES
from rlef.problems import Test
from rlef.sandbox import Limits, Sandbox, TestReport, Verdict

QUICK = Limits(cpu_s=0.5, memory_mb=128, output_kb=64)


def call(
    sandbox: Sandbox, source: str, arguments: list[object], wanted: object, checker: str = "tokens"
) -> TestReport:
    test = Test(json.dumps(arguments), json.dumps(wanted))
    return sandbox.judge(
        source, [test], mode="function", entry_point="f", limits=QUICK, checker=checker
    ).tests[0]


@pytest.mark.parametrize(
    ("body", "wanted", "verdict"),
    [
        ("return a + b", 5, "AC"),
        ("return a + b", 6, "WA"),
        ("return float(a + b)", 5, "AC"),
        ("return a < b", True, "AC"),
        ("return a < b", 1, "WA"),
        ("return (a, [b])", [2, [3]], "AC"),
        ("return {'x': (a,), 'y': None}", {"y": None, "x": [2]}, "AC"),
        ("return {1: a}", {"1": 2}, "AC"),
        ("return {a, b}", [2, 3], "RE"),
        ("return None", None, "AC"),
        ("return 'é\\ud800'", "é\ud800", "AC"),
        ("print('noise'); return a", 2, "AC"),
        ("raise KeyError(a)", 2, "RE"),
        ("while True: pass", 2, "TLE"),
        ("return 'x' * 10 ** 6", 2, "OLE"),
        ("return [0] * 10 ** 9", 2, "MLE"),
        ("import sys; sys.exit(0)", 2, "RE"),
        ("import os; os._exit(0)", 2, "RE"),
        ("x = []; x.append(x); return x", [], "RE"),
    ],
)
def test_results_are_compared_as_json(
    sandbox: Sandbox, body: str, wanted: object, verdict: str
) -> None:
    report = call(sandbox, f"def f(a, b):\n    {body}", [2, 3], wanted)
    assert report.verdict == verdict, report


def test_report_shows_what_was_returned(sandbox: Sandbox) -> None:
    report = call(sandbox, "def f(a): return [a, a + 1]", [1], [1, 3])
    assert report.stdout == "[1, 2]"
    assert report.message == "expected '[1, 3]', got '[1, 2]'"


@pytest.mark.parametrize(
    "source",
    [
        "class Liar:\n    def __eq__(self, other): return True\ndef f(): return Liar()",
        "class Liar(int):\n    def __eq__(self, other): return True\ndef f(): return Liar()",
        "class Liar(list):\n    def __iter__(self): return iter([42])\ndef f(): return Liar()",
        "class Liar(str):\n    pass\ndef f(): return Liar('42')",
        "import json\njson.dumps = lambda *a, **k: '41'\ndef f(): return 41",
        "def f(): return f",
    ],
)
def test_liars_do_not_pass(sandbox: Sandbox, source: str) -> None:
    assert call(sandbox, source, [], 42).verdict in (Verdict.RE, Verdict.WA)


def test_patched_json_does_not_matter(sandbox: Sandbox) -> None:
    source = "import json\njson.dumps = json.loads = None\ndef f(a): return a"
    assert call(sandbox, source, [[1, {"k": 2.5}]], [1, {"k": 2.5}]).verdict is Verdict.AC


def test_missing_entry_point_is_said(sandbox: Sandbox) -> None:
    report = call(sandbox, "def g(): pass", [], 1)
    assert report.verdict is Verdict.RE
    assert report.message.endswith("NameError: the program does not define 'f'")


def test_the_main_guard_does_not_run(sandbox: Sandbox) -> None:
    source = "def f(): return 1\nif __name__ == '__main__':\n    f(input())"
    assert call(sandbox, source, [], 1).verdict is Verdict.AC


def test_floats_with_tolerance_when_asked(sandbox: Sandbox) -> None:
    source = "def f(): return [0.1 + 0.2, 7]"
    assert call(sandbox, source, [], [0.3, 7]).verdict is Verdict.WA
    assert call(sandbox, source, [], [0.3, 7], "float").verdict is Verdict.AC
    assert call(sandbox, source, [], [0.3, 8], "float").verdict is Verdict.WA
    assert call(sandbox, "def f(): return float('nan')", [], 0.3, "float").verdict is Verdict.WA


def test_a_prelude_shares_the_namespace_and_no_line_of_it_is_counted(sandbox: Sandbox) -> None:
    prelude = "import math\n\n\ndef twice(n):\n    return 2 * n\n"
    source = "from __future__ import annotations\ndef f(a: Undefined):\n    return twice(a) // {}\n"
    tests = [Test(f"[{n}]", f"{2 * n}") for n in range(3)]
    right = sandbox.judge(
        source.format(1), tests, prelude=prelude, mode="function", entry_point="f"
    )
    assert right.verdict is Verdict.AC
    wrong = sandbox.judge(
        source.format(0), tests, prelude=prelude, mode="function", entry_point="f"
    )
    assert 'File "solution.py", line 3, in f' in wrong.tests[0].message
    assert "return twice(a) // 0" in wrong.tests[0].message
    alone = sandbox.judge(source.format(1), tests, mode="function", entry_point="f")
    assert "NameError: name 'twice' is not defined" in alone.tests[0].message


def test_a_prelude_is_part_of_what_makes_jobs_equal_and_only_python_has_one(
    sandbox: Sandbox,
) -> None:
    for value in ("1", "2"):
        report = sandbox.judge("print(n)", [Test("", value)], prelude=f"n = {value}")
        assert report.verdict is Verdict.AC
    with pytest.raises(ValueError, match="a prelude is not possible in language 'cpp'"):
        sandbox.judge("int main() {}", [Test("", "")], prelude="n = 1", language="cpp")
    report = sandbox.judge("print(1)", [Test("", "1")], prelude="import numpy\nn = numpy.ones(1)")
    assert report.verdict is Verdict.AC


@pytest.mark.parametrize(
    "source",
    [
        *("import math, \\\n    numpy as np", "np = __import__('numpy')"),
        "from importlib import import_module\nnp = import_module('numpy')",
        "exec('import numpy as np')",
    ],
)
def test_whatever_way_a_program_imports_numpy_it_has_it(sandbox: Sandbox, source: str) -> None:
    report = sandbox.judge(f"{source}\nprint(np.arange(4).sum())", [Test("", "6")])
    assert report.verdict is Verdict.AC


def test_which_jail_a_program_needs_is_known_in_linear_time() -> None:
    assert LANGUAGES["python"].jail("import numpyx  # numpy") == "python"
    assert LANGUAGES["python"].jail("import " * 100_000 + "xnumpy") == "python"
