"""Kills a service, its judge and its jails while clients judge; no program may be lost.

    python benchmarks/chaos_serve.py [--requests 10000] [--clients 64] [--kills 60] [--seed 0]

Half of the clients send a program at a time, half sixteen. What is killed is drawn: mostly the
judge or a jail, one time in ten the service, which is then started again as a supervisor would.
Each report must have the verdict that its program deserves; one of the infrastructure (IE) is
counted, and is no loss but must be rare.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from rlef.bench.programs import KnownJob, mixed_jobs
from rlef.sandbox import Verdict
from rlef.serve import RemoteJudge

WORKERS = 2


class Service:
    """``rlef serve`` at one port, started again where it was killed."""

    def __init__(self) -> None:
        self.process = self._start(0)
        self.port = int(self.url.rpartition(":")[2])
        self.starts = 1

    def _start(self, port: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "rlef.cli.main", "serve", "--port", str(port)]
        process = subprocess.Popen(
            [*command, "--workers", str(WORKERS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()
        assert self.url, "the service does not start"
        return process

    def kill(self) -> None:
        self.process.kill()
        self.end()
        self.process = self._start(self.port)
        self.starts += 1

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


def below(pids: list[int]) -> list[int]:
    """The children of some processes."""
    found: list[int] = []
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, path.read_text().split())
    return found


def victims(service: int) -> list[int]:
    """The judge, guards and zygotes; not programs, whose death by a signal is their own verdict."""
    judge = below([service])
    guards = below(judge)
    return [*judge, *guards, *below(guards)]


def kill_some(
    service: Service, kills: int, over_s: float, rng: random.Random, end: threading.Event
) -> Counter[str]:
    killed: Counter[str] = Counter()
    for _ in range(kills):
        if end.wait(rng.uniform(0.2, 1.8) * over_s / kills):
            break
        if rng.random() < 0.1:
            service.kill()
            killed["service"] += 1
            continue
        found = victims(service.process.pid)
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(found), signal.SIGKILL)
                killed["judge or jail"] += 1
    return killed


def in_shares(jobs: list[KnownJob]) -> Iterator[list[KnownJob]]:
    rest = iter(jobs)
    size = 1
    while share := list(islice(rest, size)):
        yield share
        size = 17 - size


def main(requests: int, clients: int, kills: int, over_s: float, seed: int) -> None:
    jobs = mixed_jobs(requests, first=seed * requests)
    service, end = Service(), threading.Event()
    found: Counter[str] = Counter()
    start = time.perf_counter()
    try:
        with RemoteJudge(service.url) as judge, ThreadPoolExecutor(clients + 1) as threads:
            rng = random.Random(seed)
            killer = threads.submit(kill_some, service, kills, over_s, rng, end)

            def ask(share: list[KnownJob]) -> None:
                reports = judge.judge_many([known.job for known in share])
                for known, report in zip(share, reports, strict=True):
                    if report.verdict is Verdict.IE:
                        found["infrastructure"] += 1
                    else:
                        found["right" if report.verdict is known.verdict else "WRONG"] += 1

            for future in [threads.submit(ask, share) for share in in_shares(jobs)]:
                future.result()
            end.set()
            killed = killer.result()
    finally:
        end.set()
        service.end()
    seconds = time.perf_counter() - start
    print(f"{requests} programs, {clients} clients, {seconds:.0f} s: {dict(found)}")
    print(f"killed: {dict(killed)}; the service was started {service.starts} times")
    lost = requests - found.total()
    if lost or found["WRONG"] or found["infrastructure"] > requests / 100:
        raise SystemExit(f"lost {lost}, wrong {found['WRONG']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--over-s", type=float, default=60.0, help="in which the kills happen")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    main(words.requests, words.clients, words.kills, words.over_s, words.seed)
