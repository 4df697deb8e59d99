import pytest

from rlef.problems import Problem, Test
from rlef.problems.programs import whole_program

PRELUDE = "import math\nfrom typing import List\n\ndef twice(n):\n    return 2 * n\n\n"
PROBLEM = Problem(
    name="p",
    statement="s",
    public_tests=(Test("[1]", "2"),),
    private_tests=(),
    mode="function",
    entry_point="f",
    starter_code=PRELUDE + 'def f(n: int) -> int:\n    """Doc."""\n',
    prelude=PRELUDE,
)
METHOD = "class Solution:\n    def f(self, n): return 2\n"
OWN_NAMES = "import math\ntwice = List = None\n"
WHOLE = "def f(n: int) -> int:\n    return twice(n)\n"


@pytest.mark.parametrize(
    ("answer", "prelude", "source"),
    [
        (WHOLE, PRELUDE, WHOLE),
        (PRELUDE + WHOLE, "", PRELUDE + WHOLE),
        ("    return twice(n)\n", "", PROBLEM.starter_code + "    return twice(n)\n"),
        (METHOD, PRELUDE, METHOD),
        ("def f(n:\n", "", "def f(n:\n"),
        ("f = lambda n: twice(n)\n", PRELUDE, "f = lambda n: twice(n)\n"),
        ("def g(n): return 1\n", PRELUDE, "def g(n): return 1\n"),
        (OWN_NAMES, "", OWN_NAMES),
    ],
)
def test_answers_become_programs(answer: str, prelude: str, source: str) -> None:
    assert whole_program(PROBLEM, answer) == (prelude, source)


def test_most_problems_leave_answers_alone() -> None:
    plain = Problem(name="p", statement="s", public_tests=(), private_tests=())
    for answer in ("print(1)", "", "def f(", "\0"):
        assert whole_program(plain, answer) == ("", answer)
