import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sandbox_peers import MEASURES as PEERS
from sandbox_peers import PeerError, interpreter_bound_rate, rate_of_command

from rlef.bench.processes import (
    Footprint,
    busy_loops,
    cpu_seconds,
    descendants,
    footprint,
    orphans_stay_ours,
    settled_footprint,
)
from rlef.bench.programs import SORT, doubling_jobs, doubling_tests, mixed_jobs, sorting_tests
from rlef.bench.rows import Row, machine_facts, skipped
from rlef.bench.sandbox import MEASURES, growth_rows
from rlef.bench.speed import Setting, doubling_batch
from rlef.cli.bench import _chosen, _number
from rlef.cli.main import main
from rlef.problems import Test
from rlef.sandbox import Sandbox, Verdict

SLEEPER = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]


def run_rlef(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["bench", "sandbox", *words])
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


def test_no_two_batches_share_a_job_or_an_input() -> None:
    setting = Setting(workers=2, quick=True)
    jobs = [job for turn in range(4) for job in doubling_batch(setting, turn, 1 + 9 * (turn % 2))]
    assert len({job.source for job in jobs}) == len(jobs)
    tens = [job for turn in range(4) for job in doubling_batch(setting, turn, 10)]
    inputs = [test.input for job in tens for test in job.tests]
    assert len(set(inputs)) == len(inputs) == 4 * 20 * 10


def test_doubling_jobs_double() -> None:
    (job,) = doubling_jobs(first=3, programs=1, tests=2)
    assert job.source == "n=int(input()); print(n*2)\n# 3"
    assert [(t.input, t.output) for t in job.tests] == [("6\n", "12\n"), ("7\n", "14\n")]


def test_sorting_tests_differ_and_are_sorted() -> None:
    one, two = sorting_tests(seed=1, count=2, size=50)
    assert one.input != two.input
    size, numbers = one.input.splitlines()
    assert size == "50"
    assert sorted(map(int, numbers.split())) == list(map(int, one.output.split()))


def test_mixed_jobs_have_their_shares_in_every_hundred() -> None:
    jobs = mixed_jobs(100, first=500)
    assert Counter(known.verdict for known in jobs) == {
        "AC": 50,
        "WA": 16,
        "RE": 15,
        "CE": 8,
        "OLE": 6,
        "MLE": 4,
        "TLE": 1,
    }
    assert len({known.job for known in mixed_jobs(300)}) == 300
    assert all(known.verdict != "TLE" for known in mixed_jobs(100, slow=False))


def test_mixed_jobs_get_their_verdicts() -> None:
    jobs = mixed_jobs(200, tests=2, slow=False)
    jobs.append(next(known for known in mixed_jobs(100) if known.verdict is Verdict.TLE))
    with Sandbox(workers=2) as sandbox:
        reports = sandbox.judge_many([known.job for known in jobs])
    for known, report in zip(jobs, reports, strict=True):
        assert report.verdict is known.verdict, (known.job.source, report.tests[0].message)


def test_descendants_are_found_with_their_children() -> None:
    code = f"import subprocess; subprocess.run({SLEEPER!r})"
    before = descendants(os.getpid())
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", code]) as child:
        try:
            while len(found := descendants(os.getpid()) - before) < 2:
                time.sleep(0.01)
            assert child.pid in found
            (grandchild,) = found - {child.pid}
            assert descendants(child.pid) == {grandchild}
            os.kill(grandchild, 9)
        finally:
            child.kill()


def test_orphans_stay_in_sight() -> None:
    code = f"import subprocess; subprocess.Popen({SLEEPER!r}, stdin=subprocess.DEVNULL)"
    before = descendants(os.getpid())
    with orphans_stay_ours():
        subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
        (orphan,) = descendants(os.getpid()) - before
        assert settled_footprint(before).processes == 1
        os.kill(orphan, 9)
        while settled_footprint(before).processes:
            time.sleep(0.01)
    assert descendants(os.getpid()) == before


def test_footprint_counts_processes_and_descriptors() -> None:
    before = footprint()
    with subprocess.Popen(SLEEPER) as child:
        try:
            with open(os.devnull, "rb"):
                now = footprint()
            assert now.processes == before.processes + 1
            assert now.descriptors > before.descriptors
            assert now.rss_mb > before.rss_mb
            assert footprint(without={child.pid}).processes == before.processes
        finally:
            child.kill()


def test_busy_loops_end_even_when_the_block_fails() -> None:
    before = descendants(os.getpid())
    with pytest.raises(ZeroDivisionError), busy_loops(2):
        loops = descendants(os.getpid()) - before
        assert len(loops) == 2
        assert all(cpu_seconds(pid) > 0 for pid in loops)
        raise ZeroDivisionError
    assert descendants(os.getpid()) == before


