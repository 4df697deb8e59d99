"""Judging recorded programs: how busy it keeps the machine, and what two kills cost.

usage: judge_samples.py [PROGRAMS]

Writes PROGRAMS (10,000) programs of 10 tests each, a third of them wrong at a random test, and runs
``rlef eval --samples-file`` on them twice: once from start to end, once killed with SIGKILL at two
random moments and started again. Nothing else should run meanwhile: the share of busy CPU is the
whole machine's (/proc/stat), from the first report to the last.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rlef.problems import Problem, Test
from rlef.problems.jsonl import write_jsonl
from rlef.run import RunFolder

TESTS = 10
FAMILIES = {
    "double": ("print(2 * int(input()) + {wrong})", lambda n: 2 * n),
    "sum": ("print(sum(range(int(input()) + 1)) + {wrong})", lambda n: n * (n + 1) // 2),
    "sort": (
        "n = int(input())\nv = sorted((i * 7919) % (n + 1) for i in range(n))\n"
        "print(sum(a * b for a, b in enumerate(v)) + {wrong})",
        lambda n: sum(a * b for a, b in enumerate(sorted((i * 7919) % (n + 1) for i in range(n)))),
    ),
    "sieve": (
        "n = int(input())\ns = [True] * (n + 1)\nfor i in range(2, n + 1):\n"
        "    for j in range(2 * i, n + 1, i):\n        s[j] = False\n"
        "print(sum(s[2:]) + {wrong})",
        lambda n: sum(all(m % d for d in range(2, int(m**0.5) + 1)) for m in range(2, n + 1)),
    ),
}


def main(count: int = 10_000) -> None:
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        expected = write_files(place, count, rng)
        began = time.perf_counter()
        busy, judging_s = whole_run(command(place, "whole"), place / "whole")
        whole_s = time.perf_counter() - began
        check(place / "whole", expected, sessions=1)
        tests = sum(len(verdicts) for verdicts in expected)
        print(
            f"{count} programs, {tests} tests judged in {judging_s:.0f} s (whole command "
            f"{whole_s:.0f} s): {tests / judging_s:.0f} tests/s, "
            f"{100 * busy:.1f} % of {os.cpu_count()} CPUs busy"
        )
        at = sorted(rng.uniform(0.05, 0.95) for _ in range(2))
        for share in at:
            killed(command(place, "killed"), place / "killed", int(share * count))
        subprocess.run(command(place, "killed"), check=True, capture_output=True)
        check(place / "killed", expected, sessions=3)
        print(
            f"killed at {at[0]:.0%} and {at[1]:.0%}: every program judged once, same outcomes "
            "and counts"
        )


def write_files(place: Path, count: int, rng: random.Random) -> list[list[bool]]:
    """The problems and the samples; returns what each sample's judged tests come to."""
    problems = []
    for name, (_, answer) in FAMILIES.items():
        inputs = rng.sample(range(10, 3000), TESTS)
        cases = tuple(Test(str(n), str(answer(n))) for n in inputs)
        problems.append(
            Problem(name=name, statement=name, public_tests=cases[:2], private_tests=cases[2:])
        )
    write_jsonl(problems, place / "data.jsonl")
    expected, lines = [], []
    for i in range(count):
        problem = rng.choice(problems)
        source, _ = FAMILIES[problem.name]
        tests = [*problem.public_tests, *problem.private_tests]
        fails_at = rng.randrange(TESTS) if rng.random() < 1 / 3 else None
        if fails_at is None:
            program = source.format(wrong="0")
            expected.append([True] * TESTS)
        else:
            told = int(tests[fails_at].output)
            program = "_print = print\nprint = lambda x: _print(x + (x == " + str(told) + "))\n"
            program += source.format(wrong="0")
            first = next(k for k, test in enumerate(tests) if int(test.output) == told)
            expected.append([True] * first + [False])
        lines.append(json.dumps({"task_id": problem.name, "solution": f"{program}  # {i}"}))
    (place / "samples.jsonl").write_text("\n".join(lines))
    return expected


def command(place: Path, out: str) -> list[str]:
    words = ["eval", "--samples-file", str(place / "samples.jsonl"), "--data"]
    words += [f"jsonl:{place / 'data.jsonl'}", "--out", str(place / out)]
    return [sys.executable, "-m", "rlef.cli.main", *words]


def whole_run(words: list[str], out: Path) -> tuple[float, float]:
    """Runs the command to its end; returns the share of busy CPU and the seconds of judging."""
    path = out / "rollouts" / "eval.jsonl"
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not path.exists() or path.stat().st_size == 0:
        if process.poll() is not None:
            raise SystemExit(f"judge_samples.py: the command ended with {process.returncode}")
        time.sleep(0.05)
    marks = [(time.perf_counter(), *cpu_ticks())]
    while process.poll() is None:
        changed = path.stat().st_mtime
        time.sleep(0.1)
        if path.stat().st_mtime != changed:
            marks.append((time.perf_counter(), *cpu_ticks()))
    first, last = marks[0], marks[-1]
    return (last[1] - first[1]) / (last[2] - first[2]), last[0] - first[0]


def cpu_ticks() -> tuple[int, int]:
    """Ticks that the CPUs were busy, and all of them."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = numbers[3] + numbers[4]
    return sum(numbers) - idle, sum(numbers)


def killed(words: list[str], out: Path, least: int) -> None:
    """Starts the command and kills it, with all of its processes, at so many results."""
    path = out / "rollouts" / "eval.jsonl"
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not path.exists() or path.read_bytes().count(b"\n") < least:
        if process.poll() is not None:
            raise SystemExit(f"judge_samples.py: the command ended with {process.returncode}")
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check(out: Path, expected: list[list[bool]], sessions: int) -> None:
    entries = RunFolder.open(out).read_rollouts("eval")
    assert sorted(entry["place"] for entry in entries) == list(range(len(expected)))
    assert all(entry["solved"] == expected[entry["place"]][-1] for entry in entries)
    assert len({entry["session"] for entry in entries}) == sessions
    summary = RunFolder.open(out).read_summary()
    assert summary is not None
    rate = sum(verdicts[-1] for verdicts in expected) / len(expected)
    by_problem = summary["metrics"]["pass@1"]["estimate"]
    assert abs(by_problem - rate) < 0.05, (by_problem, rate)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
