"""The training loop: take a batch of rollouts, learn from it, hand the new weights to the sampler.

What makes a run resumable: rollouts are on disk before a batch may hold them, a batch's members are
on disk before it is used, and everything else follows from the last checkpoint and the seed. A run
that goes on restores the checkpoint, repeats the batches since then from disk, and samples only
what is missing.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from rlef.environment import EpisodeRecord
from rlef.learner.notices import gap_alarm
from rlef.learner.service import LearnerLost, Metrics
from rlef.rollout import Rollout, RolloutBatch
from rlef.rollout.ledger import Ledger, Taken
from rlef.rollout.replay import SolvedAnswers
from rlef.rollout.teacher import TeacherBatch, teacher_batch
from rlef.run import RunFolder
from rlef.run.scores import scores_path, write_scores
from rlef.train.batches import Batches
from rlef.train.checkpoints import Checkpoints
from rlef.train.evaluations import Evaluations
from rlef.train.idle import IdleWatch, LeftOut, NothingToLearn
from rlef.train.measures import rate_metrics, solve_metrics, verdict_metrics
from rlef.train.parts import Parts, build_parts
from rlef.train.place import PAPER, Variant
from rlef.train.progress import BatchWatch, Progress
from rlef.train.recipe import TrainConfig
from rlef.train.requests import RequestSource
from rlef.train.score_rows import score_rows
from rlef.train.stopping import Stopping
from rlef.train.summary import summarize
from rlef.train.trackers import Tracked

T = TypeVar("T")


def train(config: TrainConfig, run: RunFolder, display: Progress) -> None:
    """Trains to the end of the recipe and writes ``summary.json``; a finished run is left alone.

    Args:
        config: The recipe.
        run: Its folder, locked by the caller; what it holds is gone on from.
        display: Shows progress.

    Raises:
        ModelError, TemplateError, ProblemError, ValueError: The recipe cannot be run.
        NothingToLearn: There is nothing to train on; what was done is kept.
        RunDamagedError: The folder's files cannot be read.
        RunWriteError: A file cannot be written; what was done is kept.
    """
    if run.read_summary() is not None:
        return
    with Tracked(config, run, display) as told:
        with build_parts(config, run, told) as parts:
            trainer = Trainer(parts)
            told.begin()
            with trainer.stopping:
                stages = {"before": trainer.evaluate("eval-before")}
                trainer.train_to_the_end()
                stages["after"] = trainer.evaluate("eval-after", best=True)
                if config.has_control:
                    again = trainer.evaluate("eval-random", best=True, random_feedback=True)
                    stages["random_feedback"] = again
        told.stage("saving")
        seconds = trainer.evaluations.seconds
        summary = summarize(config, parts.parameters, run.read_metrics(), stages, seconds)
        run.write_summary(summary)
        told.finish(summary)


def learn(
    config: TrainConfig, run: RunFolder, display: Progress, variant: Variant | None = None
) -> Path:
    """Trains to the end of the recipe, without the evaluations before and after.

    Args:
        config: The recipe.
        run: Its folder, locked by the caller; what it holds is gone on from.
        display: Shows progress.
        variant: What stands in place of the paper's parts.

    Returns:
        The folder of the policy, see ``policy_path``.

    Raises:
        RuntimeError, ValueError: As ``train``.
    """
    last = run.latest_checkpoint()
    if last is None or last.update < config.updates or not policy_path(config, run).is_dir():
        with build_parts(config, run, display, variant or PAPER) as parts:
            Trainer(parts).train_to_the_end()  # SIGTERM ends it: a study's parts go with the study
    return policy_path(config, run)


def policy_path(config: TrainConfig, run: RunFolder) -> Path:
    """Returns where a run's policy will be: the best on ``data.valid``, or the last checkpoint."""
    return run.checkpoint_path(config.updates) if config.eval.every is None else run.best_path


