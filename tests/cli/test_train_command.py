import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from rlef.config import dump_config
from rlef.engines import EngineError
from rlef.run import RunFolder

RATE = {"mean": 0.5, "low": 0.4, "high": 0.6}
STAGE = {"solve": RATE, "solve_rate_by_turn": [RATE], "repair_rate": RATE, "hidden": {}}


class Learner(BaseModel, frozen=True, extra="forbid"):
    lr: float = 1e-3
    final_lr_share: float = 1.0


class TrainConfig(BaseModel, frozen=True, extra="forbid"):
    seed: int = 0
    updates: int = 2
    learner: Learner = Learner()


Train = Callable[[TrainConfig, RunFolder, Any], None]


def finish(config: TrainConfig, run: RunFolder, display: Any) -> None:
    """Stands for the training loop."""
    for update in range(len(run.read_metrics()) + 1, config.updates + 1):
        metrics = {"update": update, "solve_rate": 0.25, "kl": float("nan")}
        run.append_metrics(metrics)
        display.update(metrics)
    run.write_summary(
        {
            **{"recipe": "tiny", "seed": config.seed, "updates": config.updates, "wall_s": 1.0},
            **{
                "temperature": 0.2,
                "top_p": 0.95,
                "parameters": 10,
                "turn_limit": 1,
                "test_problems": 4,
                "samples_per_problem": 1,
            },
            **{"before": STAGE, "after": STAGE, "random_feedback": STAGE, "gain": RATE},
            **{"timing_s": {}, "masked_infra": 0},
        }
    )


