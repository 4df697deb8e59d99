import os
import signal
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from rlef.config import load_config
from rlef.study.arms import ARMS, Part
from rlef.study.jobs import PartTask, run_tasks
from rlef.train.recipe import TrainConfig


def make_tasks(folder: Path, *names: str) -> list[PartTask]:
    config = load_config(TrainConfig, "mini-study", [])
    return [
        PartTask(Part(ARMS[name], 0), config, folder / name, f"{place}/{len(names)}")
        for place, name in enumerate(names, start=1)
    ]


def leave_a_mark(task: PartTask, say: Callable[[str], None]) -> None:
    if task.first is not None:
        assert (task.path.parent / task.first[0]).exists(), "began too early"
    task.path.write_text(str(os.getpid()))


def wait_for_the_other(task: PartTask, say: Callable[[str], None]) -> None:
    leave_a_mark(task, say)
    end = time.monotonic() + 60
    while len(list(task.path.parent.iterdir())) < 2:
        assert time.monotonic() < end, "the other part did not begin"
        time.sleep(0.02)


def fail(task: PartTask, say: Callable[[str], None]) -> None:
    task.path.write_text("")
    raise KeyError("model")


def fail_when_single_turn(task: PartTask, say: Callable[[str], None]) -> None:
    if task.part.arm.name == "single-turn":
        raise ValueError("diverged\nat 3")
    leave_a_mark(task, say)


def die(task: PartTask, say: Callable[[str], None]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def silent(text: str) -> None:
    return


def test_a_repair_model_waits_for_its_first(tmp_path: Path) -> None:
    names = ("repair", "single-turn", "rlef", "sft")
    run_tasks(make_tasks(tmp_path, *names), leave_a_mark, silent, jobs=2)
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert str(os.getpid()) not in {path.read_text() for path in tmp_path.iterdir()}


def test_parts_run_side_by_side(tmp_path: Path) -> None:
    run_tasks(make_tasks(tmp_path, "rlef", "sft"), wait_for_the_other, silent, jobs=2)
    assert len({path.read_text() for path in tmp_path.iterdir()}) == 2


def test_one_job_runs_in_this_process(tmp_path: Path) -> None:
    run_tasks(make_tasks(tmp_path, "rlef"), leave_a_mark, silent, jobs=1)
    assert (tmp_path / "rlef").read_text() == str(os.getpid())


def test_after_three_failures_in_a_row_no_more_are_begun(tmp_path: Path) -> None:
    names = ("rlef", "sft", "single-turn", "repair", "grpo")
    failures = run_tasks(make_tasks(tmp_path, *names), fail, silent, jobs=1)
    assert [f.reason for f in failures] == [
        *["KeyError: 'model'"] * 3,
        "not tried, needs single-turn",
        "not tried, too many others failed",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"rlef", "sft", "single-turn"}


def test_a_failed_task_leaves_nothing_in_memory(tmp_path: Path) -> None:
    class Model:
        pass

    models: list[weakref.ref[Model]] = []

    def run(task: PartTask, say: Callable[[str], None]) -> None:
        assert not any(model() for model in models)
        model = Model()
        models.append(weakref.ref(model))
        raise ValueError("out of memory")

    failures = run_tasks(make_tasks(tmp_path, "rlef", "sft"), run, silent, jobs=1)
    assert [f.reason for f in failures] == ["out of memory"] * 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_is_kept_for_the_end(tmp_path: Path, jobs: int) -> None:
    names = ("rlef", "sft", "grpo", "single-turn", "repair", "rloo")
    failures = run_tasks(make_tasks(tmp_path, *names), fail_when_single_turn, silent, jobs)
    assert [(f.part.arm.name, f.reason) for f in failures] == [
        ("single-turn", "diverged at 3"),
        ("repair", "not tried, needs single-turn"),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"rlef", "sft", "grpo", "rloo"}


def test_a_killed_process_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="was killed, perhaps for want of memory"):
        run_tasks(make_tasks(tmp_path, "sft", "rlef"), die, silent, jobs=2)