class Trainer:
    """A run: batch after batch, and what is written of each.

    Args:
        parts: What it is made of; the caller closes them.

    Attributes:
        stopping: within it SIGTERM stops the run, which saves what it has come to.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.config = config = parts.config
        self.learner = parts.learner
        self.ledger = Ledger(parts.run.training_path)
        self.ledger.forget_unjudged()  # the judge was at fault, and may not be now
        self.batches = Batches(
            RequestSource(parts.train_problems, config.rollout.per_problem, config.seed),
            parts.rollouts,
            self.ledger,
            size=config.rollout.batch,
            total=config.updates // config.updates_per_batch,
            max_staleness=config.rollout.max_staleness,
            updates_per_batch=config.updates_per_batch,
        )
        self.checkpoints = Checkpoints(config, parts.run, parts.learner)
        self.evaluations = Evaluations(parts)
        self._watch = self._new_watch()
        replay = config.learner.replay
        self._solved = None if replay is None else SolvedAnswers(replay.newest, config.seed)
        self._warned_of_gap = False
        self.stopping = Stopping()
        self._written: int | None = None
        """The learner's version of the last line of metrics."""
        self._unwritten: dict[str, Any] | None = None
        """The line of a batch that is learnt from, while the policy is looked at for it."""
        parts.describe()
        self._survive(self.checkpoints.try_saving)

    def _new_watch(self) -> IdleWatch:
        return IdleWatch(self.config, self.parts.display.message, self.parts.variant.why_idle)

    @property
    def is_done(self) -> bool:
        """Whether the recipe's updates have been made."""
        return self.learner.version >= self.config.updates

    def train_to_the_end(self) -> None:
        """Goes on from the last checkpoint, if there is one, to the end of the recipe."""
        self._go_on()
        try:
            self._survive(self._validate_late)
            while not self.is_done:
                self._survive(self.train_on_one_batch)
        except KeyboardInterrupt:
            if self.stopping.asked:
                with suppress(LearnerLost):
                    self._save_what_is_learnt()
            raise

    def _save_what_is_learnt(self) -> None:
        """Writes a checkpoint of the last batch that was learnt from to its end."""
        if self._unwritten is not None:
            self.parts.run.append_metrics(self._unwritten)
            self._written = self.learner.version
        if self._written == self.learner.version:
            self.parts.display.stage("saving")
            self.checkpoints.save_last()

    def evaluate(
        self, name: str, *, best: bool = False, random_feedback: bool = False
    ) -> list[list[EpisodeRecord]]:
        """Evaluates on the test problems: the policy as it is, or the best one."""

        def run() -> list[list[EpisodeRecord]]:
            if best:
                self._take_best()
            return self.evaluations.on_test(name, random_feedback=random_feedback)

        return self._survive(run)

    def _survive(self, work: Callable[[], T]) -> T:
        """Does some work, from the last checkpoint on wherever the learner is lost in it."""
        while True:
            try:
                return work()
            except LearnerLost:
                self.stopping.heed()  # there may be no time to repeat what was lost
                self._go_on()

    def _go_on(self) -> None:
        """Brings the learner to the last checkpoint, and the sampler to the learner's weights."""
        self._unwritten = None
        self._watch = self._new_watch()  # batches that are repeated count once
        while True:
            with suppress(LearnerLost):
                if self.checkpoints.restore():
                    self.parts.display.message(f"goes on after update {self.learner.version}")
                self.parts.rollouts.use(self.learner.weights())
                return

    def train_on_one_batch(self) -> None:
        """Takes a batch, learns from it, hands the weights on, and writes what came of it."""
        self.checkpoints.settle(wait=False)
        started, self._last_timing = time.perf_counter(), self.parts.rollouts.timing
        watch = BatchWatch(self.parts.display, lambda: self.parts.rollouts.timing)
        number = self.learner.version // self.config.updates_per_batch
        taken = self.batches.take(number, watch)
        rollouts = [self.parts.variant.adjust(rollout) for rollout in taken.rollouts]
        left_out = LeftOut.of(rollouts)
        if left_out.infra == left_out.total:
            raise NothingToLearn(
                f"none of the {left_out.total} rollouts of a batch could be judged (what the judge "
                "needs shows: rlef env); a run that goes on judges them again"
            )
        sampled = time.perf_counter()
        with self.stopping.held():
            metrics = self._learn_from(taken, rollouts)
            self._hand_on_weights(metrics)
            self._warn_of_gap(metrics)
            ended = time.perf_counter()
            timing = self._timing(rollout_s=sampled - started, update_s=ended - sampled)
            line = self._unwritten = {
                "update": self.learner.version,
                **solve_metrics(taken.rollouts, self.config.rollout.turn_limit),
                **verdict_metrics(taken.rollouts),
                **metrics,
                **self.batches.staleness_metrics(taken),
                "masked_infra": left_out.infra,
                "masked_no_room": left_out.no_room,
                **timing,
                **rate_metrics(taken.rollouts, timing),
            }
        line = line | self._validate()  # takes long, so it may be stopped
        with self.stopping.held():
            self._write(line, left_out)

    def _write(self, line: dict[str, Any], left_out: LeftOut) -> None:
        """Writes what a batch came to, and a checkpoint where it is time to."""
        self.parts.run.append_metrics(line)
        self._written, self._unwritten = self.learner.version, None
        self.parts.display.update(line)
        why = self._watch.see(
            self.learner.version, left_out, policy_moved=self.learner.policy_moved
        )
        if why or self.is_done or self.learner.version % self.config.checkpoint_every == 0:
            self.parts.display.stage("saving")
            self.checkpoints.save(wait=bool(why) or self.is_done)
        if why and not self.is_done:
            raise NothingToLearn(why)

    def _learn_from(self, taken: Taken, rollouts: Sequence[Rollout]) -> dict[str, Any]:
        """Updates the learner, and stores what it knew of some rollouts; returns metrics."""
        config, learner = self.config, self.learner
        trainable = [rollout for rollout in rollouts if rollout.trainable]
        version = learner.version
        metrics: dict[str, Any] = {}
        if trainable:
            private = self.parts.private
            seen = None if private is None else private.of(trainable)
            batch = RolloutBatch.from_rollouts(trainable, config.rollout.turn_limit, seen)
            metrics |= self._update(
                batch, self._lessons(trainable), self._replay(taken.number, rollouts)
            )
            if learner.calibration:
                metrics["calibration"] = learner.calibration
            pairs = zip(taken.indices, rollouts, strict=True)
            self._store_scores(
                taken.number, [index for index, rollout in pairs if rollout.trainable], version
            )
        else:
            learner.pass_over(config.updates_per_batch)
        moved = int(learner.policy_moved)
        return metrics | {"trained_rollouts": len(trainable), "policy_moved": moved}

    def _lessons(self, rollouts: Sequence[Rollout]) -> TeacherBatch | None:
        """Returns which answers a teacher says something of, and what it reads before them."""
        config, parts = self.config, self.parts
        if config.learner.teacher is None:
            return None
        return teacher_batch(
            rollouts,
            parts.by_name,
            chat=parts.chat,
            prompts=parts.episodes.prompts,
            feedback=config.feedback,
            max_context=config.rollout.max_context,
        )

    def _replay(self, number: int, rollouts: Sequence[Rollout]) -> RolloutBatch | None:
        """Returns solved answers to learn once more, of a batch and those before it."""
        config = self.config
        if self._solved is None or config.learner.replay is None:
            return None

        def rollouts_of(batch: int) -> Sequence[Rollout]:
            if batch == number:
                return rollouts
            return [self.parts.variant.adjust(one) for one in self.ledger.batch(batch).rollouts]

        self._solved.see(number, rollouts_of)
        count = config.learner.replay.answers * config.updates_per_batch
        return self._solved.draw(count)

    def _store_scores(self, number: int, indices: Sequence[int], version: int) -> None:
        """Writes what the learner knew of a batch's first rollouts before it learnt from them."""
        scores = self.learner.scores() if self.config.rollout.keep_scores else ()
        if scores:
            path = scores_path(self.parts.run.training_path, number)
            write_scores(path, score_rows(indices, scores, version))

    def _hand_on_weights(self, metrics: dict[str, Any]) -> None:
        """Samples from the learner's weights from here on; the engine looks whether it does."""
        gap = self.parts.rollouts.use(self.learner.weights())
        if gap is not None:
            metrics["engine_gap"] = gap

    def _update(
        self, batch: RolloutBatch, lessons: TeacherBatch | None, replay: RolloutBatch | None
    ) -> Metrics:
        """Updates the learner: alone, or while rollouts that end meanwhile go to disk."""
        steps, before = self.config.updates_per_batch, self.learner.version
        more: dict[str, Any] = {"lessons": lessons, "replay": replay}
        more = {k: v for k, v in more.items() if v is not None}  # one's own learner may know none
        self.parts.display.stage("learning", steps, lambda: self.learner.version - before)
        if self.config.rollout.max_staleness == 0:
            self.parts.rollouts.sleep()  # the learner may need the memory
            return self.learner.update(batch, steps, **more)
        with self.batches.collecting():
            return self.learner.update(batch, steps, **more)

    def _validate(self) -> dict[str, float]:
        """Looks at the validation problems where it is time to, and keeps the best policy."""
        every, update = self.config.eval.every, self.learner.version
        if every is None or (update % every and not self.is_done):
            return {}
        self.batches.settle()
        rate = self.evaluations.on_valid(f"valid-{update:06d}")
        rates = [line.get("valid_solve_rate") for line in self.parts.run.read_metrics()]
        if all(rate > other for other in rates if other is not None):
            self.checkpoints.save_best()
        return {"valid_solve_rate": rate}

    def _validate_late(self) -> None:
        """Looks at the validation problems where the run was stopped before it had done so."""
        run = self.parts.run
        if run.best_path.is_dir() and run.has_rollouts("eval-after"):
            return  # which is of the best one until then
        lines = run.read_metrics()
        if lines and "valid_solve_rate" not in lines[-1] and (found := self._validate()):
            run.complete_metrics(found)
            self.parts.display.completed(found)

    def _take_best(self) -> None:
        """Replaces the policy by the best one on the validation problems, if any were looked at."""
        path = policy_path(self.config, self.parts.run)
        if path == self.parts.run.best_path:
            self.checkpoints.take(path)

    def _timing(self, rollout_s: float, update_s: float) -> dict[str, float]:
        """Returns where the time of a batch went, and the shares in which one side was idle."""
        timing = self.parts.rollouts.timing.since(self._last_timing)
        wall_s = rollout_s + update_s
        return {
            "generate_s": timing.generate_s,
            "judge_wait_s": timing.judge_wait_s,
            "rollout_s": rollout_s,
            "update_s": update_s,
            "sampler_idle": max(0.0, 1 - timing.generate_s / wall_s),
            "learner_idle": rollout_s / wall_s,
        }

    def _warn_of_gap(self, metrics: Mapping[str, float]) -> None:
        """Says once per process that sampler and learner disagree, if they do."""
        line = gap_alarm(metrics)
        if line is not None and not self._warned_of_gap:
            self._warned_of_gap = True
            self.parts.display.message(line)
