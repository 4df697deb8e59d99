"""Which function a test calls: what the program binds, never what only the prelude binds."""

import json

import pytest

from rlef.problems import Test
from rlef.problems.livecodebench import PRELUDE
from rlef.sandbox import JudgeJob, Sandbox

METHOD = "class Solution:\n    def {}(self, a):\n        return a\n"
FUNCTION = "def {}(a):\n    return a\n"
NAMES = ("count", "search", "compress", "merge", "add", "mode", "sum", "median", "match", "split")


def job(source: str, name: str, prelude: str = PRELUDE, given: object = None) -> JudgeJob:
    given = [[3, 1]] if given is None else given
    return JudgeJob(
        source=source,
        tests=(Test(json.dumps(given), "[3, 1]"),),
        mode="function",
        entry_point=name,
        prelude=prelude,
        checker="compat:lcb-call",
    )


def verdicts(sandbox: Sandbox, jobs: list[JudgeJob]) -> list[str]:
    return [report.verdict.value for report in sandbox.judge_many(jobs)]


def test_no_name_of_a_prelude_shadows_the_program(sandbox: Sandbox) -> None:
    forms = (
        METHOD,
        FUNCTION,
        "{} = lambda a: a\n",
        "class Solution:\n    {} = staticmethod(list)\n",
    )
    jobs = [job(form.format(name), name) for name in NAMES for form in forms]
    calls = [
        job(form.format(name), name, given={"call": f"[{name}(a) for a in [[3, 1]]][0]"})
        for name in NAMES[:3]
        for form in (METHOD, FUNCTION)
    ]
    assert verdicts(sandbox, [*jobs, *calls]) == ["AC"] * (len(jobs) + len(calls))


COUNT = "from itertools import *\n"


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("from itertools import chain as count\ncount = count.from_iterable\n", "RE"),  # not plain
        ("def count(a):\n    return 0\nclass Solution:\n    def count(self, a): return a\n", "AC"),
        ("count = 0\nclass Solution:\n    def count(self, a): return a\n", "AC"),
        ("class Solution:\n    count = 0\ndef count(a): return a\n", "AC"),
        ("class Solution:\n    pass\ndef count(a): return a\n", "AC"),
        ("class Base:\n    def count(self, a): return a\nclass Solution(Base): pass\n", "AC"),
        ("class Solution:\n    @classmethod\n    def count(cls, a): return a\n", "AC"),
        ("class Solution:\n    def __init__(self): self.count = list\n", "AC"),
        ("class Solution:\n    def count(self, a): return a[:next(count(2))]\n", "AC"),
        ("import functools\ncount = functools.partial(sorted, key=lambda n: -n)\n", "AC"),
        ("import functools\n@functools.lru_cache\ndef count(*a): return 0\ncount = list\n", "AC"),
        ("def make():\n    global count\n    def count(a): return a\nmake()\n", "AC"),
        ("globals()['count'] = list\n", "AC"),
        ("from builtins import list as count\n", "AC"),
        ("class Solution: pass\nSolution.count = lambda self, a: a\n", "AC"),
        ("class Solution:\n    def count(self, a): return a\nSolution = Solution()\n", "AC"),
        ("def count(a): return a\ndel count\n", "RE"),
        ("x = next(count())\n", "RE"),
        ("", "RE"),
    ],
)
def test_what_the_program_binds_is_called(sandbox: Sandbox, source: str, verdict: str) -> None:
    inputs = ([[3, 1]], {"call": "count([3, 1])", "setup": "x = 1"})
    jobs = [job(source, "count", COUNT, given) for given in inputs]
    assert verdicts(sandbox, jobs) == [verdict, verdict]


def test_importing_what_the_prelude_has_is_binding_it(sandbox: Sandbox) -> None:
    for source, verdict in (("from heapq import nlargest", "AC"), ("from heapq import *", "AC")):
        given = [2, [1, 3]]
        assert verdicts(sandbox, [job(source, "nlargest", PRELUDE, given)]) == [verdict]
    for source in ("import heapq", "print(nlargest)"):
        report = sandbox.judge_many([job(source, "nlargest", PRELUDE, [2, [1, 3]])])[0]
        assert report.tests[0].message.endswith("the program does not define 'nlargest'")


def test_a_class_of_the_prelude_is_not_the_programs(sandbox: Sandbox) -> None:
    prelude = "class Solution:\n    def f(self, a): return a\n"
    own = "class Solution(Solution):\n    pass\n"
    jobs = [job(source, "f", prelude) for source in ("", "def f(a): return a", own)]
    assert verdicts(sandbox, jobs) == ["RE", "AC", "AC"]


def test_functions_called_like_attributes_of_classes(sandbox: Sandbox) -> None:
    sources = [FUNCTION.format("mro"), METHOD.format("mro"), "class Solution: pass\n"]
    jobs = [job(source, "mro", "") for source in [*sources, sources[2] + sources[0]]]
    assert verdicts(sandbox, jobs) == ["AC", "AC", "RE", "AC"]


def test_methods_may_use_what_they_are_called_like(sandbox: Sandbox) -> None:
    source = "def f(a): return a\nclass Solution:\n    def f(self, a): return f(a)\n"
    jobs = [job(source, "f", "", given) for given in ([[3, 1]], {"call": "f([3, 1])"})]
    assert verdicts(sandbox, jobs) == ["AC", "AC"]
