import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlef.run import (
    Checkpoint,
    RunBusyError,
    RunDamagedError,
    RunError,
    RunExistsError,
    RunFolder,
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", config="seed: 0\n")


def commit(run: RunFolder, update: int, keep: int | None = None) -> Path:
    folder = run.new_checkpoint()
    (folder / "state.txt").write_text(str(update))
    return run.commit_checkpoint(folder, update, keep=keep)


def test_create_then_open(run: RunFolder) -> None:
    assert RunFolder.open(run.path).read_config() == "seed: 0\n"
    assert run.rollouts_path.is_dir()
    assert run.checkpoints_path.is_dir()
    assert run.read_summary() is None
    assert run.read_metrics() == []


def test_create_takes_an_empty_folder_only(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert RunFolder.create(tmp_path / "empty", "a: 1").is_run()
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".config.yaml.tmp").write_text("a")
    assert RunFolder.create(tmp_path / "killed", "a: 1").read_config() == "a: 1"
    with pytest.raises(RunError, match="holds a run already"):
        RunFolder.create(run.path, "a: 1")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match="is in use; allowed: a new or an empty folder"):
        RunFolder.create(tmp_path / "full", "a: 1")


def test_open_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no config\.yaml"):
        RunFolder.open(tmp_path)
    with pytest.raises(RunError, match="does not exist"):
        RunFolder.open(tmp_path / "no")


def test_opening_changes_nothing_and_what_is_missing_is_made_by_who_writes(run: RunFolder) -> None:
    for folder in (run.rollouts_path, run.checkpoints_path):
        folder.rmdir()
    opened = RunFolder.open(run.path)
    assert opened.rollout_names() == [] and opened.latest_checkpoint() is None
    assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml"]
    opened.append_rollouts("eval", [{"problem": "p"}])
    assert opened.read_rollouts("eval") == [{"problem": "p"}]
    assert commit(opened, 3).is_dir()


def test_metrics_come_back_in_order_with_null_for_nan(run: RunFolder) -> None:
    run.append_metrics({"update": 1, "kl": 0.25, "by": {"x": [math.nan, 1]}})
    run.append_metrics({"update": 2, "kl": math.nan, "reward": -math.inf})
    expected = [
        {"update": 1, "kl": 0.25, "by": {"x": [None, 1]}},
        {"update": 2, "kl": None, "reward": None},
    ]
    assert run.read_metrics() == expected
    lines = run.metrics_path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == expected


@pytest.mark.parametrize("torn", ['{"update": 3', '{"update": 3}', "\x00\x00", "x" * 200_000])
def test_torn_last_line_is_not_read_and_cut_by_the_next(run: RunFolder, torn: str) -> None:
    run.append_metrics({"update": 1})
    run.append_metrics({"update": 2})
    with run.metrics_path.open("a") as file:
        file.write(torn)
    assert [line["update"] for line in run.read_metrics()] == [1, 2]
    RunFolder.open(run.path).append_metrics({"update": 3, "again": True})
    assert run.read_metrics()[2:] == [{"update": 3, "again": True}]
    assert run.metrics_path.read_text().count("\n") == 3


def test_file_of_a_torn_line_only(run: RunFolder) -> None:
    run.metrics_path.write_text('{"upd')
    assert run.read_metrics() == []
    run.append_metrics({"update": 1})
    assert run.read_metrics() == [{"update": 1}]


@pytest.mark.parametrize("damage", ["{", "[1]", ""])
def test_damage_elsewhere_is_an_error_with_its_line(run: RunFolder, damage: str) -> None:
    run.metrics_path.write_text(f'{{"update": 1}}\n{damage}\n{{"update": 3}}\n')
    with pytest.raises(RunDamagedError, match=r"metrics\.jsonl:2 is damaged"):
        run.read_metrics()


def test_truncate_drops_later_updates(run: RunFolder) -> None:
    for update in range(1, 6):
        run.append_metrics({"update": update})
    run.truncate_metrics_after(3)
    run.truncate_metrics_after(7)
    assert [line["update"] for line in run.read_metrics()] == [1, 2, 3]
    run.truncate_metrics_after(0)
    assert run.read_metrics() == []


def test_rollouts_are_written_whole_or_not_at_all(run: RunFolder) -> None:
    def failing() -> Iterator[dict[str, object]]:
        yield {"problem": "a"}
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        run.write_rollouts("eval-after", failing())
    assert not run.has_rollouts("eval-after")
    records = [{"response": "a\u2028b\ud800", "turns": [1, 2]}, {"response": "c\n"}]
    run.write_rollouts("eval-after", records)
    assert run.has_rollouts("eval-after")
    assert run.read_rollouts("eval-after") == records
    with pytest.raises(RuntimeError):
        run.write_rollouts("eval-after", failing())
    assert run.read_rollouts("eval-after") == records
    assert run.rollout_names() == ["eval-after"]
    for odd in ("._eval-after.jsonl", "eval-after copy.jsonl", ".jsonl"):
        run.rollouts_path.joinpath(odd).write_bytes(b"\x00\x05")
    assert run.rollout_names() == ["eval-after"]


