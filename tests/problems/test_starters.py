"""Answers behind starter code: every usual beginning and every indentation give one program."""

import typing
from collections.abc import Callable
from typing import Any

import pytest

from rlef.problems import Problem
from rlef.problems.livecodebench import PRELUDE
from rlef.problems.programs import whole_program
from rlef.problems.starters import continued

METHOD = "class Solution:\n    def total(self, nums: List[int]) -> int:\n        "
FUNCTION = "def total(nums):\n    "
STARTERS = {
    "blanks": METHOD,
    "a line": METHOD.rstrip(" "),
    "a colon": METHOD.rstrip(),
    "a docstring": METHOD + '"""Doc."""',
    "a docstring and blanks": METHOD + '"""Doc.\n\n  More.\n        """\n        ',
    "a comment": METHOD + "# code here",
    "docstring and comment": METHOD + '"""Doc."""\n        # code here',
    "a comment at the left": METHOD.rstrip() + "\n# your code\n",
    "crlf": METHOD.replace("\n", "\r\n"),
    "another method": METHOD.replace(":\n", ":\n    def other(self): return 1\n", 1),
    "function": FUNCTION,
    "function, tab": "\ndef total(nums):\n\t",
    "function, line": FUNCTION.rstrip(" "),
    "async": f"async {FUNCTION}",
    "pass": FUNCTION + "pass",
    "helper": "def one(x):\n    return x\n\n" + FUNCTION + "'''Doc.\n    '''\n",
}
BODIES = (
    ["return sum(nums)"],
    ["# go", "s = 0", "for n in nums:", "    s += n", "return s"],
    ["if nums:", "    return sum(nums)", "return 0"],
)


def called(program: str) -> object:
    names: dict[str, Any] = {"List": list}
    exec(compile(program, "program", "exec"), names)
    function: Callable[[list[int]], Any] = (
        names["Solution"]().total if "Solution" in names else names["total"]
    )
    result = function([1, 2, 3])
    if isinstance(result, typing.Coroutine):
        with pytest.raises(StopIteration) as caught:
            result.send(None)
        return caught.value.value
    return result


@pytest.mark.parametrize("starter", STARTERS.values(), ids=STARTERS)
@pytest.mark.parametrize("body", BODIES, ids=["one", "several", "nested"])
def test_bodies_of_any_indentation_go_on(starter: str, body: list[str]) -> None:
    for indent in ("", "  ", "    ", " " * 8, " " * 12, "\t", "\t\t"):
        whole = "\n".join(indent + line for line in body)
        stripped = [whole.lstrip()] if body[0][0] != "#" else []
        for answer in (whole, f"{whole}\n", f"\n{whole}", whole.replace("\n", "\r\n"), *stripped):
            program = continued(starter, answer, "total")
            assert program is not None and called(program) == 6, (answer, program)


@pytest.mark.parametrize(
    ("starter", "answer"),
    [
        (METHOD, METHOD + "return sum(nums)"),
        (METHOD, METHOD.split("\n")[1] + "\n        return sum(nums)\n"),
        (METHOD, "def total(self, nums):\n    return sum(nums)\n"),
        (METHOD, "import math\n\ndef total(self, nums):\n    return math.fsum(nums)\n"),
        (
            METHOD,
            "def total(self, nums):\n    return self.go(nums)\ndef go(self, n): return sum(n)",
        ),
        (
            METHOD,
            "def total(self, a):\n        return self.s(a)\n\n    def s(self, a): return sum(a)",
        ),
        (METHOD, "        return self.s(nums)\n\n    def s(self, a): return sum(a)\n"),
        (METHOD, "return s(nums)\n\ndef s(a): return sum(a)\n"),
        (METHOD, "        return sum(nums)\n\nprint(Solution().total([1]))\n"),
        (METHOD, "def total(nums): return sum(nums)\n"),
        (METHOD, "total = sum\n"),
        (FUNCTION, "    def total(nums):\n        return sum(nums)\n"),
        (FUNCTION, "    text = '''a\n    b'''\n    return sum(nums) + text.count(' ') - 4\n"),
        (FUNCTION, "text = '''a\nb'''\nreturn sum(nums) + text.count(' ')\n"),
        (FUNCTION + "return ", "sum(nums)\n"),
        (FUNCTION + "return sum(", "nums)\n"),
        ("def total(nums):", " return sum(nums)\n"),
        ("from operator import add\ndef total(nums): ", "return add(0, sum(nums))"),
    ],
)
def test_other_answers(starter: str, answer: str) -> None:
    assert called(continued(starter, answer, "total") or answer) == 6


def test_what_changes_its_argument_goes_on_as_well() -> None:
    for answer in ("nums.sort()", "nums.sort()\nnums.pop()", "nums.sort()\n        nums.pop()"):
        program = continued(METHOD, answer, "total")
        assert program is not None and called(program) is None and "        nums.sort()" in program


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "def other(nums):\n    return 1\n",
        "class Other:\n    pass\n",
        "        return (1\n",
        "The answer is 3.",
        "#include <cstdio>\nint main() {}\n",
    ],
)
def test_what_cannot_go_on_stays_as_it_is(answer: str) -> None:
    assert continued(METHOD, answer, "total") is None


def test_preludes_stay_unless_starter_or_program_bring_them() -> None:
    problem = Problem(
        name="p",
        statement="s",
        public_tests=(),
        private_tests=(),
        mode="function",
        entry_point="total",
        starter_code=METHOD,
        prelude=PRELUDE,
    )
    assert whole_program(problem, "        return sum(nums)\n").prelude == PRELUDE


@pytest.mark.parametrize(
    ("prelude", "answer", "kept"),
    [
        ("from typing import List\n", "T = List[int]\ndef f(n: T): return n\n", True),
        (
            "from typing import List\n",
            "try:\n    from typing import List\nfinally:\n    pass\n",
            False,
        ),
        ("import sys\nsys.setrecursionlimit(9999)\n", "import sys\nprint(1)\n", True),
        ("import math\n", "def f():\n    import math\n", True),
        ("def math(): pass\n", "print([math for math in (1,)])\n", True),
        ("import math\n", "for math in (1,): pass\n", False),
        ("import numpy as np\n", "print(1)\n", False),
        ("import numpy as np\n", "print(np.ones(1))\n", True),
        ("import numpy as np\ndef h(): return np.ones(1)\n", "print(h())\n", True),
    ],
)
def test_preludes_stay_where_a_name_is_missing(prelude: str, answer: str, kept: bool) -> None:
    problem = Problem(name="p", statement="s", public_tests=(), private_tests=(), prelude=prelude)
    given = whole_program(problem, answer).prelude
    assert given == (prelude if kept else given) and bool(given.strip()) is kept


def test_only_numpy_is_left_out() -> None:
    from rlef.problems.apps import PRELUDE as APPS

    problem = Problem(name="p", statement="s", public_tests=(), private_tests=(), prelude=APPS)
    assert whole_program(problem, "print(np.ones(n))").prelude == APPS
    lean = whole_program(problem, "print(sqrt(4))").prelude
    assert "numpy" not in lean and "from heapq import *" in lean
    cpp = Problem(
        name="p", statement="s", public_tests=(), private_tests=(), prelude=APPS, language="cpp"
    )
    assert whole_program(cpp, "1").prelude == ""
