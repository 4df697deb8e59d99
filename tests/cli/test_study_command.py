import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rlef.cli import study as study_command
from rlef.run import RunFolder
from rlef.train import loop
from rlef.train.place import Variant
from rlef.train.recipe import TrainConfig

TINY = [
    *("updates=2", "rollout.batch=4", "learner.minibatch=4", "checkpoint_every=1"),
    *("rollout.max_new_tokens=24", "rollout.group=4", "rollout.turn_limit=3", "eval.problems=2"),
    *("learner.warmup_updates=0", "data.test=mini:valid"),
]


@pytest.mark.slow
def test_a_study_is_run_once(rlef: Any, tmp_path: Path) -> None:
    words = ["study", "mini-study", *TINY, "--arms", "untrained,rlef,sft", "--jobs", "1"]
    words += ["--out", tmp_path / "s"]
    code, out, err = rlef(*words)
    assert code == 0, err
    assert "RLEF solves more than the untrained" in out
    assert out.rstrip().endswith("study.html")
    assert "[3/3] sft, seed 0: exam feedback: " in err
    run = RunFolder.open(tmp_path / "s" / "rlef" / "seed-0")
    files = {name: run.rollout_path(name).read_bytes() for name in run.rollout_names()}
    assert {"exam-feedback", "exam-random", "exam-long", "exam-private"} == files.keys()
    untrained = RunFolder.open(tmp_path / "s" / "untrained" / "seed-0")
    assert len(untrained.read_rollouts("exam-independent")) == 40
    path = run.rollout_path("exam-private")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:9])  # as a kill leaves it
    code, again, err = rlef(*words)
    assert code == 0, err
    assert path.read_bytes().startswith(lines[0])
    assert len(run.read_rollouts("exam-private")) == 2
    for name in files.keys() - {"exam-private"}:
        assert run.rollout_path(name).read_bytes() == files[name]
    assert again == out
    for more, count in (([], 3), (["--arms", "rlef"], 1), (["--budget", "full"], 40)):
        page = ["study", "mini-study", *TINY, "--page", "--out", tmp_path / "s", *more]
        assert rlef(*page)[0] == 0
        text = (tmp_path / "s" / "study.md").read_text()
        assert f"{min(count, 3)} of {count} parts" in text
    code, _, err = rlef(*words, "learner.lr=1")
    assert (code, "was begun with other values of learner.lr" in err) == (2, True)


@pytest.mark.slow
def test_parts_side_by_side_write_what_one_after_the_other_does(rlef: Any, tmp_path: Path) -> None:
    found = []
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        words = ["study", "mini-study", *TINY, "--arms", "untrained,rlef", "--out", out]
        code, _, err = rlef(*words, "--jobs", jobs)
        assert code == 0, err
        assert (out / "study.html").is_file()
        records = RunFolder.open(out / "untrained" / "seed-0").read_rollouts("exam-feedback")
        found.append(sorted(turn["response"] for r in records for turn in r["turns"]))
    assert found[0] == found[1]


@pytest.mark.slow
def test_a_part_that_fails_does_not_cost_the_others(
    rlef: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(config: TrainConfig, run: RunFolder, display: object, variant: Variant) -> Path:
        if variant.learner is not Variant().learner:  # sft
            raise FloatingPointError("the gradient norm is nan")
        return loop.learn(config, run, display, variant)  # type: ignore[arg-type]

    monkeypatch.setattr("rlef.study.run.learn", learn)
    words = [*TINY, "--arms", "untrained,sft,no-kl", "--jobs", "1", "--out", tmp_path]
    code, out, err = rlef("study", "mini-study", *words)
    assert code == 1
    assert out.rstrip().endswith("study.html")
    assert "no KL penalty" in (tmp_path / "study.md").read_text()
    assert "rlef: sft, seed 0 failed: the gradient norm is nan\ntry these again with: rlef" in err
    turns = {}
    for arm, exam in (("untrained", "long"), ("untrained", "feedback"), ("no-kl", "feedback")):
        run = RunFolder.open(tmp_path / arm / "seed-0")
        records = run.read_rollouts(f"exam-{exam}")
        turns[arm, exam] = max(len(record["turns"]) for record in records)
    assert turns["untrained", "long"] > turns["untrained", "feedback"] == 3
    assert turns["no-kl", "feedback"] == 3


def begin(folder: Path) -> subprocess.Popen[str]:
    """A study of two parts side by side, in a process group of its own, as from a shell."""
    words = ["study", "mini-study", "updates=400", *TINY[1:], "--arms", "rlef,sft", "--out", folder]
    return subprocess.Popen(
        [sys.executable, "-m", "rlef.cli.main", *map(str, words), "--jobs", "2"],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + 90
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def group(leader: int) -> list[int]:
    """Processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, pgrp = path.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == leader and state != "Z":
                found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("at", ["start", "training"])
def test_interrupted_parts_end_without_a_traceback(tmp_path: Path, at: str) -> None:
    process = begin(tmp_path)
    if at == "start":
        wait_until(lambda: len(group(process.pid)) > 3)  # with the tracker
    else:
        wait_until(lambda: len(list(tmp_path.glob("*/*/metrics.jsonl"))) == 2)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped; go on with: rlef study mini-study" in err
    assert "Traceback" not in err
    wait_until(lambda: not group(process.pid))


@pytest.mark.slow
def test_parts_end_with_a_killed_study(tmp_path: Path) -> None:
    process = begin(tmp_path)
    wait_until(lambda: len(list(tmp_path.glob("*/*/metrics.jsonl"))) == 2)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not group(process.pid))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--budget", "huge"], "budget is 'huge'; allowed: quick, full"),
        (["--arms", "x"], "no arm 'x'; allowed: untrained, few-shot"),
        (["mini-study", "updates=x"], "updates"),
        (["no-such-recipe"], "no-such-recipe"),
        (
            ["mini-study", "rollout.turn_limit=5"],
            "rollout.turn_limit is 5, but a study",
        ),
        (["--page", "--out", "nowhere"], "nowhere holds no finished part of this study"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    rlef: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = rlef("study", *words)
    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("gigabytes", "jobs"), [(1.0, 1), (9.0, 2), (1000.0, 8), (math.inf, 8)])
def test_parts_side_by_side_have_memory(
    monkeypatch: pytest.MonkeyPatch, gigabytes: float, jobs: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(study_command, "_available_bytes", lambda: 1e9 * gigabytes)
    assert study_command._usual_jobs("cpu", 40) == jobs
    assert study_command._usual_jobs("cpu", 1) == 1


def test_what_is_available_is_known_here() -> None:
    assert 1e7 < study_command._available_bytes() <= math.inf
