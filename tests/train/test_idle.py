"""A run that trains on nothing, or on a part of it, says so, and stops where nothing is left."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rlef.config import dump_config, join_words, load_config
from rlef.environment import StopReason
from rlef.learner.descent import Descent
from rlef.report.tables import notes
from rlef.rollout import LocalRollouts, Rollout
from rlef.rollout.ledger import Ledger
from rlef.run import RunFolder
from rlef.train.idle import IdleWatch, LeftOut, NothingToLearn
from rlef.train.loop import train
from rlef.train.progress import Silent
from rlef.train.recipe import TrainConfig

TINY = [
    *("updates=8", "rollout.batch=4", "learner.minibatch=4", "checkpoint_every=2"),
    *("rollout.max_new_tokens=24", "rollout.group=4", "rollout.turn_limit=1", "eval.problems=1"),
    *("eval.random_feedback=false", "rollout.max_context=256"),
]


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def problems(path: Path, lengths: list[int]) -> str:
    """Problems with statements of so many characters."""
    text = "Read an integer. Print it. "
    rows = [
        {
            "name": f"p{i}",
            "statement": (text + "Take care! " * length)[: max(length, len(text))],
            "public_tests": [{"input": "1\n", "output": "1\n"}],
            "private_tests": [{"input": "3\n", "output": "3\n"}],
        }
        for i, length in enumerate(lengths)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"data.train=jsonl:{path}"


def start(path: Path, *words: str) -> tuple[TrainConfig, RunFolder]:
    config = load_config(TrainConfig, "mini", join_words(TINY, words))
    return config, RunFolder.create(path, dump_config(config))


def test_a_run_of_problems_without_room_ends_before_it_begins(tmp_path: Path) -> None:
    config, run = start(tmp_path / "run", problems(tmp_path / "long.jsonl", [5000, 9000]))
    with pytest.raises(NothingToLearn, match=r"^2 of 2 problems of data\.train leave no room"):
        train(config, run, Told())
    assert run.rollout_names() == []


def test_problems_without_room_are_counted_on_the_screen_and_in_the_table(tmp_path: Path) -> None:
    config, run = start(
        tmp_path / "run",
        problems(tmp_path / "half.jsonl", [10, 5000]),
        "updates=2",
        "checkpoint_every=1",
    )
    told = Told()
    train(config, run, told)
    assert any("1 of 2 problems of data.train leave no room" in line for line in told.lines)
    [line] = [
        line for line in told.lines if line.startswith("update 1: of 4 rollouts 2 had no room")
    ]
    assert line.endswith("are not trained on (2 so far)")
    for metrics in run.read_metrics():
        assert (metrics["trained_rollouts"], metrics["masked_no_room"]) == (2, 2)
    summary = run.read_summary()
    assert summary is not None
    assert notes(summary)[-1] == (
        "0 rollouts masked (judge infrastructure), 4 (no room for an answer in "
        "rollout.max_context), of 8 in all"
    )


def test_a_judge_that_fails_stops_the_run_which_then_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LocalRollouts.finished

    def failing(rollouts: LocalRollouts, timeout_s: float) -> list[tuple[int, Rollout]]:
        return [
            (i, replace(r, record=replace(r.record, stop=StopReason.INFRA_ERROR)))
            for i, r in real(rollouts, timeout_s)
        ]

    config, run = start(
        tmp_path / "run", problems(tmp_path / "p.jsonl", [10]), "updates=2", "checkpoint_every=1"
    )
    with monkeypatch.context() as patch:
        patch.setattr(LocalRollouts, "finished", failing)
        with pytest.raises(NothingToLearn, match=r"none of the 4 rollouts .* judges them again"):
            train(config, run, Told())
    ledger = Ledger(run.training_path)
    assert run.read_metrics() == [] and len(ledger.batch(0).rollouts) == 4
    train(config, run, Told())
    ledger = Ledger(run.training_path)
    assert ledger.batches == 2 and ledger.batch(0).indices == (0, 1, 2, 3)
    assert [line["masked_infra"] for line in run.read_metrics()] == [0, 0]


def test_a_policy_without_a_gradient_stops_the_run_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlef.train.idle.IDLE_BATCHES", 3)
    monkeypatch.setattr("rlef.train.idle.IDLE_ROLLOUTS", 12)
    config, run = start(tmp_path / "run", "learner.advantage=grpo", "rollout.per_problem=4",
                        "learner.kl=none", problems(tmp_path / "p.jsonl", [10]))  # fmt: skip
    monkeypatch.setattr(Descent, "step", lambda *_: 0.0)
    told = Told()
    for update in (3, 6):
        with pytest.raises(NothingToLearn, match=r"3 batches in a row .* earned the same"):
            train(config, run, told)
        last = run.latest_checkpoint()
        assert last is not None and last.update == update == len(run.read_metrics())
    assert sum("the policy learnt nothing" in line for line in told.lines) == 4  # 1, 2, 4 and 5


def left(trained: int, **causes: int) -> LeftOut:
    counts = {"no_room": 0, "infra": 0, "nothing": 0} | causes
    return LeftOut(**counts, total=trained + sum(counts.values()))


def test_lines_come_as_counts_double_and_a_good_batch_ends_a_row() -> None:
    lines: list[str] = []
    watch = IdleWatch(load_config(TrainConfig, "mini", []), lines.append)
    for update in range(1, 10):
        assert watch.see(update, left(3, no_room=1), policy_moved=True) is None
    assert [line.partition(":")[0] for line in lines] == [f"update {n}" for n in (1, 2, 4, 8)]
    for _ in range(2):
        assert watch.see(10, left(0, no_room=2, infra=2), policy_moved=False) is None
    assert watch.see(11, left(1, infra=3), policy_moved=True) is None
    for _ in range(2):
        assert watch.see(12, left(0, nothing=400), policy_moved=False) is None
    why = watch.see(13, left(0, no_room=1, nothing=300), policy_moved=False)
    assert why is not None and "\n" not in why
    assert why.startswith(
        "3 batches in a row had no rollout to train on: in the last 1 had no room"
    )
    assert why.endswith("and 300 left nothing to learn")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["learner.advantage=rloo", "rollout.per_problem=4"], "earned the same"),
        (["learner.advantage=reinforce++"], "all rollouts of a batch earned the same"),
        (["learner.target_kl=0.1"], "learner.target_kl (0.1) is exceeded"),
        ([], "are its parameters frozen?"),
    ],
)
def test_why_a_policy_learns_nothing(words: list[str], why: str) -> None:
    lines: list[str] = []
    watch = IdleWatch(load_config(TrainConfig, "mini", words), lines.append)
    found = [watch.see(n, left(100), policy_moved=False) for n in range(1, 11)]
    assert found[:9] == [None] * 9 and found[9] is not None and why in found[9]
    assert why in lines[0]


@pytest.mark.parametrize("batch", [left(8), left(0, no_room=8), left(4, nothing=4)])
def test_small_batches_stop_a_run_only_when_they_are_many(batch: LeftOut) -> None:
    """One problem in 20 solved, in batches of two groups: 10 in a row are a matter of luck."""
    watch = IdleWatch(load_config(TrainConfig, "mini", []), lambda line: None)
    found = [watch.see(n, batch, policy_moved=False) for n in range(1, 126)]
    assert found[:124] == [None] * 124 and found[124] is not None  # 125 of 8 rollouts: 1,000
    assert watch.see(126, left(8), policy_moved=True) is None
    assert watch.see(127, batch, policy_moved=False) is None
