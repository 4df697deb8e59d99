import json
import math
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from clocks import without_clocks, without_times
from safetensors import SafetensorError
from safetensors.torch import load_file

from rlef.config import dump_config, join_words, load_config
from rlef.rollout import EpisodeRequest
from rlef.rollout.ledger import Ledger, Taken
from rlef.run import RunDamagedError, RunFolder, RunWriteError
from rlef.run.scores import read_scores, scores_path
from rlef.run.training import SCHEMA, read_training_rollouts
from rlef.train import progress
from rlef.train.cluster import _make_learner
from rlef.train.evaluations import Evaluations
from rlef.train.longer import lengthen
from rlef.train.loop import Trainer, train
from rlef.train.recipe import TrainConfig
from rlef.train.requests import RequestSource
from rlef.train.stopping import Stopping

TINY = [
    *("updates=6", "rollout.batch=8", "learner.minibatch=4", "checkpoint_every=4"),
    *(
        "eval.problems=4",
        "rollout.max_new_tokens=72",
        "rollout.group=4",
        "rollout.keep_scores=5",
        "learner.warmup_updates=0",
        "data.test=mini:valid",
    ),
]

NO_EXAMS = ("eval.problems=1", "eval.turn_limit=1", "eval.also=null", "eval.random_feedback=false")
"""For runs of which only the training is looked at."""
SHORT = [
    *("rollout.batch=4", "rollout.turn_limit=1", "rollout.max_new_tokens=24"),
    *("rollout.keep_scores=0", "learner.minibatch=2", *NO_EXAMS),
]
"""For runs of which only where they stop and go on is looked at."""


class Silent(progress.Silent):
    """Stops the run after some batches, as Ctrl-C does."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.batches = 0

    def update(self, metrics: Mapping[str, object]) -> None:
        self.batches += 1
        if self.batches == self.stop_after:
            raise KeyboardInterrupt


def start(path: Path, *words: str) -> tuple[TrainConfig, RunFolder]:
    config = load_config(TrainConfig, "mini", join_words(TINY, words))
    return config, RunFolder.create(path, dump_config(config))


def taken(run: RunFolder) -> list[Taken]:
    ledger = Ledger(run.training_path)
    return [ledger.batch(number) for number in range(ledger.batches)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nothing interrupted."""
    config, run = start(tmp_path_factory.mktemp("runs") / "whole")
    train(config, run, Silent())
    return run


def test_a_run_writes_what_the_summary_needs(whole: RunFolder) -> None:
    summary = whole.read_summary()
    assert summary is not None
    assert summary["test_problems"] == 4 and summary["updates"] == 6
    assert (summary["temperature"], summary["top_p"]) == (0.2, 0.95)
    assert (summary["also"]["temperature"], summary["also"]["top_p"]) == (1.0, 1.0)
    for stage in ("before", "after", "random_feedback"):
        for found in (summary[stage], summary["also"][stage]):
            assert set(found) >= {"solve", "solve_rate_by_turn", "repair_rate", "statistics"}
    first, second = (
        sorted(json.dumps(episode["turns"]) for episode in whole.read_rollouts(name))
        for name in ("eval-before", "eval-before-also")
    )
    assert len(first) == len(second) == 4 and first != second
    assert [line["update"] for line in whole.read_metrics()] == [2, 4, 6]
    assert [len(batch.rollouts) for batch in taken(whole)] == [8, 8, 8]
    assert [checkpoint.update for checkpoint in whole.checkpoints()] == [6]


def test_no_rollout_is_repeated_and_its_logprobs_are_the_learners(whole: RunFolder) -> None:
    seeds = [rollout.seed for batch in taken(whole) for rollout in batch.rollouts]
    assert len(seeds) == len(set(seeds)) == 24
    assert all(line["logprob_gap"] < 1e-4 for line in whole.read_metrics())
    assert whole.read_metrics()[0]["kl"] == pytest.approx(0, abs=1e-5)


def score_files(run: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.training_path.glob("scores-*.parquet")}