@pytest.fixture(autouse=True)
def use_loop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Train], None]:
    """Puts a loop in place of the real one; at first ``finish``."""
    recipe, loop = ModuleType("rlef.train.recipe"), ModuleType("rlef.train.loop")
    recipe.TrainConfig = TrainConfig  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rlef.train.recipe", recipe)
    monkeypatch.setitem(sys.modules, "rlef.train.loop", loop)
    monkeypatch.setattr("rlef.train.checks.check_training", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text("updates: 3\n")

    def use(train: Train) -> None:
        loop.train = train  # type: ignore[attr-defined]

    use(finish)
    return use


def test_new_run_ends_with_table_and_page(rlef: Any) -> None:
    code, out, err = rlef("train", "tiny.yaml", "learner.lr=2e-4", "--out", "one")
    assert code == 0
    assert out.startswith("tiny · 10 parameters · 3 updates")
    assert out.rstrip().endswith("one        report: one/report.html")
    assert err.splitlines()[1].split() == ["1/3", "-", "25.0", *"------"]
    assert err.splitlines()[3].split() == ["3/3", "-", "25.0", *"------"]  # evaluations come
    run = RunFolder.open("one")
    assert "lr: 0.0002" in run.read_config()
    assert run.report_path.is_file()


def test_default_folder_is_named_for_recipe_and_time(rlef: Any) -> None:
    assert rlef("train", "tiny.yaml").code == 0
    assert rlef("train", "tiny.yaml").code == 0
    folders = sorted(Path("runs").iterdir())
    assert len(folders) == 2
    assert all(folder.name.startswith("tiny-2") for folder in folders)


def test_dry_run_prints_sources_and_makes_nothing(rlef: Any, tmp_path: Path) -> None:
    code, out, _ = rlef("train", "tiny.yaml", "seed=4", "--dry-run")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines == [
        ["seed", "4", "command", "line"],
        ["updates", "3", "tiny.yaml:1"],
        ["learner.lr", "0.001", "default"],
        ["learner.final_lr_share", "1.0", "default"],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_interrupt_prints_the_command_that_goes_on(
    rlef: Any, use_loop: Callable[[Train], None]
) -> None:
    def interrupted(config: TrainConfig, run: RunFolder, display: Any) -> None:
        run.append_metrics({"update": 1})
        raise KeyboardInterrupt

    use_loop(interrupted)
    code, _, err = rlef("train", "tiny.yaml", "seed=4", "--out", "a b")
    assert code == 130
    assert err.endswith("stopped; go on with: rlef train 'a b'\n")
    use_loop(finish)
    assert rlef("train", "a b").code == 0
    assert [line["update"] for line in RunFolder.open("a b").read_metrics()] == [1, 2, 3]


@pytest.mark.parametrize(
    "words", [["one", "learner.lr=0.5", "seed=1"], ["tiny.yaml", "learner.lr=0.5", "seed=1"]]
)
def test_a_run_goes_on_with_its_own_config_only(rlef: Any, words: list[str]) -> None:
    assert rlef("train", "tiny.yaml", "--out", "one").code == 0
    out = [] if words[0] == "one" else ["--out", "one"]
    code, _, err = rlef("train", *words, *out)
    assert code == 2
    assert err.startswith("rlef: one was begun with other values of seed, learner.lr; allowed: ")
    assert rlef("train", words[0], "seed=0", *out).code == 0


def test_run_in_use_exits_with_1(rlef: Any) -> None:
    assert rlef("train", "tiny.yaml", "--out", "one").code == 0
    with RunFolder("one").lock():
        code, _, err = rlef("train", "one")
    assert code == 1
    assert "one is in use by process" in err


def test_of_a_run_that_loads_its_model_the_config_stays(rlef: Any) -> None:
    run = RunFolder.create("one", dump_config(TrainConfig(updates=3)))
    before = run.read_config()
    with run.lock():
        code, _, err = rlef("train", "tiny.yaml", "seed=1", "--out", "one")
    assert code == 1 and "one is in use by process" in err
    assert run.read_config() == before
    assert rlef("train", "tiny.yaml", "seed=1", "--out", "one").code == 0
    assert "seed: 1" in run.read_config()


def test_commands_that_begin_at_once_get_folders_of_their_own(
    rlef: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(now=lambda: datetime(2026, 1, 2, 3, 4, 5))
    monkeypatch.setattr("rlef.cli.common.datetime", now)
    monkeypatch.setattr("os.path.lexists", lambda _: False)  # none had made it when all looked
    for seed in (0, 2):
        assert rlef("train", "tiny.yaml", f"seed={seed}", "--seeds", "2").code == 0
    assert rlef("train", "tiny.yaml").code == 0
    found = {run.name: {path.name for path in run.iterdir()} for run in Path("runs").iterdir()}
    alone = found.pop("tiny-20260102-030405-3")
    assert "config.yaml" in alone
    assert found == {
        "tiny-20260102-030405": {"seed-0", "seed-1"},
        "tiny-20260102-030405-2": {"seed-2", "seed-3"},
    }


def test_folders_of_all_seeds_are_looked_at_first(
    rlef: Any, use_loop: Callable[[Train], None]
) -> None:
    assert rlef("train", "tiny.yaml", "seed=1", "learner.lr=0.5", "--out", "many/seed-1").code == 0
    use_loop(lambda *_: pytest.fail("nothing is trained before"))
    code, _, err = rlef("train", "tiny.yaml", "--seeds", "2", "--out", "many")
    assert code == 2 and "many/seed-1 was begun with other values of learner.lr" in err
    assert not Path("many/seed-0").exists()


def test_several_seeds_end_with_their_table(rlef: Any) -> None:
    code, out, _ = rlef("train", "tiny.yaml", "seed=5", "--seeds", "2", "--out", "many")
    assert code == 0
    assert sorted(path.name for path in Path("many").iterdir()) == ["seed-5", "seed-6"]
    assert "seed: 6" in RunFolder.open("many/seed-6").read_config()
    rows = [line.split() for line in out.splitlines()]
    assert [row[:3] for row in rows if row[:1] == ["mean"]] == [["mean", "50.0", "±0.0"]]


def test_several_seeds_stopped_go_on_with_the_same_words(
    rlef: Any, use_loop: Callable[[Train], None]
) -> None:
    def interrupted(config: TrainConfig, run: RunFolder, display: Any) -> None:
        raise KeyboardInterrupt

    use_loop(interrupted)
    _, _, err = rlef("train", "tiny.yaml", "seed=5", "--seeds", "2", "--out", "many")
    assert err.endswith("go on with: rlef train tiny.yaml seed=5 --out many --seeds 2\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tiny.yaml", "learner.l=1"], "unknown key learner.l (did you mean learner.lr?)"),
        (["tiny.yaml", "updates=x"], 'updates: must be a valid integer, not "x"'),
        (["none.yaml"], "no file 'none.yaml'"),
        (["no-such"], "no recipe 'no-such'"),
        (["."], "has no config.yaml; allowed: the folder of a run"),
        ([], "Missing argument 'RECIPE_OR_RUN'"),
        (["tiny.yaml", "--seeds", "0"], "--seeds"),
        ([".", "--seeds", "2"], "takes neither --out nor --seeds"),
        (["tiny.yaml", "--no-such"], "No such option: --no-such"),
        (["tiny.yaml", "--out", "."], ". is in use; allowed: a new or an empty folder"),
    ],
)
def test_wrong_words_exit_with_2(rlef: Any, words: list[str], message: str) -> None:
    code, out, err = rlef("train", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_failed_work_is_one_line_and_1(
    rlef: Any, use_loop: Callable[[Train], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(config: TrainConfig, run: RunFolder, display: Any) -> None:
        raise KeyError("weights")

    use_loop(broken)
    code, _, err = rlef("train", "tiny.yaml", "--out", "one")
    assert (code, err) == (1, "rlef: KeyError: 'weights' (RLEF_TRACEBACK=1 shows where)\n")
    from rlef.cli.main import main

    monkeypatch.setenv("RLEF_TRACEBACK", "1")
    with pytest.raises(KeyError):
        main(["train", "one"])


def test_work_that_failed_on_the_way_names_the_command_that_goes_on(
    rlef: Any, use_loop: Callable[[Train], None]
) -> None:
    def broken(config: TrainConfig, run: RunFolder, display: Any) -> None:
        run.append_metrics({"update": 1})
        raise EngineError("the engine is gone")

    use_loop(broken)
    code, _, err = rlef("train", "tiny.yaml", "--out", "one")
    kept = "what was done is kept, go on with: rlef train one"
    assert (code, err) == (1, f"rlef: the engine is gone; {kept}\n")


def test_sigterm_stops_as_an_interrupt_does(rlef: Any, use_loop: Callable[[Train], None]) -> None:
    def terminated(config: TrainConfig, run: RunFolder, display: Any) -> None:
        run.append_metrics({"update": 1})
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    use_loop(terminated)
    code, _, err = rlef("train", "tiny.yaml", "--out", "one")
    assert code == 143
    assert err.endswith("stopped; go on with: rlef train one\n")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    use_loop(finish)
    assert rlef("train", "one").code == 0


def test_a_full_disk_is_named_with_the_command_that_goes_on(
    rlef: Any, use_loop: Callable[[Train], None]
) -> None:
    def full(config: TrainConfig, run: RunFolder, display: Any) -> None:
        run.rollout_path("eval-before").symlink_to("/dev/full")
        run.append_rollouts("eval-before", [{"place": 0}])

    use_loop(full)
    code, _, err = rlef("train", "tiny.yaml", "--out", "one")
    assert code == 1
    assert err == (
        "rlef: one/rollouts/eval-before.jsonl cannot be written (No space left on device); what "
        "was finished is kept; make room, then: rlef train one\n"
    )


def test_a_finished_run_goes_on_to_more_updates(rlef: Any) -> None:
    assert rlef("train", "tiny.yaml", "--out", "one").code == 0
    run = RunFolder.open("one")
    earlier = run.summary_path.read_text()
    empty = {"family": None, "hidden_detail": None, "turns": [], "final_verdict": None}
    empty |= {"passed_share": None, "blind": False}
    episode = {"problem": "p", "solved": True, "stop": "turn_limit", **empty}
    last = ("eval-after", "eval-after-also", "eval-random", "eval-random-also")
    for name in ("eval-before", *last):
        run.append_rollouts(name, [episode])
    assert rlef("train", "one", "updates=5", "--dry-run").code == 0
    assert run.summary_path.read_text() == earlier
    code, out, err = rlef("train", "one", "updates=5")
    assert code == 0, err
    assert out.startswith("tiny · 10 parameters · 5 updates")
    assert err.startswith("one: 5 updates now, not 3\n")
    assert [line["update"] for line in run.read_metrics()] == [1, 2, 3, 4, 5]
    assert (run.path / "summary-000003.json").read_text() == earlier
    kept = ["eval-before", *(f"{name}-000003" for name in last)]
    assert run.rollout_names() == sorted(kept)
    assert rlef("train", "one", "updates=5").code == 0


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_where_the_step_size_falls_a_run_is_finished_before_it_gets_longer(
    rlef: Any, share: float
) -> None:
    """Else stored rollouts would be of another policy than that which learns from them."""
    words = ["tiny.yaml", f"learner.final_lr_share={share}", "--out", "one"]
    assert rlef("train", *words).code == 0
    run = RunFolder.open("one")
    run.training_path.mkdir()
    (run.training_path / "pending.bin").touch()
    run.commit_checkpoint(run.new_checkpoint(), update=2)
    code, _, err = rlef("train", "one", "updates=5")
    if share == 1:
        assert code == 0
        return
    assert code == 2 and err.count("\n") == 1
    assert "allowed: to finish it first (rlef train one)" in err
    assert "updates: 3" in run.read_config()
    run.commit_checkpoint(run.new_checkpoint(), update=3)
    assert rlef("train", "one", "updates=5").code == 0


@pytest.mark.parametrize(
    "words", [["one", "updates=2"], ["one", "updates=5", "seed=1"], ["tiny.yaml", "updates=5"]]
)
def test_a_run_goes_on_to_more_updates_and_nothing_else(rlef: Any, words: list[str]) -> None:
    assert rlef("train", "tiny.yaml", "--out", "one").code == 0
    code, _, err = rlef("train", *words, *(["--out", "one"] if words[0] != "one" else []))
    assert code == 2 and err.count("\n") == 1
    assert "rlef train one updates=N" in err
    assert "updates: 3" in RunFolder.open("one").read_config()
