"""How fast and how exact the judge is on this machine."""

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from rlef.bench.processes import (
    Footprint,
    busy_loops,
    cpu_seconds,
    descendants,
    orphans_stay_ours,
    settled_footprint,
)
from rlef.bench.programs import (
    KnownJob,
    equal_jobs,
    mixed_jobs,
)
from rlef.bench.rows import Row, machine_facts
from rlef.bench.speed import TESTS_PER_PROGRAM, Setting, doubling_batch, judged_rate, warm_sandbox
from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, Sandbox, Verdict, usable_cores

TESTS_PER_S = 1200.0
CUT_S = (0.30, 0.32)
RSS_GROWTH = 0.05
_BUSY_LOOPS = 8


def trivial(setting: Setting) -> list[Row]:
    """Tests per second of programs that double a number, from ``judge_many`` to its reports."""
    ones, tens = [], []
    with warm_sandbox(setting.workers) as sandbox:
        for turn in range(setting.repetitions):
            ones.append(judged_rate(sandbox, doubling_batch(setting, 2 * turn, 1)))
            tens.append(
                judged_rate(sandbox, doubling_batch(setting, 2 * turn + 1, TESTS_PER_PROGRAM))
            )
    rate = statistics.median(tens)
    return [
        Row(
            name="trivial, 10 tests per program",
            value=rate,
            unit="tests/s",
            target=f"{TESTS_PER_S:,.0f} or more",
            met=rate >= TESTS_PER_S,
            note=spread(tens),
        ),
        Row(
            name="trivial, 1 test per program",
            value=statistics.median(ones),
            unit="tests/s",
            note=spread(ones),
        ),
    ]


def cpu_limit(setting: Setting) -> list[Row]:
    """CPU seconds at which an endless loop is cut that may take 0.3, on an idle and a busy box."""
    with warm_sandbox(setting.workers) as sandbox:
        idle = _cuts(sandbox, "idle")
        with busy_loops(_BUSY_LOOPS):
            busy = _cuts(sandbox, "busy")
    return [
        _cut_row("CPU limit of 0.3 s", idle),
        _cut_row(f"CPU limit of 0.3 s, {_BUSY_LOOPS} busy loops", busy),
    ]


def eight(setting: Setting) -> list[Row]:
    """Eight programs at once that need 0.9 s of CPU each and may take 2 s."""
    source = (
        "import time\nstart = time.process_time()\n"
        "while time.process_time() - start < 0.9: pass\nprint('done')\n# "
    )
    jobs = [
        JudgeJob(source=f"{source}{i}", tests=(Test("", "done"),), limits=Limits(cpu_s=2.0))
        for i in range(8)
    ]
    with warm_sandbox(8) as sandbox:
        start = time.perf_counter()
        reports = sandbox.judge_many(jobs)
        seconds = time.perf_counter() - start
    accepted = sum(report.passed for report in reports)
    most = max(report.tests[0].cpu_s for report in reports)
    return [
        Row(
            name="8 programs of 0.9 s at once, limit 2 s",
            value=accepted,
            unit="AC",
            target="8",
            met=accepted == 8,
            note=f"at most {most:.2f} s of CPU; {seconds:.1f} s in all",
        )
    ]


def growth(setting: Setting) -> list[Row]:
    """What the processes of the sandbox hold after a fifth of many tests, and later.

    Judged are programs of all kinds but slow ones, 10 tests each. The processes are the judge and
    its jails, and what they may have left behind; descriptors also count in this process.
    """
    total = 5_000 if setting.quick else 50_000
    chunk = total // 50 // TESTS_PER_PROGRAM
    already = descendants(os.getpid())
    samples, unexpected = [], 0
    with orphans_stay_ours(), Sandbox(workers=setting.workers) as sandbox:
        for part in range(50):
            jobs = mixed_jobs(chunk, first=part * chunk, tests=TESTS_PER_PROGRAM, slow=False)
            unexpected += _unexpected(jobs, _verdicts(sandbox, jobs))
            if (part + 1) % 10 == 0:
                closing = equal_jobs(8 * setting.workers, first=100 * part)
                sandbox.judge_many(closing)  # so that workers end in the same state
                samples.append(settled_footprint(without=already))
    return growth_rows(samples, total, f"{unexpected} unexpected verdicts")


def growth_rows(samples: Sequence[Footprint], total: int, note: str) -> list[Row]:
    """The growth from the first sample to the largest later one.

    Args:
        samples: Taken after each fifth of the tests.
        total: Number of tests.
        note: For the first row.
    """
    first, later = samples[0], samples[1:]
    rss = max(sample.rss_mb for sample in later) / first.rss_mb - 1
    descriptors = max(sample.descriptors for sample in later) - first.descriptors
    processes = max(sample.processes for sample in later) - first.processes
    name = f"{total:,} tests, growth of"
    return [
        Row(
            name=f"{name} memory",
            value=100 * rss,
            unit="%",
            target=f"below {100 * RSS_GROWTH:g}",
            met=rss < RSS_GROWTH,
            note=f"from {first.rss_mb:.1f} MB; {note}",
        ),
        Row(
            name=f"{name} descriptors",
            value=descriptors,
            unit="",
            target="0",
            met=descriptors <= 0,
            note=f"from {first.descriptors}",
        ),
        Row(
            name=f"{name} processes",
            value=processes,
            unit="",
            target="0",
            met=processes <= 0,
            note=f"from {first.processes}",
        ),
    ]