def test_appended_rollouts_survive_a_torn_line(run: RunFolder) -> None:
    run.append_rollouts("eval-before", [{"problem": "a"}, {"problem": "b"}])
    with run.rollout_path("eval-before").open("a") as file:
        file.write('{"problem": "c", ')
    run.append_rollouts("eval-before", [{"problem": "c"}])
    assert [r["problem"] for r in run.read_rollouts("eval-before")] == ["a", "b", "c"]


def test_no_rollouts_is_an_empty_list(run: RunFolder) -> None:
    assert run.read_rollouts("eval-after") == []


@pytest.mark.parametrize("name", ["../metrics", "a/b", "", ".hidden"])
def test_rollout_names_stay_in_their_folder(run: RunFolder, name: str) -> None:
    with pytest.raises(RunError, match="allowed: letters"):
        run.write_rollouts(name, [])


def test_summary_round_trip(run: RunFolder) -> None:
    run.write_summary({"before": {"mean": 0.5, "low": math.nan}})
    assert run.read_summary() == {"before": {"mean": 0.5, "low": None}}


def test_checkpoint_exists_once_it_is_committed(run: RunFolder) -> None:
    assert run.latest_checkpoint() is None
    folder = run.new_checkpoint()
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_text("w")
    assert run.latest_checkpoint() is None
    path = run.commit_checkpoint(folder, 12)
    assert path == run.checkpoint_path(12) == run.path / "checkpoints" / "update-000012"
    assert run.latest_checkpoint() == Checkpoint(12, path)
    assert (path / "model" / "weights").read_text() == "w"
    assert not folder.exists()


def test_whoever_reads_the_run_reads_its_checkpoints(run: RunFolder) -> None:
    folder = run.new_checkpoint()
    (folder / "learner").mkdir()
    for name in ("config.json", "model.safetensors", "learner/critic.safetensors"):
        (folder / name).touch()
    (folder / "model.safetensors").chmod(0o600)  # as safetensors does
    (folder / "learner" / "critic.safetensors").chmod(0o600)
    path = run.commit_checkpoint(folder, 1)
    rights = {file.stat().st_mode for file in path.rglob("*") if file.is_file()}
    assert rights == {run.config_path.stat().st_mode}


def test_only_the_last_checkpoints_are_kept(run: RunFolder) -> None:
    for update in (1, 2, 3, 1_000_000):
        commit(run, update, keep=2)
    assert [c.update for c in run.checkpoints()] == [3, 1_000_000]
    commit(run, 5)
    assert [c.update for c in run.checkpoints()] == [3, 5, 1_000_000]
    assert sorted(p.name for p in run.checkpoints_path.iterdir()) == [
        "update-000003",
        "update-000005",
        "update-1000000",
    ]
    with pytest.raises(ValueError, match="keep is 0"):
        run.commit_checkpoint(run.new_checkpoint(), 6, keep=0)


def test_checkpoint_of_the_same_update_is_replaced(run: RunFolder) -> None:
    commit(run, 4)
    folder = run.new_checkpoint()
    (folder / "state.txt").write_text("again")
    assert (run.commit_checkpoint(folder, 4) / "state.txt").read_text() == "again"


def test_leftovers_of_a_killed_writer_are_removed(run: RunFolder) -> None:
    (run.new_checkpoint() / "half").write_text("x")
    assert list(run.new_checkpoint().iterdir()) == []


def test_lock_keeps_another_process_out(run: RunFolder) -> None:
    code = (
        "import sys; from rlef.run import RunFolder\n"
        "with RunFolder.open(sys.argv[1]).lock(): print('locked')"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    with run.lock(), run.lock():
        blocked = subprocess.run(command, capture_output=True, text=True, check=False)
        with pytest.raises(RunBusyError, match="in use by process"), RunFolder(run.path).lock():
            pass
    free = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"is in use by process {os.getpid()} on {os.uname().nodename}; wait" in blocked.stderr
    assert blocked.stdout == ""
    assert free.stdout == "locked\n"


def test_a_run_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunFolder.create(tmp_path / "run", "seed: 0")
    monkeypatch.setattr(RunFolder, "is_run", lambda _: False)  # as it was a moment ago
    monkeypatch.setattr("rlef.run.folder.check_free_folder", lambda _: None)
    for links in (True, False):
        if not links:
            monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(PermissionError()))
        with pytest.raises(RunExistsError, match="holds a run already"):
            RunFolder.create(tmp_path / "run", "seed: 1")
        assert (tmp_path / "run" / "config.yaml").read_text() == "seed: 0"
    assert RunFolder.create(tmp_path / "other", "seed: 1").read_config() == "seed: 1"
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == [
        *("checkpoints", "config.yaml", "rollouts"),
    ]
