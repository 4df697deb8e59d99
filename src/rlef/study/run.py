"""Runs a study: trains every arm with every seed, then its exams; goes on where it was stopped."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

from rlef.config import changed_keys, dump_config, load_config
from rlef.engines import Engine, PolicyEngine, SamplingParams
from rlef.engines.load import load_chat
from rlef.environment import (
    ChatFormat,
    Exchange,
    FeedbackOptions,
    Prompts,
    RandomFeedbackPool,
    StopReason,
    repair_dialogues,
    reveal_private_tests,
)
from rlef.evaluation.episodes import run_episodes, with_public_tests
from rlef.problems import Problem, load_problems
from rlef.rollout import EpisodeSettings, LocalRollouts
from rlef.run import RunError, RunFolder
from rlef.sandbox import JudgePool
from rlef.serve import open_judge
from rlef.study.arms import Exam, Part
from rlef.study.config import (
    arm_config,
    check_order,
    first_policy,
    has_second_setting,
    samples_of,
)
from rlef.study.jobs import Failure, PartTask, run_tasks
from rlef.study.wrappers import first_turn_engine, variant_of
from rlef.train.loop import learn
from rlef.train.parts import limits
from rlef.train.paths import OF_PLACE
from rlef.train.place import hf_engine, settle_precision
from rlef.train.progress import Silent
from rlef.train.recipe import SamplingSection, TrainConfig

EXAMPLE_PROBLEMS = 256
"""Training problems among which examples are looked for."""
_EVERY_S = 30.0


def exam_name(exam: Exam) -> str:
    """Name of the exam's rollouts in a run folder."""
    return f"exam-{exam.name}"


def run_study(
    recipe: str,
    words: Sequence[str],
    todo: Sequence[Part],
    out: Path,
    *,
    say: Callable[[str], None],
    jobs: int = 1,
) -> list[Failure]:
    """Trains and examines; what is on disk already is not done again.

    Args:
        recipe: Of the arm ``rlef``; the others change one thing.
        words: Settings for all arms.
        todo: What to run.
        out: Folder of the study; each part has a run folder in it.
        say: Receives lines for the user; a function of a module, as other processes call it too.
        jobs: Parts that run at once, each in a process of its own with its share of the cores.

    Returns:
        The parts that failed or were not tried because others did; the same words try them again.

    Raises:
        ConfigError, ValueError: A word is wrong.
        RunError: A part was begun with other settings.
        RuntimeError: A process of a part was killed.
    """
    check_order(todo)
    tasks = [
        PartTask(
            part,
            arm_config(recipe, words, part),
            part.folder(out),
            f"{n}/{len(todo)}",
            first_policy(recipe, words, part, out),
        )
        for n, part in enumerate(todo, start=1)
    ]  # wrong words end here
    for task in tasks:
        _open(task.path, task.config)
    return run_tasks(tasks, run_task, say, jobs)


def run_task(task: PartTask, say: Callable[[str], None]) -> None:
    """Trains and examines one part."""
    started = time.perf_counter()
    run, part = RunFolder.open(task.path), task.part

    def tell(text: str) -> None:
        say(f"[{task.place}] {part.arm.name}, seed {part.seed}: {text}")

    try:
        with run.lock():
            policy = task.config.model.name
            if part.arm.is_trained:
                lines = _TrainingLines(task.config.updates, tell)
                variant = variant_of(part.arm, task.first_policy)
                policy = str(learn(task.config, run, lines, variant))
            _Examiner(task.config, policy, run, tell, task.first_policy).take_all(part)
    except Exception:
        tell("failed")
        raise
    tell(f"done in {time.perf_counter() - started:.0f} s")


class _TrainingLines(Silent):
    """A line of progress now and then; the numbers themselves are in the run folders.

    The loop's own words are left out, as there are many loops.
    """

    def __init__(self, updates: int, say: Callable[[str], None]) -> None:
        self._updates = updates
        self._say = say
        self._shown = time.monotonic()

    def update(self, metrics: Mapping[str, object]) -> None:
        """Shows a line if the last one is old."""
        if time.monotonic() - self._shown < _EVERY_S:
            return
        self._shown = time.monotonic()
        rate = metrics.get("solve_rate")
        solved = f", {100 * rate:.1f} % solved" if isinstance(rate, float) else ""
        self._say(f"update {metrics['update']} of {self._updates}{solved}")


def check_words(recipe: str, words: Sequence[str], todo: Sequence[Part], out: Path) -> None:
    """Makes sure that what is on disk was begun with these words.

    Raises:
        ConfigError: A word is wrong.
        RunError: A part was begun with other settings.
    """
    for part in todo:
        run = RunFolder(part.folder(out))
        if run.is_run():
            _check_same(run, arm_config(recipe, words, part))


def _open(path: Path, config: TrainConfig) -> RunFolder:
    run = RunFolder(path)
    if not run.is_run():
        return RunFolder.create(path, dump_config(config))
    _check_same(run, config)
    return RunFolder.open(path)


def _check_same(run: RunFolder, config: TrainConfig) -> None:
    old = load_config(TrainConfig, run.config_path, [])
    changed = [key for key in changed_keys(old, config) if not key.startswith(OF_PLACE)]
    if changed:
        raise RunError(
            f"{run.path} was begun with other values of {', '.join(changed)}; "
            "allowed: the same words again, or another --out"
        )