def sample(rss_mb: float, descriptors: int, processes: int) -> Footprint:
    return Footprint(rss_mb=rss_mb, descriptors=descriptors, processes=processes)


def test_growth_is_that_of_the_largest_later_sample() -> None:
    samples = [sample(100, 20, 6), sample(104, 21, 6), sample(90, 20, 5)]
    memory, descriptors, processes = growth_rows(samples, 1000, "")
    assert (memory.value, memory.met) == (pytest.approx(4), True)
    assert (descriptors.value, descriptors.met) == (1, False)
    assert (processes.value, processes.met) == (0, True)
    assert not growth_rows([sample(100, 1, 1), sample(105, 1, 1)], 10, "")[0].met


def test_command_that_prints_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "solution.py"
    file.write_text("print(2 * int(input()))")
    command = [sys.executable, "-I", "-S", str(file)]
    assert rate_of_command(command, doubling_tests(1, 2), 2) > 0
    with pytest.raises(PeerError, match="does not work here: exit status 0"):
        rate_of_command(command, [Test("2\n", "5\n")], 1)
    with pytest.raises(PeerError, match="does not work here: ValueError"):
        rate_of_command(command, [Test("two\n", "4\n")], 1)


def test_interpreter_bound_rate_runs_the_program() -> None:
    assert interpreter_bound_rate(SORT, sorting_tests(seed=2, count=2, size=10), 2) > 0
    with pytest.raises(PeerError):
        interpreter_bound_rate("print(1)", [Test("", "12\n")], 1)


def test_missing_bubblewrap_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (row,) = PEERS["bubblewrap"](Setting(workers=1, quick=True))
    assert (row.met, row.note) == (None, "bwrap is not installed")
    assert math.isnan(row.value)


def test_machine_facts() -> None:
    facts = machine_facts()
    assert list(facts) == ["cpu", "cores", "kernel", "python"]
    assert facts["cpu"] and facts["cores"] == len(os.sched_getaffinity(0))


def test_numbers_are_short() -> None:
    values = (math.nan, 1234.6, 8.0, 9.567, 0.30123)
    assert [_number(v) for v in values] == ["-", "1,235", "8", "9.57", "0.301"]


def test_only_keeps_the_order_of_measuring() -> None:
    assert _chosen("growth, trivial", tuple(MEASURES)) == ["trivial", "growth"]
    assert _chosen(None, tuple(MEASURES)) == list(MEASURES)


@pytest.mark.parametrize(
    ("only", "line"),
    [
        ("fast", "unknown measure 'fast'; allowed: trivial, "),
        ("trivial,fast", "unknown measure 'fast'; allowed: trivial, "),
        ("trivial,", "unknown measure ''; allowed: trivial, "),
        ("", "an empty word at --only; allowed: a value"),
    ],
)
def test_unknown_measure_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], only: str, line: str
) -> None:
    code, out, err = run_rlef(capsys, "--only", only)
    assert (code, out) == (2, "")
    assert line in err


def test_help_names_every_measure(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_rlef(capsys, "--help")
    assert code == 0
    assert all(name in out for name in MEASURES)


def test_quick_run_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--quick", "--workers", "1", "--only", "overhead", "--json")
    code, out, err = run_rlef(capsys, *words)
    assert (code, err) == (0, "measuring overhead\noverhead: done\n")
    result = json.loads(out)
    assert (result["workers"], result["quick"]) == (1, True)
    assert result["machine"]["hot_path"] in ("C", "Python")
    assert [row["unit"] for row in result["rows"]] == ["ms", "%"]
    assert set(result["rows"][0]) == {"name", "value", "unit", "target", "met", "note"}


def test_missed_target_is_exit_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(met: bool) -> list[Row]:
        row = Row(name="a [b]", value=1.5, unit="times", target="2 or more", met=met)
        return [row, skipped("peer", "times", "3 or more", "not here")]

    monkeypatch.setitem(MEASURES, "growth", lambda _: rows(False))
    monkeypatch.setitem(MEASURES, "eight", lambda _: rows(True))
    code, out, _ = run_rlef(capsys, "--only", "growth,eight")
    assert code == 1
    assert "a [b]" in out
    assert out.endswith("1 of 2 targets met\n")
    code, out, _ = run_rlef(capsys, "--only", "eight", "--json")
    assert code == 0
    assert json.loads(out)["rows"][1]["value"] is None


def test_quick_measures_give_rows(capsys: pytest.CaptureFixture[str]) -> None:
    words: list[Any] = ["--quick", "--workers", "2", "--only", "trivial"]
    code, out, _ = run_rlef(capsys, *words)
    rows = [line for line in out.splitlines() if line.startswith("trivial,")]
    assert len(rows) == 2
    assert code == (1 if " no " in rows[0] else 0)
