"""The training loop: evaluate, then rollouts and updates in turn, then evaluate again.

What makes a run resumable: rollouts are on disk before an update uses them, and everything else
follows from the last checkpoint, the seed and the rollouts. A run that goes on restores the
checkpoint, repeats the updates since then from the stored rollouts, and samples only what is
missing.
"""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

import torch
from safetensors import SafetensorError

from rlef.algorithms import CalibrationBin
from rlef.engines import HFEngine, SamplingParams
from rlef.engines.check import check_engine, check_vocabulary
from rlef.engines.context import check_context
from rlef.engines.load import (
    LOADING_ERRORS,
    load_chat,
    load_config,
    load_model,
    load_tokenizer,
    resolve_device,
)
from rlef.environment import (
    ChatFormat,
    EpisodeRecord,
    FeedbackOptions,
    Prompts,
    RandomFeedbackPool,
    StopReason,
    reveal_private_tests,
)
from rlef.evaluation import episode_statistics
from rlef.evaluation.episodes import run_episodes, with_public_tests
from rlef.evaluation.progress import in_lines
from rlef.learner.checkpoint import (
    restore_learner,
    restore_policy,
    save_learner,
    save_policy,
    saved_precision,
)
from rlef.learner.config import LearnerConfig
from rlef.learner.notices import adapter_line, gap_alarm
from rlef.learner.ppo import PPOLearner, resolve_precision
from rlef.problems import Problem, load_problems
from rlef.rollout import (
    EpisodeRequest,
    Rollout,
    RolloutBatch,
    RolloutTiming,
    RolloutWorker,
    derive_seed,
)
from rlef.rollout.records import rollout_from_json, rollout_to_json
from rlef.run import RunDamagedError, RunFolder, RunWriteError, writing
from rlef.sandbox import Limits, Sandbox
from rlef.stored import read_metrics
from rlef.train.controls import build_controls
from rlef.train.idle import IdleWatch, LeftOut, NothingToLearn, check_room
from rlef.train.recipe import SamplingSection, TrainConfig
from rlef.train.summary import summarize

BEST = "best"
"""Name of the folder beside the checkpoints with the best policy on the validation problems."""


class Progress(Protocol):
    """What the loop tells of itself."""

    def message(self, text: str) -> None:
        """Takes a line of text."""
        ...

    def update(self, metrics: Mapping[str, object]) -> None:
        """Takes the metrics of a batch of rollouts and its updates."""
        ...


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
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(workers=config.rollout.judge_workers))
        trainer = Trainer(config, run, display, sandbox)
        trainer.describe()
        trainer.try_saving()
        stages = {"before": trainer.evaluate("eval-before")}
        trainer.train_to_the_end()
        trainer.take_best()
        stages["after"] = trainer.evaluate("eval-after")
        if config.eval.random_feedback:
            stages["random_feedback"] = trainer.evaluate("eval-random", random_feedback=True)
        run.write_summary(
            summarize(
                config,
                trainer.parameters,
                run.read_metrics(),
                stages,
                trainer.evaluation_s,
            )
        )


def learn(config: TrainConfig, run: RunFolder, display: Progress) -> Path:
    """Trains to the end of the recipe, without the evaluations before and after.

    Args:
        config: The recipe.
        run: Its folder, locked by the caller; what it holds is gone on from.
        display: Shows progress.

    Returns:
        The folder of the policy: the last checkpoint, or the best on ``data.valid``.

    Raises:
        As ``train``.
    """
    last = run.latest_checkpoint()
    if last is None or last.update < config.updates:
        with Sandbox(workers=config.rollout.judge_workers) as sandbox:
            trainer = Trainer(config, run, display, sandbox)
            trainer.describe()
            trainer.try_saving()
            trainer.train_to_the_end()
    return policy_path(config, run)


def policy_path(config: TrainConfig, run: RunFolder) -> Path:
    """Returns where a run's policy will be: the best on ``data.valid``, or the last checkpoint."""
    every = config.eval.every
    if every is not None and every <= config.updates:
        return run.checkpoints_path / BEST
    return run.checkpoint_path(config.updates)


