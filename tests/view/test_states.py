"""Runs that grow while they are looked at, empty ones, damaged ones, and what is never written."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asking import Asker
from made_runs import HOSTILE, lines, make_evaluation, make_training, record, rollout

from rlef.rollout.ledger import Ledger
from rlef.run import RunFolder
from rlef.run.state import held_locks
from rlef.view import lines as line_files
from rlef.view import training as training_files
from rlef.view.episodes import updates_per_batch

WORDS = {"id": "shown/one", "stage": "train", "limit": 1000}


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    (tmp_path / "shown").mkdir()
    return tmp_path / "shown"


@pytest.fixture
def ask(shown: Path, tmp_path: Path) -> Asker:
    return Asker(tmp_path / "cache", shown)


def rows(ask: Asker, **more: Any) -> list[int]:
    return [row["row"] for row in ask("episodes", **{**WORDS, **more})["rows"]]


def test_a_run_that_grows(shown: Path, ask: Asker) -> None:
    run = make_training(shown / "one", batches=1, pending=2)
    assert rows(ask) == [*range(8), 8, 9]
    assert rows(ask, status="pending") == [8, 9]
    ledger = Ledger(run.training_path)
    ledger.add([(i, rollout(i, record("new/1", ["WA"], said="fresh"))) for i in range(10, 17)])
    assert rows(ask) == list(range(17)) and rows(ask, text="fresh") == list(range(10, 17))
    ledger.take(8, in_order=True)  # 8 to 15: the first two move from the pending ones
    assert rows(ask) == list(range(17)) and rows(ask, status="pending") == [16]
    assert rows(ask, text="fresh") == list(range(10, 17))
    assert ask("episode", id="shown/one", stage="train", row=9)["batch"] == 1
    run.append_metrics({"update": 4})
    with run.metrics_path.open("ab") as file:
        file.write(b'{"update": 6, "solve')  # half a line
    assert ask("metrics", id="shown/one")["columns"]["update"] == [2, 4]
    with run.metrics_path.open("ab") as file:
        file.write(b'_rate": 0.5}\n')
    assert ask("metrics", id="shown/one", after=2)["columns"]["solve_rate"] == [0.5]
    run.truncate_metrics_after(2)  # it goes on from a checkpoint
    assert ask("metrics", id="shown/one", after=3)["next"] == 1


def test_files_being_written_are_not_read(shown: Path, ask: Asker) -> None:
    run = make_training(shown / "one", batches=1, pending=2)
    (run.training_path / ".batch-000001.parquet.tmp").write_bytes(b"PAR1half")
    pending = run.training_path / "pending.bin"
    whole = pending.read_bytes()
    pending.write_bytes(whole[:-20])  # the last frame is torn: with it both that it holds
    assert rows(ask) == list(range(8))
    pending.write_bytes(whole)
    assert rows(ask) == list(range(10))


def test_an_evaluation_that_grows_and_is_written_anew(shown: Path, ask: Asker) -> None:
    run = make_evaluation(shown / "one", count=5)
    assert rows(ask, stage="eval") == list(range(5))
    path = run.rollout_path("eval")
    more = json.dumps(lines([record("new/1", ["AC"], solved=True, said="fresh")])[0])
    with path.open("a") as file:
        file.write(more[:40])
    assert rows(ask, stage="eval") == list(range(5))
    with path.open("a") as file:
        file.write(more[40:] + "\n")
    assert rows(ask, stage="eval") == list(range(6)) and rows(ask, stage="eval", text="fresh") == [
        5
    ]
    run.write_rollouts("eval", lines([record("other/1", ["AC"], solved=True)] * 3))
    found = ask("episodes", **{**WORDS, "stage": "eval"})["rows"]
    assert [row["problem"] for row in found] == ["other/1"] * 3


def test_what_was_worked_out_is_kept_and_checked(
    shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_files, "_ROWS", 16)  # two batches in a table of the cache
    monkeypatch.setattr(line_files, "_ROWS", 10)
    make_training(shown / "one", batches=5, pending=1)
    make_evaluation(shown / "two", count=25)
    asked = [{}, {"text": "needle"}, {"id": "shown/two", "stage": "eval", "text": "needle"}]
    first = [rows(Asker(tmp_path / "cache", shown), **more) for more in asked]
    made = sorted(path.name for path in (tmp_path / "cache").rglob("*.arrow"))
    assert "outcomes-000000002.arrow" in made and "texts-000000000.arrow" in made
    assert "eval-000001-texts.arrow" in made and len(made) == 4 + 6
    monkeypatch.setattr(training_files, "outcomes_of_batches", None)  # what is there is not made
    monkeypatch.setattr(line_files, "texts_of_lines", None)
    last = tmp_path / "shown" / "one" / "rollouts" / "train" / "batch-000004.parquet"
    hidden = last.with_name("kept")
    os.rename(last, hidden)
    (last.parent / "pending.bin").unlink()
    again = Asker(tmp_path / "cache", shown)
    assert rows(again) == [row for row in first[0] if row < 32 or row == 900]
    os.rename(hidden, last)
    monkeypatch.undo()
    monkeypatch.setattr(training_files, "_ROWS", 16)
    changed = shown / "one" / "rollouts" / "train" / "batch-000001.parquet"
    shutil.copy(last.with_name("batch-000002.parquet"), changed)  # another file of this name
    assert rows(Asker(tmp_path / "cache", shown))[8:16] == list(range(16, 24))


def test_an_empty_run(shown: Path, ask: Asker) -> None:
    RunFolder.create(shown / "one", json.dumps({"name": "x", "rollout": {"turn_limit": 3}}))
    (run,) = ask("runs")["runs"]
    assert (run["state"], run["update"], run["note"]) == ("empty", 0, None)
    found = ask("run", id="shown/one")
    assert found["stages"] == [] and found["has_scores"] is False
    assert ask("metrics", id="shown/one") == {"columns": {}, "next": 0}
    assert ask("verdicts", id="shown/one") == {"batches": [], "series": {}}
    ask("episodes", id="shown/one", stage="train", expect=404)


def test_the_states_of_a_run(shown: Path, ask: Asker) -> None:
    run = make_training(shown / "one", batches=1, pending=0)

    def state() -> str:
        return str(ask("runs")["runs"][0]["state"])

    assert state() == "stopped"
    run.lock_path.write_text("1 another-machine")  # whose locks are not seen here
    assert state() == "running"  # for it changed just now
    for path in [run.path, *run.path.rglob("*")]:
        os.utime(path, (4e9, 4e9))
    assert state() == "stopped"  # its clock is wrong
    for path in [run.path, *run.path.rglob("*")]:
        os.utime(path, (1e9, 1e9))
    assert state() == "stopped"
    with run.lock():
        assert held_locks()
        assert state() == "running"
    assert state() == "stopped"
    shutil.copy(run.config_path, run.summary_path)
    (found,) = ask("runs")["runs"]
    assert found["state"] == "damaged" and "summary.json is damaged" in found["note"]


DAMAGE = [
    ("config.yaml", b"rollout: [", "config.yaml:1 is damaged"),
    ("config.yaml", b"\xff\xfe", "config.yaml is damaged"),
    ("metrics.jsonl", b'{"update": 2}\nnonsense\n', "metrics.jsonl:2 is damaged"),
    ("metrics.jsonl", b"[1]\n", "metrics.jsonl:1 is damaged: not a JSON object"),
    ("summary.json", b"{", "summary.json is damaged"),
    ("rollouts/train/batch-000001.parquet", b"PAR1", "batch-000001.parquet is damaged"),
    ("rollouts/train/batch-000001.parquet", None, "batch-000001.parquet is missing"),
    ("rollouts/eval-before.jsonl", b'{"problem": "p"}\n', "eval-before.jsonl:1 is damaged"),
    ("rollouts/eval-before.jsonl", b"\xff\n", "eval-before.jsonl:1 is damaged"),
]


@pytest.mark.parametrize(("name", "data", "said"), DAMAGE, ids=lambda value: str(value)[:40])
def test_a_damaged_run_says_so_and_harms_no_other(
    shown: Path, ask: Asker, name: str, data: bytes | None, said: str
) -> None:
    run = make_training(shown / "one")
    make_training(shown / "two", batches=1, pending=0)
    path = run.path / name
    path.unlink(missing_ok=True)
    if data is not None:
        path.write_bytes(data)
    answer = ask.client.get("/api/run", params={"id": "shown/one"})
    assert answer.status_code in (200, 409)
    for found in (answer.json(), ask("runs")["runs"][0]):
        note = found.get("note") or found.get("error") or ""
        if name != "metrics.jsonl" or "update" in found:
            assert said in note and "\n" not in note
    damaged, whole = ask("runs")["runs"]
    assert damaged["state"] == "damaged" and whole["state"] == "stopped"
    assert ask("run", id="shown/two")["stages"][0]["episodes"] == 8
    if "batch" in name:  # the rest can be looked at
        assert rows(ask) == [*range(8), *range(16, 27)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "batch-000001.parquet is damaged (it is empty)"),
        (b"PAR1" + bytes(200), "batch-000001.parquet is damaged (it is cut short"),
        (b"PAR1" + bytes(20) + b"\xff\xff\0\0PAR1", "batch-000001.parquet is damaged (it is cut"),
        (None, "batch-000001.parquet is missing"),
    ],
)
def test_what_is_cut_short_is_seen_in_the_list(
    shown: Path, ask: Asker, data: bytes | None, said: str
) -> None:
    run = make_training(shown / "one")
    assert ask("runs")["runs"][0]["state"] == "stopped"
    path = run.training_path / "batch-000001.parquet"
    path.unlink()  # what is renamed into a folder, or out of it, changes its time
    if data is not None:
        path.write_bytes(data)
    (found,) = ask("runs")["runs"]
    assert found["state"] == "damaged" and said in found["note"]


@pytest.mark.parametrize("bad", ['"completion_tokens": 9' + "9" * 30, '"solved": "yes"'])
def test_an_episode_of_wrong_types_hides_no_other(shown: Path, ask: Asker, bad: str) -> None:
    run = make_evaluation(shown / "one", count=4)
    path = run.rollout_path("eval")
    first, *others = path.read_text().splitlines()
    name = bad.partition(":")[0]
    damaged = re.sub(name + ": [^,}]+", bad, first)
    path.write_text("\n".join([damaged, *others, ""]))
    found = ask("run", id="shown/one")
    assert found["stages"][0]["episodes"] == 3 and "eval.jsonl:1 is damaged" in found["note"]
    assert rows(ask, stage="eval") == [1, 2, 3]


def test_numbers_that_json_lacks_are_null_wherever_they_stand(shown: Path, ask: Asker) -> None:
    run = make_training(shown / "one", batches=1, pending=0)
    line = {"update": 2, "solve_rate": float("nan"), "kl": float("inf"), "entropy": 10**400}
    run.metrics_path.write_text(json.dumps(line) + "\n")
    (found,) = ask("runs")["runs"]
    assert found["headline"] == {"solve_rate": None} and found["state"] == "stopped"
    assert ask("metrics", id="shown/one")["columns"]["kl"] == [None]
    assert ask("compare", id=["shown/one"])["curves"][0]["metrics"] == {}


def test_what_is_no_file_holds_nobody_up(shown: Path, ask: Asker) -> None:
    run = make_evaluation(shown / "one", count=2)
    os.mkfifo(run.metrics_path)
    os.mkfifo(run.rollout_path("eval-after"))
    (found,) = ask("runs")["runs"]
    assert found["state"] == "damaged" and "metrics.jsonl is no file" in found["note"]
    assert "eval-after.jsonl is no file" in ask("run", id="shown/one")["note"]
    ask("compare", id=["shown/one"] * 65, expect=400)


def test_long_texts_are_cut_and_can_be_had_whole(shown: Path, ask: Asker) -> None:
    said = f"begin {HOSTILE}" + "x" * 10_000_000 + "end"
    run = RunFolder.create(shown / "one", json.dumps({"model": "mini", "data": "d", "turns": 3}))
    run.append_rollouts("eval", lines([record("p/1", ["WA"], said=said)]))
    words = {"id": "shown/one", "stage": "eval", "row": 0}
    (turn,) = ask("episode", **words)["turns"]
    assert len(turn["response"]) == 200_003 and turn["response"].endswith("end 0")
    assert turn["cut"] == {"response": len(said) + 2 - 200_000}
    assert ask("text", **words, turn=1, field="response")["text"] == f"{said} 0"
    assert rows(ask, stage="eval", text="xend 0") == [0]


def everything(folder: Path) -> dict[str, tuple[float, int]]:
    found = [folder, *folder.rglob("*")]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


def test_run_folders_are_only_read(shown: Path, ask: Asker) -> None:
    run = make_training(shown / "one")
    shutil.rmtree(run.checkpoints_path)
    make_evaluation(shown / "two")
    before = everything(shown)
    for one, stage in (("shown/one", "train"), ("shown/two", "eval")):
        for path in ("run", "metrics", "verdicts"):
            ask(path, id=one)
        row = ask("episodes", id=one, stage=stage, text="needle")["rows"][0]["row"]
        ask("episode", id=one, stage=stage, row=row)
        ask("problems", id=one, stage=stage)
    ask("runs")
    ask("compare", id=["shown/one", "shown/two"])
    assert everything(shown) == before


@pytest.fixture
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("rlef.view.live._EVERY_S", 0.02)
    return


@pytest.mark.usefixtures("quick_watch")
def test_changes_are_told(shown: Path, tmp_path: Path) -> None:
    import asyncio

    from rlef.view.folders import Folders
    from rlef.view.live import Watch
    from rlef.view.runs import Library

    run = make_training(shown / "one", batches=1)

    async def first_news() -> Any:
        events = Watch(Library(Folders([shown]), tmp_path / "cache")).events()
        assert await anext(events) is None
        run.append_metrics({"update": 4})
        return await asyncio.wait_for(anext(events), 10)

    news = asyncio.run(first_news())
    assert news == {"id": "shown/one", "changed": run.metrics_path.stat().st_mtime}


@pytest.mark.parametrize(
    ("learner", "steps"),
    [({"minibatch": 32}, 4), ({"minibatch": 32, "epochs": 2}, 8), ({}, None), (None, None)],
)
def test_steps_on_a_batch_count_its_passes(learner: object, steps: int | None) -> None:
    run: Any = SimpleNamespace(options=lambda: {"rollout": {"batch": 128}, "learner": learner})
    assert updates_per_batch(run) == steps
