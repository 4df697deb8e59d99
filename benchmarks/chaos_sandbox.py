"""Kills judges, guards and zygotes at random while threads judge; every call must end as it should.

    python benchmarks/chaos_sandbox.py [--kills 300] [--threads 4] [--workers 2] [--seed 0]

A report may be the right one or IE. No call may take longer than a minute, and nothing may stay
behind: no process, descriptor, thread or temporary file.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, Sandbox

LIMITS = Limits(cpu_s=1.0, memory_mb=256, output_kb=64)
CALL_S = 60.0
KILLS_PER_S = 8.0
LEAST = 20
"""Verdicts, at least one more."""
PROGRAMS = (
    ("AC", "print(2 * int(input()))"),
    ("AC", "import time\ntime.sleep(0.05)\nprint(2 * int(input()))"),
    ("WA", "print(3 * int(input()))"),
    ("RE", "1 / 0"),
    ("CE", "print("),
    ("OLE", "while True: print('x' * 999)"),
)


def job(seed: int) -> tuple[str, JudgeJob]:
    """A job that was never judged before, and its verdict."""
    verdict, source = PROGRAMS[seed % len(PROGRAMS)]
    tests = tuple(Test(f"{seed + n + 1}\n", f"{2 * (seed + n + 1)}\n") for n in range(1 + seed % 4))
    return verdict, JudgeJob(source=f"{source}\n# {seed}", tests=tests, limits=LIMITS)


def below(pid: int) -> list[int]:
    """Children of a process, zombies left out."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in path.read_text().split()]
        except OSError:
            continue
    return [child for child in found if is_alive(child)]


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def victims(judge: int) -> dict[str, list[int]]:
    """The judge, the outer and the inner processes of its jails."""
    guards = below(judge)
    return {"judge": [judge], "guard": guards, "zygote": [z for g in guards for z in below(g)]}


@dataclass
class Chaos:
    """What happened."""

    verdicts: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    seen: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def work(self, box: Sandbox, seed: int, over: threading.Event) -> None:
        """Judges until it is over."""
        while not over.is_set():
            jobs = [job(seed * 1_000_000 + n) for n in range(5)]
            seed += 1000
            start = time.monotonic()
            reports = box.judge_many([one for _, one in jobs])
            self.slowest_s = max(self.slowest_s, time.monotonic() - start)
            for (verdict, one), report in zip(jobs, reports, strict=True):
                self.verdicts[str(report.verdict)] += 1
                if report.verdict not in (verdict, "IE"):
                    self.wrong.append(f"{one.source!r}: {report}")

    def kill(self, box: Sandbox, choose: random.Random) -> None:
        """Kills one process, or none where none is to be found."""
        judge = box.judge_pid()
        if judge is None:
            return
        found = victims(judge)
        self.seen |= {pid for pids in found.values() for pid in pids}
        kind = choose.choices(("judge", "guard", "zygote"), (1, 3, 6))[0]
        if found[kind]:
            try:
                os.kill(choose.choice(found[kind]), choose.choice((signal.SIGKILL, signal.SIGTERM)))
            except ProcessLookupError:
                return
            self.killed[kind] += 1


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def run(kills: int, threads: int, workers: int, seed: int) -> Chaos:
    """Judges under fire, then in peace, and closes.

    Raises:
        AssertionError: A report is wrong, a call hangs, or something stays behind.
    """
    chaos, choose, over = Chaos(), random.Random(seed), threading.Event()
    files, running = open_files(), threading.active_count()
    temporary = set(os.listdir(tempfile.gettempdir()))
    with Sandbox(workers=workers) as box:
        assert box.judge_many([job(1)[1]])
        pool = [
            threading.Thread(target=chaos.work, args=(box, n, over), daemon=True)
            for n in range(threads)
        ]
        for thread in pool:
            thread.start()
        while sum(chaos.killed.values()) < kills or sum(chaos.verdicts.values()) <= LEAST:
            time.sleep(choose.expovariate(KILLS_PER_S))
            chaos.kill(box, choose)
        over.set()
        for thread in pool:
            thread.join(CALL_S)
            assert not thread.is_alive(), "a call hangs"
        verdict, one = job(6_000_000)
        assert box.judge_many([one])[0].verdict == verdict, "it does not recover"
        chaos.seen |= {pid for pids in victims(box.judge_pid() or 0).values() for pid in pids}
    deadline = time.monotonic() + 10
    while left := [pid for pid in chaos.seen if is_alive(pid)]:
        assert time.monotonic() < deadline, f"processes stay behind: {left}"
        time.sleep(0.05)
    assert not chaos.wrong, chaos.wrong
    while open_files() > files or threading.active_count() > running:
        assert time.monotonic() < deadline, "descriptors or threads stay"
        time.sleep(0.05)
    new = set(os.listdir(tempfile.gettempdir())) - temporary
    assert not [name for name in new if "rlef" in name], new
    return chaos


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, usage=argparse.SUPPRESS)
    for name, default in (("kills", 300), ("threads", 4), ("workers", 2), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    start = time.monotonic()
    chaos = run(**vars(parser.parse_args()))
    print(f"killed {dict(chaos.killed)} in {time.monotonic() - start:.0f} s")
    print(f"verdicts {dict(chaos.verdicts)}; the slowest call took {chaos.slowest_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
