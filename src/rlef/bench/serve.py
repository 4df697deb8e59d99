"""How fast a service judges over HTTP, and whether its verdicts are those of the judge here.

Clients, service and jails share the cores of this machine.
"""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from rlef.bench.processes import cpu_seconds
from rlef.bench.programs import doubling_jobs, mixed_jobs
from rlef.bench.rows import Row
from rlef.bench.speed import Setting, judged_rate, warm_sandbox
from rlef.sandbox import JudgeJob, JudgeReport
from rlef.serve.client import RemoteJudge
from rlef.serve.schema import json_bytes, to_json

CLIENTS = 64
JUDGEMENTS_PER_S = 500
_START_S = 60.0


def rate(setting: Setting) -> list[Row]:
    """Trivial programs of one test from 64 clients, beside the same number in process, by turns."""
    count = 200 if setting.quick else 1500
    there, here, many, server_ms, client_ms = [], [], [], [], []
    with running_service(setting.workers) as (url, pid), warm_sandbox(setting.workers) as sandbox:
        for turn in range(setting.repetitions):
            batches = [
                doubling_jobs(first=(3 * turn + i) * count, programs=count, tests=1)
                for i in range(3)
            ]
            service, clients, start = cpu_seconds(pid), time.process_time(), time.perf_counter()
            asyncio.run(ask_all(url, batches[0]))
            there.append(count / (time.perf_counter() - start))
            server_ms.append(1000 * (cpu_seconds(pid) - service) / count)
            client_ms.append(1000 * (time.process_time() - clients) / count)
            here.append(judged_rate(sandbox, batches[1]))
            with RemoteJudge(url) as judge:
                start = time.perf_counter()
                judge.judge_many(batches[2])
                many.append(count / (time.perf_counter() - start))
    ratios = [a / b for a, b in zip(there, here, strict=True)]
    met = statistics.median(there) >= JUDGEMENTS_PER_S
    return [
        Row(
            name=f"trivial programs over HTTP, {CLIENTS} clients",
            value=statistics.median(there),
            unit="per s",
            target=f"{JUDGEMENTS_PER_S} or more",
            met=met,
            note=_spread(there),
        ),
        Row(
            name="to the judge in process",
            value=statistics.median(ratios),
            unit="times",
            note=f"{_spread(ratios)}; in process {statistics.median(here):.0f} per s",
        ),
        Row(
            name="the same through RemoteJudge.judge_many",
            value=statistics.median(many),
            unit="per s",
            note=_spread(many),
        ),
        Row(
            name="CPU of the service per program",
            value=statistics.median(server_ms),
            unit="ms",
            note=f"clients {statistics.median(client_ms):.2f} ms; jails and judge not counted",
        ),
    ]


def same(setting: Setting) -> list[Row]:
    """Programs with all verdicts, judged here and there: reports must be equal but for times."""
    count = 200 if setting.quick else 2000
    jobs = [known.job for known in mixed_jobs(count, tests=2)]
    with warm_sandbox(setting.workers) as sandbox:
        here = [without_times(report) for report in sandbox.judge_many(jobs)]
    with running_service(setting.workers) as (url, _), RemoteJudge(url) as judge:
        there = [without_times(report) for report in judge.judge_many(jobs)]
    different = sum(a != b for a, b in zip(here, there, strict=True))
    return [
        Row(
            name=f"{count} programs here and there: different reports",
            value=different,
            unit="programs",
            target="0",
            met=different == 0,
            note="verdicts, outputs, messages, exit statuses",
        )
    ]


MEASURES: dict[str, Callable[[Setting], list[Row]]] = {"rate": rate, "same": same}


def measure(names: Iterable[str], setting: Setting) -> Iterator[tuple[str, list[Row]]]:
    """Takes measures one after the other, each when it is asked for.

    Args:
        names: Keys of ``MEASURES``.
        setting: How much to measure.

    Raises:
        SandboxError: This machine cannot run programs safely.
        RuntimeError: A trivial program was not accepted, or the service does not start.
    """
    for name in names:
        yield name, MEASURES[name](setting)


def without_times(report: JudgeReport) -> JudgeReport:
    """The report without what differs from run to run."""
    tests = [replace(test, cpu_s=0.0, wall_s=0.0, memory_mb=0.0) for test in report.tests]
    return replace(report, tests=tuple(tests))


@contextlib.contextmanager
def running_service(workers: int, *words: str, port: int = 0) -> Iterator[tuple[str, int]]:
    """``rlef serve`` as a process; gives its URL and number.

    Raises:
        RuntimeError: It does not start.
    """
    command = [sys.executable, "-m", "rlef.cli.main", "serve", "--port", str(port)]
    command += ["--workers", str(workers), *words]
    environment = {name: text for name, text in os.environ.items() if name != "RLEF_JUDGE_TOKEN"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"rlef serve ended with {process.wait(_START_S)}")
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(_START_S)
        process.stdout.close()  # type: ignore[union-attr]


async def ask_all(url: str, jobs: Sequence[JudgeJob], clients: int = CLIENTS) -> None:
    """Judges programs from so many connections, as lean as Python can.

    Raises:
        RuntimeError: One was not accepted.
    """
    parts = urlsplit(url)
    todo = iter([_request(job) for job in jobs])

    async def client() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for request in todo:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            if not body.startswith(b'{"report":{"verdict":"AC"'):
                raise RuntimeError(f"a right program was not accepted: {body[:200]!r}")
        writer.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(client())


def _request(job: JudgeJob) -> bytes:
    body = json_bytes(to_json(job))
    head = "POST /v1/judge HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _spread(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3g} to {high:.3g}" if high < 100 else f"{low:.0f} to {high:.0f}"
