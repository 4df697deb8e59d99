"""Programs to measure with. A sandbox runs equal jobs once, so each has a number of its own."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, Verdict

SORT = (
    "n = int(input())\nnumbers = list(map(int, input().split()))\nnumbers.sort()\nprint(*numbers)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownJob:
    """A job and the verdict that it must get."""

    job: JudgeJob
    verdict: Verdict


def doubling_jobs(*, first: int, programs: int, tests: int) -> list[JudgeJob]:
    """Programs that print twice a number, numbered from ``first`` on; no two inputs are equal."""
    return [
        JudgeJob(
            source=f"n=int(input()); print(n*2)\n# {number}",
            tests=tuple(doubling_tests(number * tests, tests)),
        )
        for number in range(first, first + programs)
    ]


def doubling_tests(first: int, count: int) -> list[Test]:
    """Tests of such programs on ``first`` and the numbers after it."""
    return [Test(f"{n}\n", f"{2 * n}\n") for n in range(first, first + count)]


def sorting_tests(*, seed: int, count: int, size: int) -> list[Test]:
    """``count`` different lists of ``size`` integers from 0 to 10^9 to be sorted by ``SORT``."""
    generator = random.Random(seed)
    tests = []
    for _ in range(count):
        numbers = [generator.randrange(10**9 + 1) for _ in range(size)]
        given = " ".join(map(str, numbers))
        tests.append(Test(f"{size}\n{given}\n", " ".join(map(str, sorted(numbers))) + "\n"))
    return tests


_RIGHT: list[tuple[str, Callable[[int], object]]] = [
    ("print(2 * int(input()))", lambda n: 2 * n),
    ("print(sum(range(int(input()) + 1)))", lambda n: n * (n + 1) // 2),
    ("print(input()[::-1])", lambda n: str(n)[::-1]),
    ("n = int(input())\nprint(sorted(str(n)))", lambda n: sorted(str(n))),
    (
        "def fib(k):\n    return k if k < 2 else fib(k - 1) + fib(k - 2)\n"
        "print(fib(12) + int(input()))",
        lambda n: 144 + n,
    ),
    (
        "from collections import Counter\nc = Counter(input())\nprint(max(c.values()))",
        lambda n: max(str(n).count(d) for d in str(n)),
    ),
    ("import math\nprint(math.gcd(int(input()), 360))", lambda n: math.gcd(n, 360)),
]
_WRONG = [
    "print(2 * int(input()) + 1)",
    "pass",
    "print(2 * int(input()), 'and more')",
    "print('0' + str(2 * int(input())))",
]
_CRASHES = [
    "print(1 // 0)",
    "import sys\nprint(2 * int(input()))\nsys.exit(3)",
    "raise ValueError(input())",
    "import os\nos._exit(7)",
    "def down(n):\n    return down(n + 1)\ndown(0)",
    "[][int(input())]",
]
_NO_PROGRAMS = ["print(1", "def f(:\n    pass", "if True:\nprint(1)", "x = = 1"]
_TALKATIVE = [
    "print('x' * 2000000)",
    "while True:\n    print('more and more' * 100)",
    "import sys\nsys.stdout.write('e' * 2000000)",
]
_GREEDY = [
    "numbers = [0] * 10 ** 10",
    "block = bytearray(4 << 30)",
    "blocks = []\nwhile True:\n    blocks.append(bytearray(64 << 20))",
]
_ENDLESS = ["while True: pass", "n = 0\nwhile True:\n    n += 1"]
_FAILING = {
    Verdict.WA: _WRONG,
    Verdict.RE: _CRASHES,
    Verdict.CE: _NO_PROGRAMS,
    Verdict.OLE: _TALKATIVE,
    Verdict.MLE: _GREEDY,
    Verdict.TLE: _ENDLESS,
}
_OF_A_HUNDRED = [
    (Verdict.AC, 50),
    (Verdict.WA, 16),
    (Verdict.RE, 15),
    (Verdict.CE, 8),
    (Verdict.OLE, 6),
    (Verdict.MLE, 4),
    (Verdict.TLE, 1),
]
_PLAN = [verdict for verdict, count in _OF_A_HUNDRED for _ in range(count)]
_STEP = 37
"""Prime to 100: mixes the kinds, and each hundred jobs still have the shares above."""
_LIMITS = Limits(cpu_s=5.0, memory_mb=256, output_kb=256)
_SHORT = Limits(cpu_s=0.3, memory_mb=256, output_kb=256)


def equal_jobs(count: int, *, first: int) -> list[JudgeJob]:
    """Programs of one test and some milliseconds, so many that each worker's last is one of them.

    Args:
        count: Number of programs.
        first: Number of the first one.
    """
    work = "print(sum(i * i for i in range(200_000)) % 2)"
    return [
        JudgeJob(source=f"{work}\n# {number}", tests=(Test("", "0\n"),), limits=_LIMITS)
        for number in range(first, first + count)
    ]


def mixed_jobs(count: int, *, first: int = 0, tests: int = 1, slow: bool = True) -> list[KnownJob]:
    """Programs with all verdicts but IE, none of them near its limits.

    Args:
        count: Number of programs.
        first: Number of the first one.
        tests: Tests of each program.
        slow: Let one in a hundred be cut at 0.3 s; otherwise that one is accepted.
    """
    return [_mixed_job(number, tests, slow) for number in range(first, first + count)]


def _mixed_job(number: int, tests: int, slow: bool) -> KnownJob:
    verdict = _PLAN[number * _STEP % len(_PLAN)]
    if verdict is Verdict.TLE and not slow:
        verdict = Verdict.AC
    source, answer = _RIGHT[number % len(_RIGHT)]
    if verdict is not Verdict.AC:
        _, answer = _RIGHT[0]
        source = _FAILING[verdict][number % len(_FAILING[verdict])]
    numbers = range(1 + number * tests, 1 + (number + 1) * tests)
    job = JudgeJob(
        source=f"{source}\n# {number}",
        tests=tuple(Test(f"{n}\n", f"{answer(n)}\n") for n in numbers),
        limits=_SHORT if verdict is Verdict.TLE else _LIMITS,
    )
    return KnownJob(job=job, verdict=verdict)