def under_load(setting: Setting) -> list[Row]:
    """The same programs judged by two sandboxes, alone and beside busy loops on every core.

    The kind of each program is known, so what is counted is every program whose two verdicts are
    not both the right one.
    """
    jobs = mixed_jobs(300 if setting.quick else 2_000)
    with Sandbox(workers=setting.workers) as sandbox:
        alone = _verdicts(sandbox, jobs)
    with busy_loops(usable_cores()), Sandbox(workers=setting.workers) as sandbox:
        loaded = _verdicts(sandbox, jobs)
    different = sum(a != b for a, b in zip(alone, loaded, strict=True))
    right = [known.verdict for known in jobs]
    wrong = sum({a, b} != {c} for a, b, c in zip(alone, loaded, right, strict=True))
    kinds = ", ".join(f"{count} {verdict}" for verdict, count in Counter(right).most_common())
    return [
        Row(
            name=f"{len(jobs):,} programs alone and under load",
            value=wrong,
            unit="other verdicts",
            target="0",
            met=wrong == 0,
            note=f"{different} differ from each other; {kinds}",
        )
    ]


def overhead(setting: Setting) -> list[Row]:
    """CPU time of the judge's process per trivial test, and who else uses the cores."""
    jobs = [
        job
        for turn in range(setting.repetitions)
        for job in doubling_batch(setting, turn, TESTS_PER_PROGRAM)
    ]
    with warm_sandbox(setting.workers) as sandbox:
        pid = sandbox.judge_pid()
        assert pid is not None
        judge, caller, start = cpu_seconds(pid), time.process_time(), time.perf_counter()
        reports = sandbox.judge_many(jobs)
        seconds = time.perf_counter() - start
        judge, caller = cpu_seconds(pid) - judge, time.process_time() - caller
    tests = sum(len(report.tests) for report in reports)
    programs = sum(test.cpu_s for report in reports for test in report.tests)
    cores = usable_cores()
    return [
        Row(
            name="judge's CPU per trivial test",
            value=1000 * judge / tests,
            unit="ms",
            note=f"{1000 * caller / tests:.2f} ms more in the caller; {tests:,} tests",
        ),
        Row(
            name="cores busy with the programs",
            value=100 * programs / seconds / cores,
            unit="%",
            note=f"{1000 * programs / tests:.2f} ms of CPU per trivial test",
        ),
    ]


MEASURES: dict[str, Callable[[Setting], list[Row]]] = {
    "trivial": trivial,
    "cpu-limit": cpu_limit,
    "eight": eight,
    "growth": growth,
    "load": under_load,
    "overhead": overhead,
}


def measure(names: Iterable[str], setting: Setting) -> Iterator[tuple[str, list[Row]]]:
    """Takes measures one after the other, each when it is asked for.

    Args:
        names: Keys of ``MEASURES``.
        setting: How much to measure.

    Raises:
        SandboxError: This machine cannot run programs safely.
        RuntimeError: A trivial program was not accepted.
    """
    for name in names:
        yield name, MEASURES[name](setting)


def facts() -> dict[str, object]:
    """The machine, and what keeps programs in on it.

    Raises:
        SandboxError: This machine cannot run programs safely.
    """
    with Sandbox(workers=1) as sandbox:
        isolation = sandbox.describe()
    return {**machine_facts(), "isolation": isolation.kind, "hot_path": isolation.hot_path}


def _cuts(sandbox: Sandbox, word: str) -> list[float]:
    """CPU seconds of five endless loops, one at a time; NaN for one that was not cut."""
    cuts = []
    for i in range(5):
        source = f"while True: pass\n# {word} {i}"
        test = sandbox.judge(source, [Test("", "")], limits=Limits(cpu_s=CUT_S[0])).tests[0]
        cuts.append(test.cpu_s if test.verdict is Verdict.TLE else float("nan"))
    return cuts


def _cut_row(name: str, cuts: Sequence[float]) -> Row:
    low, high = CUT_S
    return Row(
        name=name,
        value=max(cuts),
        unit="s",
        target=f"{low:.2f} to {high:.2f}",
        met=all(low <= cut <= high for cut in cuts),
        note=", ".join(f"{cut:.4f}" for cut in cuts),
    )


def _verdicts(sandbox: Sandbox, jobs: Sequence[KnownJob]) -> list[Verdict]:
    return [report.verdict for report in sandbox.judge_many([known.job for known in jobs])]


def _unexpected(jobs: Sequence[KnownJob], verdicts: Sequence[Verdict]) -> int:
    return sum(known.verdict != got for known, got in zip(jobs, verdicts, strict=True))


def spread(values: Sequence[float]) -> str:
    """The range of a measure's rounds, in a few digits."""
    form = ",.0f" if max(values) >= 100 else ".3g"
    return f"{min(values):{form}} to {max(values):{form}}"