def test_what_the_learner_knew_is_stored(whole: RunFolder) -> None:
    beta = load_config(TrainConfig, whole.config_path, []).learner.beta
    assert sorted(score_files(whole)) == [f"scores-00000{n}.parquet" for n in range(3)]
    for batch, line in zip(taken(whole), whole.read_metrics(), strict=True):
        path = scores_path(whole.training_path, batch.number)
        rows = [read_scores(path, index) for index in batch.indices]
        assert [row is None for row in rows] == [n >= 5 for n in range(8)]  # rollout.keep_scores
        for row, rollout in zip(rows[:5], batch.rollouts, strict=False):
            assert row is not None and row["update"] == line["update"] - 2
            gap = abs(np.array(row["policy_logprobs"]) - rollout.logprobs)
            assert len(gap) == len(rollout.token_ids) and gap.max() < 1e-3
            for name in ("values", "returns", "advantages", "kl"):
                assert len(row[name]) == len(rollout.rewards)
            away = np.array(row["policy_logprobs"]) - np.array(row["ref_logprobs"])
            of_turn = [away[rollout.turn_ids == t].mean() for t in range(len(rollout.rewards))]
            assert row["kl"] == pytest.approx(of_turn, abs=1e-5)
            less = rollout.rewards - beta * np.array(row["kl"])
            rest = np.cumsum(less[::-1])[::-1]  # gamma is 1
            assert row["returns"] == pytest.approx(rest, abs=1e-5)


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_stopped_run_goes_on_to_the_same_end(
    whole: RunFolder, tmp_path: Path, stop_after: int
) -> None:
    config, run = start(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        train(config, run, Silent(stop_after))
    assert run.read_summary() is None
    train(config, run, Silent())
    assert without_times(run.read_metrics()) == without_times(whole.read_metrics())
    for name in whole.rollout_names():
        assert without_clocks(run.read_rollouts(name)) == without_clocks(whole.read_rollouts(name))
    tables = [read_training_rollouts(each, SCHEMA.names) for each in (run, whole)]
    assert tables[0].equals(tables[1]) and tables[0].num_rows == 24
    assert score_files(run) == score_files(whole)
    ours, theirs = (load_file(r.checkpoint_path(6) / "model.safetensors") for r in (run, whole))
    assert all(ours[name].equal(theirs[name]) for name in theirs)


class Terminated(Silent):
    """Sends SIGTERM to this process at a stage."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self.when = when

    def stage(self, name: str, *_: object) -> None:
        if name == self.when:
            os.kill(os.getpid(), signal.SIGTERM)

    def update(self, metrics: Mapping[str, object]) -> None:
        self.stage("a line is written")


@pytest.mark.parametrize("when", ["learning", "a line is written"])
def test_sigterm_saves_and_the_run_goes_on_to_the_same_end(
    whole: RunFolder, tmp_path: Path, when: str
) -> None:
    config, run = start(tmp_path / "stopped", *NO_EXAMS)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train(config, run, Terminated(when))
    last = run.latest_checkpoint()
    assert last is not None and last.update == 2  # checkpoint_every is 4
    assert signal.getsignal(signal.SIGTERM) is before
    train(config, run, Silent())
    assert without_times(run.read_metrics()) == without_times(whole.read_metrics())


@pytest.mark.parametrize("during", ["learning", "validation"])
def test_sigterm_before_the_validation_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    words = ["eval.every=2", "data.valid=mini:valid", *SHORT]
    (config, run), (_, other) = (start(tmp_path / name, *words) for name in ("whole", "stopped"))
    display = Terminated(during)

    def on_valid(self: Evaluations, name: str) -> float:
        if self._parts.run is other:
            display.stage("validation")
        return int(name[-1]) / 10

    monkeypatch.setattr(Evaluations, "on_valid", on_valid)
    train(config, run, Silent())
    with pytest.raises(KeyboardInterrupt):
        train(config, other, display)
    last = other.latest_checkpoint()
    assert last is not None and last.update == 2
    assert "valid_solve_rate" not in other.read_metrics()[-1]
    display.when = "never"
    train(config, other, Silent())
    lines, whole = without_times(other.read_metrics()), without_times(run.read_metrics())
    assert lines == whole and all("valid_solve_rate" in line for line in lines)


@contextmanager
def handled(by: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, by)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_goes_to_whoever_heard_it_before_once_nothing_is_held() -> None:
    heard: list[int] = []
    stopping = Stopping()
    with handled(lambda number, _: heard.append(number)):
        with pytest.raises(KeyboardInterrupt), stopping, stopping.held():
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)
            assert heard == [] and stopping.asked
        assert heard == [signal.SIGTERM]
        signal.raise_signal(signal.SIGTERM)
        assert len(heard) == 2
    heard, stopping = [], Stopping()
    with handled(lambda number, _: heard.append(number)), stopping:
        with pytest.raises(ValueError, match="lost"), stopping.held():
            signal.raise_signal(signal.SIGTERM)
            raise ValueError("lost")
        assert heard == []
        with pytest.raises(KeyboardInterrupt):
            stopping.heed()
        assert heard == [signal.SIGTERM]
    with handled(signal.SIG_IGN), Stopping() as stopping:
        signal.raise_signal(signal.SIGTERM)
        assert not stopping.asked


def test_stored_rollouts_are_used_and_only_missing_ones_sampled(
    whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = start(tmp_path / "torn")
    first = taken(whole)[0].rollouts
    stored = {index: replace(first[index], seed=index) for index in (7, 0, 2, 3, 5)}
    Ledger(run.training_path).add(list(stored.items()))
    path = run.training_path / "pending.bin"
    path.write_bytes(path.read_bytes() + path.read_bytes()[:40])
    asked: list[int] = []
    request = RequestSource.request

    def remember(source: RequestSource, index: int) -> EpisodeRequest:
        asked.append(index)
        return request(source, index)

    monkeypatch.setattr(RequestSource, "request", remember)
    with pytest.raises(KeyboardInterrupt):
        train(config, run, Silent(stop_after=1))
    assert asked == [1, 4, 6]
    [batch] = taken(run)
    assert batch.indices == tuple(range(8))
    wanted = [index if index in stored else first[index].seed for index in range(8)]
    assert [rollout.seed for rollout in batch.rollouts] == wanted


@pytest.mark.parametrize(
    ("name", "place", "message"),
    [("batch-000001.parquet", 0.5, "is damaged"), ("pending.bin", 0.25, "is damaged at byte 12")],
)
def test_damaged_rollouts_are_named(
    whole: RunFolder, tmp_path: Path, name: str, place: float, message: str
) -> None:
    run = RunFolder(shutil.copytree(whole.path, tmp_path / "copy"))
    run.summary_path.unlink()
    shutil.rmtree(run.checkpoint_path(6))
    ledger = Ledger(run.training_path)
    for index in (30, 31):  # the last frame may be torn
        ledger.add([(index, taken(whole)[0].rollouts[0])])
    path = run.training_path / name
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 255
    path.write_bytes(data)
    with pytest.raises(RunDamagedError, match=f"{name} {message}"):
        train(load_config(TrainConfig, run.config_path, []), run, Silent())


def test_a_checkpoint_without_the_rollouts_before_it_is_named(
    whole: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(shutil.copytree(whole.path, tmp_path / "copy"))
    run.summary_path.unlink()
    shutil.rmtree(run.training_path)
    config = load_config(TrainConfig, run.config_path, ["updates=8"])
    with pytest.raises(RunDamagedError, match="rollouts of batch 0 are missing"):
        train(config, run, Silent())


def test_the_best_policy_on_the_validation_problems_is_kept(tmp_path: Path) -> None:
    problems = tmp_path / "valid.jsonl"
    record = {
        "name": "first",
        "statement": "Read integers on one line. Print the numbers, separated by ','.",
        "public_tests": [{"input": "1 2\n", "output": "1,2\n"}],
        "private_tests": [{"input": "3 4 5\n", "output": "3,4,5\n"}],
    }
    problems.write_text(json.dumps(record) + "\n")
    config, run = start(
        tmp_path / "best",
        *(f"data.valid=jsonl:{problems}", "eval.every=2", "learner.lr=1e-2", *NO_EXAMS),
    )
    train(config, run, Silent())
    rates = [line["valid_solve_rate"] for line in run.read_metrics()]
    assert len(rates) == 3
    last = load_file(run.checkpoint_path(6) / "model.safetensors")
    best = load_file(run.checkpoints_path / "best" / "model.safetensors")
    is_last = rates.index(max(rates)) == 2
    assert all(best[name].equal(last[name]) for name in last) == is_last


def test_the_last_policy_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["eval.every=4", "data.valid=mini:valid", *SHORT]
    config, run = start(tmp_path / "run", *words)
    monkeypatch.setattr(Evaluations, "on_valid", lambda self, name: int(name[-1]) / 10)
    train(config, run, Silent())
    rates = {line["update"]: line.get("valid_solve_rate") for line in run.read_metrics()}
    assert rates == {2: None, 4: 0.4, 6: 0.6}
    best, last = (path / "model.safetensors" for path in (run.best_path, run.checkpoint_path(6)))
    assert best.read_bytes() == last.read_bytes()


@pytest.mark.parametrize(("words", "has"), [(["eval.turn_limit=1"], False), ([], True)])
def test_with_one_turn_there_is_no_random_feedback(words: list[str], has: bool) -> None:
    assert load_config(TrainConfig, "mini", words).has_control == has


@pytest.mark.parametrize(
    ("rates", "kept"),
    [
        ([0.1, 0.3, 0.3, 0.2], [0, 1]),
        ([math.nan, 0.0, math.nan, 0.1], [0, 1, 3]),
        ([0.2, math.nan, 0.1, 0.3], [0, 3]),
    ],
)
def test_a_rate_of_nothing_judged_is_the_best_only_until_there_is_another(
    tmp_path: Path, rates: list[float], kept: list[int]
) -> None:
    config, run = start(tmp_path / "best", "data.valid=mini:valid", "eval.every=2")
    saved: list[int] = []
    trainer = Trainer.__new__(Trainer)
    trainer.config = config
    trainer.parts = SimpleNamespace(run=run)  # type: ignore[assignment]
    trainer.batches = SimpleNamespace(settle=lambda: None)  # type: ignore[assignment]
    trainer.learner = SimpleNamespace(version=2)  # type: ignore[assignment]
    for number, rate in enumerate(rates):
        trainer.evaluations = SimpleNamespace(on_valid=lambda _, found=rate: found)  # type: ignore[assignment]
        keep = SimpleNamespace(save_best=lambda found=number: saved.append(found))
        trainer.checkpoints = keep  # type: ignore[assignment]
        run.append_metrics({"update": 2 * number, **trainer._validate()})
    assert saved == kept


def test_a_gap_between_sampler_and_learner_is_said_once(whole: RunFolder) -> None:
    told: list[str] = []
    trainer = Trainer.__new__(Trainer)
    trainer.config = load_config(TrainConfig, whole.config_path, [])
    display = Silent()
    display.message = told.append  # type: ignore[method-assign]
    trainer.parts = SimpleNamespace(display=display)  # type: ignore[assignment]
    trainer._warned_of_gap = False
    for line in whole.read_metrics():
        trainer._warn_of_gap(line)  # of an honest run
    assert told == []
    for gap in (0.01, 0.02):
        trainer._warn_of_gap({"logprob_gap": gap, "bfloat16": 0.0})
    assert len(told) == 1 and "disagree" in told[0] and "0.01 nats" in told[0]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("rollout.max_context=4096", "rollout.max_context is 4096, but mini was made for 1024"),
        ("eval.problems=1", "random feedback needs two or more .* eval.random_feedback=false"),
        ("rollout.prompts=none.txt", "none.txt"),
        ("device=cuda:9", "device is 'cuda:9'"),
        ("model=/nowhere", "no model '/nowhere'"),
    ],
)
def test_what_cannot_run_is_said_before_training(tmp_path: Path, word: str, message: str) -> None:
    words = [w for w in TINY if w.partition("=")[0] != word.partition("=")[0]]
    config = load_config(TrainConfig, "mini", [*words, word])
    run = RunFolder.create(tmp_path / "run", dump_config(config))
    with pytest.raises(ValueError, match=message):
        train(config, run, Silent())
    assert run.rollout_names() == []


def test_a_damaged_checkpoint_is_named_and_can_be_removed(whole: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(whole.path, tmp_path / "copy"))
    config = load_config(TrainConfig, run.config_path, [])
    run.summary_path.unlink()
    critic = run.checkpoint_path(6) / "learner" / "critic.safetensors"
    critic.write_bytes(critic.read_bytes()[:1000])
    with pytest.raises(RunDamagedError, match="update-000006 is damaged"):
        train(config, run, Silent())
    shutil.rmtree(run.checkpoint_path(6))
    train(config, run, Silent())
    assert without_times(run.read_metrics()) == without_times(whole.read_metrics())
    seeds = [rollout.seed for batch in taken(run) for rollout in batch.rollouts]
    assert len(seeds) == len(set(seeds)) == 24


@pytest.mark.parametrize(("kept", "update"), [((), 2), ((0, 2), 4), ((0, 1), 6), ((1, 0, 2), 2)])
def test_metrics_that_lack_a_line_are_told_before_anything_is_done(
    whole: RunFolder, tmp_path: Path, kept: tuple[int, ...], update: int
) -> None:
    run = RunFolder(shutil.copytree(whole.path, tmp_path / "copy"))
    run.summary_path.unlink()
    lines = run.metrics_path.read_text().splitlines(keepends=True)
    run.metrics_path.write_text("".join(lines[place] for place in kept))
    config = load_config(TrainConfig, run.config_path, [])
    with pytest.raises(RunDamagedError, match=f"the line of update {update} is missing"):
        train(config, run, Silent())


def test_a_lengthened_run_equals_one_of_that_length(tmp_path: Path) -> None:
    """Where the step size does not fall; the policy, the critic and their optimizers go on."""
    words = [*SHORT, "learner.final_lr_share=1.0", "checkpoint_every=2"]

    def begin(name: str, updates: int) -> tuple[TrainConfig, RunFolder]:
        return start(tmp_path / name, *words, f"updates={updates}")

    longer, direct = begin("direct", 4)
    train(longer, direct, Silent())
    config, run = begin("longer", 2)
    train(config, run, Silent())
    first = run.read_summary()
    lengthen(run, config.updates, dump_config(longer))
    train(load_config(TrainConfig, run.config_path, []), run, Silent())
    assert without_times(run.read_metrics()) == without_times(direct.read_metrics())
    for file in direct.checkpoint_path(4).rglob("*.safetensors"):
        theirs = load_file(file)
        ours = load_file(run.path / file.relative_to(direct.path))
        assert all(ours[name].equal(theirs[name]) for name in theirs), file.name
    summary = run.read_summary()
    assert first is not None and summary is not None
    assert (first["updates"], summary["updates"]) == (2, 4)
    assert json.loads((run.path / "summary-000002.json").read_text()) == first
    assert run.has_rollouts("eval-after-000002") and run.has_rollouts("eval-after")


def test_automatic_precision_stays_what_it_was_where_the_run_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["updates=2", "checkpoint_every=1", "learner.minibatch=4", "learner.precision=auto"]
    config, run = start(tmp_path / "run", *join_words(SHORT, words))
    told: list[str] = []
    display = Silent(stop_after=2)
    display.message = told.append  # type: ignore[method-assign]
    able: dict[str, bool] = {"amx_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    with pytest.raises(KeyboardInterrupt):
        train(config, run, display)
    able.clear()  # another machine
    train(config, run, display)
    assert [line["bfloat16"] for line in run.read_metrics()] == [1, 1]
    [line] = [line for line in told if "learner.precision" in line]
    assert line.endswith("would be float32 here; it goes on in bfloat16")
    assert _make_learner(config, run.path, 0, 1, "")[0].notices() == [line]  # of a cluster


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (SafetensorError("No space left"), RunWriteError, r"tmp-new cannot be written \(No space"),
        (OSError(28, "No space left"), RunWriteError, r"tmp-new cannot be written \(No space"),
        (
            RecursionError("too deep"),
            ValueError,
            r"^mini: a checkpoint .* RecursionError: too deep",
        ),
    ],
)
def test_what_cannot_be_saved_is_found_before_anything_is_sampled(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    expected: type[Exception],
    message: str,
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("rlef.learner.store.save_policy", fail)
    config, run = start(tmp_path / "run", *SHORT)
    with pytest.raises(expected, match=message):
        train(config, run, Silent())
    assert run.is_untouched()