class _Examiner:
    """Evaluates one policy; it is loaded for the first exam that is not on disk."""

    def __init__(
        self,
        config: TrainConfig,
        policy: str,
        run: RunFolder,
        say: Callable[[str], None],
        first_policy: str | None,
    ) -> None:
        self._config = config
        self._policy = policy
        self._run = run
        self._say = say
        self._first_policy = first_policy
        problems = load_problems(config.data.test)[: config.eval.problems]
        self._problems = with_public_tests(problems, say, f"data.test ({config.data.test})")

    def take_all(self, part: Part) -> None:
        arm, exams = part.arm, part.exams(also=has_second_setting(self._config))
        missing = [exam for exam in exams if not self._is_complete(exam)]
        if not missing:
            return
        config = settle_precision(self._config, self._run, self._say)
        chat = load_chat(self._policy, config.model)
        # its context is the model's own: there are more turns than in training
        engine: PolicyEngine = hf_engine(config, chat, self._policy, max_context=None)
        if self._first_policy is not None:
            engine = first_turn_engine(config, chat, engine, self._first_policy)
        workers = config.rollout.judge_workers
        with closing(engine), open_judge(config.judge.url, workers) as sandbox:
            if arm.examples:
                chat = chat.with_examples(self._examples(arm.examples, engine, chat, sandbox))
            for exam in missing:
                self._take(exam, engine, chat, sandbox)

    def _examples(
        self, count: int, engine: Engine, chat: ChatFormat, sandbox: JudgePool
    ) -> list[Exchange]:
        """Dialogues on training problems that the model solved after feedback."""
        config = self._config
        every = load_problems(config.data.train)
        problems = with_public_tests(every, _silent, "data.train")[:EXAMPLE_PROBLEMS]
        feedback = config.feedback.of_kind("full")
        seed = config.seed + 1  # other draws than those of the exams
        settings = self._settings(engine, config.rollout.turn_limit, feedback, self._sampling())
        with LocalRollouts(engine, chat, sandbox, settings) as rollouts:
            records = run_episodes(rollouts, problems, 1, seed, self._run, "examples", _silent)
        by_name = {problem.name: problem for problem in problems}
        return repair_dialogues(records, by_name, Prompts.load(config.rollout.prompts), count)

    def _is_complete(self, exam: Exam) -> bool:
        count = len(self._run.read_rollouts(exam_name(exam)))
        return count == len(self._problems) * samples_of(exam, self._config)

    def _take(
        self,
        exam: Exam,
        engine: Engine,
        chat: ChatFormat,
        sandbox: JudgePool,
    ) -> None:
        config = self._config
        prompts = Prompts.load(config.rollout.prompts)
        kind = config.eval.feedback or config.feedback.kind
        feedback = config.feedback.of_kind("full" if kind == "private" else kind)
        problems: Sequence[Problem] = self._problems
        if exam.feedback == "private":
            problems = [reveal_private_tests(problem) for problem in problems]
        elif exam.feedback == "random":
            feedback = feedback.of_kind("random")
        pool = None
        if feedback.kind == "random":
            pool = RandomFeedbackPool.build(
                problems, sandbox, prompts, feedback, config.seed, limits=limits(config)
            )
        sampling = self._sampling(also=exam.also)
        settings = self._settings(engine, exam.turn_limit, feedback, sampling, pool)
        with LocalRollouts(engine, chat, sandbox, settings) as rollouts:
            records = run_episodes(
                rollouts,
                problems,
                samples_of(exam, config),
                config.seed,
                self._run,
                exam_name(exam),
                _silent,
            )
        counted = [r for r in records if r.stop is not StopReason.INFRA_ERROR]
        solved = sum(record.solved for record in counted)
        self._say(f"exam {exam.name}: {solved} of {len(counted)} episodes solved")

    def _sampling(self, *, also: bool = False) -> SamplingSection:
        """The recipe's setting of evaluations, or its second one."""
        settings = self._config.eval
        if also and settings.also is not None:
            return settings.also
        return SamplingSection(temperature=settings.temperature, top_p=settings.top_p)

    def _settings(
        self,
        engine: Engine,
        turn_limit: int,
        feedback: FeedbackOptions,
        sampling: SamplingSection,
        pool: RandomFeedbackPool | None = None,
    ) -> EpisodeSettings:
        config = self._config
        return EpisodeSettings(
            sampling=SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_new_tokens=config.rollout.max_new_tokens,
            ),
            max_turns=turn_limit,
            max_context=engine.max_context,
            min_new_tokens=config.rollout.min_new_tokens,
            prompts=Prompts.load(config.rollout.prompts),
            feedback=feedback,
            rewards=config.reward,
            limits=limits(config),
            random_feedback=pool,
        )


def _silent(_: object) -> None:
    return


def finished(out: Path, todo: Sequence[Part]) -> list[Part]:
    """The parts whose exams are all on disk, to the last episode.

    Args:
        out: Folder of the study.
        todo: All parts.

    Raises:
        ConfigError, ProblemError: A part's recipe or its problems cannot be read.
        RunDamagedError: Its episodes cannot be read.
    """
    return [part for part in todo if _is_finished(RunFolder(part.folder(out)), part)]


def _is_finished(run: RunFolder, part: Part) -> bool:
    if not run.is_run():
        return False
    config = load_config(TrainConfig, run.config_path, [])
    count = _count_problems(config.data.test, config.eval.problems)
    return all(
        len(run.read_rollouts(exam_name(exam))) == count * samples_of(exam, config)
        for exam in part.exams(also=has_second_setting(config))
    )


@cache
def _count_problems(spec: str, first: int | None) -> int:
    return len(with_public_tests(load_problems(spec)[:first], _silent, spec))
