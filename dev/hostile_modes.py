"""Runs the hostile set in a chosen kind of jail and compares verdicts, outputs and messages.

usage: python dev/hostile_modes.py [--mode MODE] [--nobody] [--only WORDS] [--save FILE]
                                   [--like FILE]

MODE is ``c`` (default), ``python``, ``landlock`` or ``landlock-python``. ``--nobody`` gives up root
first. ``--only`` chooses programs whose ids hold one of the words. ``--save`` writes the reports,
``--like`` compares with reports so written. Needs nothing but the standard library.
"""

import argparse
import json
import os
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "sandbox")]

from hostile import CATEGORIES, SECRET, Hostile  # noqa: E402

from rlef.problems import Test  # noqa: E402
from rlef.sandbox import JudgeJob  # noqa: E402
from rlef.sandbox.isolation import _readable, choose_isolation  # noqa: E402
from rlef.sandbox.jail import IsolationError, JailSettings  # noqa: E402
from rlef.sandbox.judge_process import numpy_folders  # noqa: E402
from rlef.sandbox.worker import Worker  # noqa: E402

MODES = ("c", "python", "landlock", "landlock-python")
NOBODY = 65534
VARYING = ("cpu_s", "wall_s", "memory_mb")
"""Figures, which no two runs share."""


def settings_of(mode: str) -> JailSettings:
    """What a jail of this mode is made of."""
    packages = numpy_folders()
    settings = choose_isolation(packages)[0]
    if mode.startswith("landlock"):
        settings = replace(settings, isolation="landlock", readable=_readable(packages))
    return replace(settings, native=None) if mode.endswith("python") else settings


def chosen(words: list[str]) -> dict[str, Hostile]:
    """The programs by id."""
    found = {}
    for category, cases in CATEGORIES.items():
        for case in cases:
            name = f"{category.partition(' ')[0].strip(',').lower()}-{case.name}"
            if not words or any(word in name for word in words):
                found[name] = case
    return found


def judge(worker: Worker, case: Hostile) -> dict[str, object]:
    """One program's report, without what no two runs share."""
    if case.first:
        job = JudgeJob(source=case.first, tests=(Test(case.first_given, ""),), limits=case.limits)
        worker.judge(job)
    job = JudgeJob(
        source=case.source,
        tests=(Test(case.given, case.wanted),) * case.tests,
        language=case.language,
        mode=case.mode,  # type: ignore[arg-type]
        entry_point=case.entry_point,
        limits=case.limits,
        checker=case.checker,
    )
    try:
        report, *others = worker.judge(job).tests
        report = next((one for one in others if one.verdict != report.verdict), report)
    except IsolationError as error:
        return {"verdict": "none", "message": str(error), "stdout": "", "stderr": ""}
    return {name: value for name, value in asdict(report).items() if name not in VARYING}


def is_right(case: Hostile, report: dict[str, object]) -> bool:
    """Whether the report is one of those expected, and holds no secret."""
    texts = f"{report['stdout']}{report['stderr']}"
    leaks = SECRET in texts and report["verdict"] != "AC"
    return report["verdict"] in case.verdicts and not leaks


def run_all(cases: dict[str, Hostile], settings: JailSettings) -> dict[str, dict[str, object]]:
    """The reports of all programs, by two workers."""
    waiting = deque(cases.items())
    reports: dict[str, dict[str, object]] = {}

    def work(worker: Worker) -> None:
        while waiting:
            name, case = waiting.popleft()
            reports[name] = judge(worker, case)
        worker.close()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, Worker(settings)) for _ in range(2)]:
            done.result()
    return reports


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, usage=argparse.SUPPRESS)
    parser.add_argument("--mode", choices=MODES, default="c")
    parser.add_argument("--nobody", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--save", type=Path)
    parser.add_argument("--like", type=Path)
    words = parser.parse_args()
    if words.nobody:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    cases = chosen(words.only)
    reports = run_all(cases, settings_of(words.mode))
    wrong = [name for name, case in cases.items() if not is_right(case, reports[name])]
    for name in wrong:
        print(f"{name}: {cases[name].verdicts} expected, {json.dumps(reports[name])[:600]}")
    if words.save:
        words.save.write_text(json.dumps(reports))
    if words.like:
        others = json.loads(words.like.read_text())
        for name in sorted(name for name in reports if reports[name] != others.get(name)):
            print(f"{name}: {json.dumps(others.get(name))[:400]}")
            print(f"{' ' * len(name)}  {json.dumps(reports[name])[:400]}")
    print(f"{len(cases)} programs, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