class Trainer:
    """The parts of a run.

    Attributes:
        parameters: of the policy.
        evaluation_s: seconds spent on evaluations in this process.
    """

    def __init__(
        self, config: TrainConfig, run: RunFolder, display: Progress, sandbox: Sandbox
    ) -> None:
        self.config = config
        self.run = run
        self.display = display
        self.sandbox = sandbox
        self.evaluation_s = 0.0
        self._warned_of_gap = False
        self._order: tuple[int, list[int]] | None = None
        self.train_problems = with_public_tests(load_problems(config.data.train), display.message)
        test = load_problems(config.data.test)[: config.eval.problems]
        self.test_problems = with_public_tests(test, display.message)
        self.valid_problems = []
        if config.data.valid is not None:
            valid = load_problems(config.data.valid)
            self.valid_problems = with_public_tests(valid, display.message)
        self.prompts = Prompts.load(config.rollout.prompts)
        settings = load_config(config.model)
        check_context(settings, config.rollout.max_context, config.model, "rollout.max_context")
        self.chat = load_chat(config.model, config.rollout.today)
        self.tokenizer: Any = self.chat.tokenizer
        for key, problems in (
            ("data.train", self.train_problems),
            ("data.valid", self.valid_problems),
            ("data.test", self.test_problems),
        ):
            check_room(config, key, problems, self.prompts, self.chat, display.message)
        policy = load_model(config.model, resolve_device(config.device))
        check_vocabulary(policy, self.chat, config.model)
        self.parameters = policy.num_parameters()
        self.engine = HFEngine(
            policy,
            stop_token_ids=self.chat.stop_token_ids,
            max_context=config.rollout.max_context,
            max_batch=config.rollout.group,
        )
        check_engine(self.engine, config.model)
        self.controls = build_controls(
            config, self.train_problems, self.test_problems, sandbox, self.prompts, limits(config)
        )
        self.learner = PPOLearner(
            policy,
            self._learner_config(policy.device),
            config.seed,
            config.rollout.temperature,
            config.updates,
        )
        self._watch = IdleWatch(config, display.message)
        self._first_engine = first_engine(config, self.chat, config.rollout.max_context)
        self._sampler = self.engine
        if config.rollout.frozen:
            self._sampler = _engine(config, config.model, self.chat, config.rollout.max_context)
        self.worker = self._worker(
            self._sampler,
            SamplingParams(
                temperature=config.rollout.temperature,
                max_new_tokens=config.rollout.max_new_tokens,
            ),
            config.rollout.turn_limit,
            self.controls.training,
            self.controls.training_pool,
        )

    @property
    def update(self) -> int:
        """Optimizer steps that the batches so far stand for: the learner's clock."""
        return self.learner.updates

    def _learner_config(self, device: torch.device) -> LearnerConfig:
        """The recipe's, with ``precision: auto`` as it came out where the run began."""
        settings, last = self.config.learner, self.run.latest_checkpoint()
        if settings.precision != "auto" or last is None:
            return settings
        with self._reads(last.path):
            precision = saved_precision(last.path)
        here = resolve_precision("auto", device)
        if precision is None or precision == here:
            return settings
        self.display.message(
            f"learner.precision auto was {precision} where this run began and would be {here} "
            f"here; it goes on in {precision}"
        )
        return settings.model_copy(update={"precision": precision})

    def describe(self) -> None:
        """Says what is about to run."""
        config = self.config
        self.display.message(
            f"{config.name}: {config.model}, {self.parameters / 1e6:.2f} M parameters, "
            f"{len(self.train_problems)} training and {len(self.test_problems)} test problems, "
            f"{config.updates // config.updates_per_batch} batches of {config.rollout.batch} "
            f"rollouts; run folder {self.run.path}"
        )
        if (line := adapter_line(self.learner.policy)) is not None:
            self.display.message(line)

    def evaluate(self, name: str, *, random_feedback: bool = False) -> list[list[EpisodeRecord]]:
        """Runs the episodes of an evaluation on the test problems, at each of its settings."""
        feedback = self.controls.evaluation
        if random_feedback:
            feedback = replace(feedback, kind="random")
        return [
            self._evaluate(f"{name}-also" if i else name, self.test_problems, feedback, sampling)
            for i, sampling in enumerate(self.config.eval.samplings)
        ]

    def take_best(self) -> None:
        """Replaces the policy by the best one on the validation problems, if any were looked at."""
        path = policy_path(self.config, self.run)
        if path.name == BEST:
            with self._reads(path):
                restore_policy(self.learner.policy, path)

    def _validate(self) -> float | None:
        """Returns the solve rate on the validation problems where it is time to look at it."""
        every = self.config.eval.every
        if every is None or self.update % every:
            return None
        name = f"valid-{self.update:06d}"
        sampling = self.config.eval.samplings[0]
        records = self._evaluate(name, self.valid_problems, self.controls.evaluation, sampling)
        rate = episode_statistics(records, self.config.eval_turn_limit).one_at_n
        rates = [line.get("valid_solve_rate") for line in self.run.read_metrics()]
        if all(rate > other for other in rates if other is not None):
            self._save_best()
        return rate

    def _evaluate(
        self,
        name: str,
        problems: Sequence[Problem],
        feedback: FeedbackOptions,
        setting: SamplingSection,
    ) -> list[EpisodeRecord]:
        """Runs the episodes that are not on disk."""
        started = time.perf_counter()
        settings = self.config.eval
        sampling = SamplingParams(
            temperature=setting.temperature,
            top_p=setting.top_p,
            max_new_tokens=self.config.rollout.max_new_tokens,
        )
        self.engine.clear_cache()
        if settings.feedback == "private" and feedback.kind != "random":
            problems = [reveal_private_tests(problem) for problem in problems]
        pool = self.controls.evaluation_pool if feedback.kind == "random" else None
        records = run_episodes(
            self._worker(self.engine, sampling, self.config.eval_turn_limit, feedback, pool),
            problems,
            settings.samples,
            self.config.seed,
            self.run,
            name,
            in_lines(self.display.message),
        )
        self.engine.clear_cache()
        self.evaluation_s += time.perf_counter() - started
        return records

    def train_to_the_end(self) -> None:
        """Goes on from the last checkpoint, if there is one, to the end of the recipe."""
        self.restore()
        while self.update < self.config.updates:
            self.train_on_one_batch()

    def restore(self) -> None:
        """Brings the learner to the last checkpoint, if there is one."""
        checkpoint = self.run.latest_checkpoint()
        if checkpoint is not None:
            with self._reads(checkpoint.path):
                restore_learner(self.learner, checkpoint.path)
            self.learner.updates = checkpoint.update  # rlef 0.1 counted the steps that were taken
            self.display.message(f"goes on after update {self.update}")
        self.run.truncate_metrics_after(self.update)
        read_metrics(self.run, complete=True)  # a damaged line now, not after the training

    def train_on_one_batch(self) -> None:
        """Samples a batch of rollouts, learns from it, and writes what came of it."""
        config = self.config
        number = self.update // config.updates_per_batch
        started = time.perf_counter()
        rollouts = self._rollouts(number)
        has_first_model = config.rollout.first_model is not None
        left_out = LeftOut.of(rollouts, has_first_model=has_first_model)
        if left_out.infra == left_out.total:
            raise NothingToLearn(
                f"none of the {left_out.total} rollouts of a batch could be judged (what the judge "
                "needs shows: rlef env); a run that goes on judges them again"
            )
        sampled = time.perf_counter()
        if has_first_model:
            rollouts = [rollout.after_first_turn() for rollout in rollouts]
        trainable = [rollout for rollout in rollouts if rollout.trainable]
        metrics: dict[str, float] = {}
        calibration: tuple[CalibrationBin, ...] = ()
        if trainable:
            batch = RolloutBatch.from_rollouts(trainable, config.rollout.turn_limit)
            self.engine.clear_cache()  # the weights change, and the memory is needed
            self._sampler.clear_cache()
            metrics = self.learner.update(batch, config.updates_per_batch)
            calibration = self.learner.calibration
            self._warn_of_gap(metrics)
        else:
            self.learner.pass_over(config.updates_per_batch)
        ended = time.perf_counter()
        valid = self._validate()
        line = {
            "update": self.update,
            **_solve_metrics([r.record for r in rollouts], config.rollout.turn_limit),
            **metrics,
            **({"calibration": calibration} if calibration else {}),
            **({} if valid is None else {"valid_solve_rate": valid}),
            "trained_rollouts": len(trainable),
            "masked_infra": left_out.infra,
            "masked_no_room": left_out.no_room,
            "policy_moved": int(self.learner.policy_moved),
            "generate_s": self.worker.timing.generate_s,
            "judge_wait_s": self.worker.timing.judge_wait_s,
            "rollout_s": sampled - started,
            "update_s": ended - sampled,
        }
        self.run.append_metrics(line)
        self.display.update(line)
        why = self._watch.see(self.update, left_out, policy_moved=self.learner.policy_moved)
        is_due = self.update % config.checkpoint_every == 0 or self.update >= config.updates
        if is_due or why:
            self._save()
        if why and self.update < config.updates:
            raise NothingToLearn(why)

    def _warn_of_gap(self, metrics: Mapping[str, float]) -> None:
        """Says once per process that sampler and learner disagree, if they do."""
        line = gap_alarm(metrics)  # frozen rollouts are another model's
        if line is not None and not self._warned_of_gap and not self.config.rollout.frozen:
            self._warned_of_gap = True
            self.display.message(line)

    def _rollouts(self, number: int) -> list[Rollout]:
        """Returns the rollouts of a batch: those on disk, then those that are missing."""
        name = f"train-{(number + 1) * self.config.updates_per_batch:06d}"
        found: dict[int, Rollout] = {}
        for line, record in enumerate(self.run.read_rollouts(name), start=1):
            try:
                rollout = rollout_from_json(record)
                if type(record.get("place")) is not int:
                    raise ValueError("place is no number")
            except ValueError as error:
                path = self.run.rollout_path(name)
                raise RunDamagedError(f"{path} holds no rollout on line {line}: {error}") from None
            found[record["place"]] = rollout
        stops = {rollout.record.stop for rollout in found.values()}
        if stops == {StopReason.INFRA_ERROR}:
            self.run.write_rollouts(name, [])  # the judge was at fault, and may not be now
            found = {}
        size = self.config.rollout.batch
        missing = [place for place in range(size) if place not in found]
        requests = [self._request(number * size + place) for place in missing]
        self.worker.timing = RolloutTiming()
        for ended in self.worker.stream(requests):
            entries = [{**rollout_to_json(rollout), "place": missing[i]} for i, rollout in ended]
            self.run.append_rollouts(name, entries)
            found.update((missing[i], rollout) for i, rollout in ended)
        return [found[place] for place in range(size)]

    def _request(self, index: int) -> EpisodeRequest:
        """Returns the run's index-th episode: each pass over the problems in a new order."""
        number = index // self.config.rollout.per_problem
        passes, place = divmod(number, len(self.train_problems))
        if self._order is None or self._order[0] != passes:
            order = list(range(len(self.train_problems)))
            Random(f"train/{self.config.seed}/{passes}").shuffle(order)
            self._order = passes, order
        return EpisodeRequest(
            problem=self.train_problems[self._order[1][place]],
            seed=derive_seed(self.config.seed, "train", index),
        )

    def try_saving(self) -> None:
        """Writes the policy and reads it again, so that the first checkpoint will not fail.

        Raises:
            ValueError: The model cannot be written, or not be read again.
            RunWriteError: The folder cannot take it.
        """
        if self.run.latest_checkpoint() is not None:
            return
        folder = self.run.new_checkpoint()
        policy = self.learner.policy
        try:
            with writing(folder, SafetensorError):
                save_policy(policy, self.tokenizer, folder, self.config.checkpoint_dtype)
            restore_policy(policy, folder)
        except RunWriteError:
            raise
        except Exception as error:  # transformers and peft raise all sorts of what they cannot do
            raise ValueError(
                f"{self.config.model}: a checkpoint of it cannot be written and read again, so it "
                f"is not trained: {type(error).__name__}: {str(error)[:200]}"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _save(self) -> None:
        folder = self.run.new_checkpoint()
        with writing(folder, SafetensorError):
            save_learner(self.learner, self.tokenizer, folder, self.config.checkpoint_dtype)
        self.run.commit_checkpoint(folder, self.update, self.config.keep_checkpoints)

    def _save_best(self) -> None:
        folder = self.run.new_checkpoint()
        with writing(folder, SafetensorError):
            dtype = self.config.checkpoint_dtype
            save_policy(self.learner.policy, self.tokenizer, folder, dtype)
        self.run.commit_named(folder, BEST)

    @contextmanager
    def _reads(self, path: Path) -> Iterator[None]:
        """Turns what loading raises into the name of a damaged folder and what to do."""
        try:
            yield
        except LOADING_ERRORS as error:
            hint = "; remove this folder to go on from the checkpoint before it, or from the "
            hint += "beginning with all rollouts kept"
            raise RunDamagedError(
                f"{path} is damaged ({str(error)[:100]}){hint if path.name != BEST else ''}"
            ) from None

    def _worker(
        self,
        engine: HFEngine,
        sampling: SamplingParams,
        turn_limit: int,
        feedback: FeedbackOptions,
        pool: RandomFeedbackPool | None,
    ) -> RolloutWorker:
        return RolloutWorker(
            engine=engine,
            chat=self.chat,
            sandbox=self.sandbox,
            sampling=sampling,
            max_turns=turn_limit,
            max_context=self.config.rollout.max_context,
            prompts=self.prompts,
            feedback=feedback,
            rewards=self.config.reward.build(),
            limits=limits(self.config),
            group_size=self.config.rollout.group,
            random_feedback=pool,
            first_engine=self._first_engine,
        )


def first_engine(
    config: TrainConfig, chat: ChatFormat, max_context: int | None = None
) -> HFEngine | None:
    """Returns the engine of ``rollout.first_model``, if there is one.

    Args:
        config: The recipe.
        chat: Of the model that gives the later answers.
        max_context: As for ``HFEngine``.

    Raises:
        ModelError: It cannot be loaded.
        ValueError: Its tokenizer is another than that of ``chat``.
    """
    name = config.rollout.first_model
    if name is None:
        return None
    theirs, ours = load_tokenizer(name).get_vocab(), chat.tokenizer.get_vocab()  # type: ignore[attr-defined]
    if theirs != ours:
        raise ValueError(
            f"rollout.first_model is {name}, whose tokenizer is not that of {config.model}; "
            "allowed: models with the same tokenizer"
        )
    return _engine(config, name, chat, max_context)


def _engine(config: TrainConfig, model: str, chat: ChatFormat, max_context: int | None) -> HFEngine:
    """Returns an engine whose weights never change."""
    engine = HFEngine(
        load_model(model, resolve_device(config.device)),
        stop_token_ids=chat.stop_token_ids,
        max_context=max_context,
        max_batch=config.rollout.group,
    )
    check_engine(engine, model)
    return engine


def limits(config: TrainConfig) -> Limits:
    """Returns the limits of a test where its problem names none."""
    return Limits(cpu_s=config.rollout.cpu_s, memory_mb=config.rollout.memory_mb)


def _solve_metrics(records: Sequence[EpisodeRecord], turn_limit: int) -> dict[str, float]:
    statistics = episode_statistics(records, turn_limit)
    rates = statistics.solve_rate_by_turn
    return {
        "solve_rate": statistics.one_at_n,
        **{f"solve_rate/turn_{turn}": rate for turn, rate in enumerate(rates, start=1)},
        "repair_rate": statistics.repair_rate,
        "invalid_rate": statistics.invalid_rate,
        "repeated_rate": statistics.repeated_rate,
    }
