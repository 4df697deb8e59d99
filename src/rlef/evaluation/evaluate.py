"""Evaluating a model on problems: episodes appended to a run folder, then numbers."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from rlef.engines import SamplingParams
from rlef.engines.hf_settings import HFSettings
from rlef.engines.open import open_engine
from rlef.environment import (
    ChatSettings,
    FeedbackOptions,
    Prompts,
    RandomFeedbackPool,
    StopReason,
)
from rlef.evaluation.episodes import run_episodes, total_wall_s, with_public_tests
from rlef.evaluation.progress import Progress
from rlef.evaluation.results import write_results
from rlef.evaluation.specs import MetricSpec
from rlef.problems import Problem
from rlef.rollout import EpisodeSettings, LocalRollouts
from rlef.run import RunFolder
from rlef.sandbox import usable_cores
from rlef.serve import open_judge
from rlef.stored import EPISODES


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """Which engine samples, see ``open_engine``."""

    kind: str = "hf"
    device: str = "auto"
    dtype: str = "auto"
    base_url: str | None = None
    concurrency: int = 16
    max_context: int | None = None
    hf: HFSettings = field(default_factory=HFSettings)
    chat_settings: ChatSettings = field(default_factory=ChatSettings)


_FULL = FeedbackOptions()


def evaluate(
    *,
    model: str,
    data: str,
    problems: Sequence[Problem],
    run: RunFolder,
    turn_limit: int,
    samples: int,
    metrics: Sequence[MetricSpec],
    sampling: SamplingParams,
    seed: int,
    prompts: Prompts,
    engine: EngineChoice,
    feedback: FeedbackOptions = _FULL,
    judge_url: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    show: Callable[[Progress], None] = lambda _: None,
) -> dict[str, object]:
    """Runs episodes on problems; those that the run folder already holds are not run again.

    Args:
        model: ``"mini"``, a folder or a hub id; a server's name of it.
        data: Where the problems are from, for the table beside the paper's.
        problems: Those without public tests are left out, and said so.
        run: Gets the episodes as they end, in ``rollouts/eval.jsonl``, then what
            ``write_results`` writes.
        turn_limit: Answers per episode at most.
        samples: Episodes per problem.
        metrics: What to measure; each needs no more than ``samples`` episodes.
        sampling: How answers are drawn.
        seed: Of all draws.
        prompts: Templates.
        engine: What samples.
        feedback: What is told between turns; the kind ``random`` is that of these problems.
        judge_url: Of the judge, see ``open_judge``; ``None``: here.
        say: Receives lines for the user.
        show: Hears of every step.

    Returns:
        See ``write_results``.

    Raises:
        ProblemError: No problem has both public and private tests.
        ModelError, TemplateError, ValueError: The model or a number cannot be used.
        EngineError: The engine cannot go on; what has ended is kept.
        RunDamagedError: Episodes on disk cannot be read.
    """
    for spec in metrics:
        if spec.episodes(turn_limit) > samples:
            raise ValueError(
                f"{spec.name} with {turn_limit} turns needs {spec.episodes(turn_limit)} episodes "
                f"of each problem or more, not {samples}"
            )
    usable = with_public_tests(problems, say, data)
    with ExitStack() as stack:
        sandbox = open_judge(judge_url, usable_cores())  # before the model, which takes longer
        stack.callback(sandbox.close)
        opened, chat = open_engine(
            engine.kind,
            model,
            device=engine.device,
            dtype=engine.dtype,
            base_url=engine.base_url,
            concurrency=engine.concurrency,
            max_context=engine.max_context,
            seed=seed,
            hf=engine.hf,
            chat_settings=engine.chat_settings,
        )
        stack.callback(opened.close)
        if chat is not None and chat.notice is not None:
            say(chat.notice)
        pool = None
        if feedback.kind == "random":
            pool = RandomFeedbackPool.build(usable, sandbox, prompts, feedback, seed)
        settings = EpisodeSettings(
            sampling=sampling,
            max_turns=turn_limit,
            max_context=opened.max_context,
            prompts=prompts,
            feedback=feedback,
            random_feedback=pool,
        )
        with LocalRollouts(opened, chat, sandbox, settings) as rollouts:
            records = run_episodes(rollouts, usable, samples, seed, run, EPISODES, show)
    full = sum(record.stop is StopReason.CONTEXT_LIMIT for record in records)
    if full:
        say(
            f"{full} of {len(records)} episodes ended early: no room for another answer in "
            f"{opened.max_context or 'the context'} tokens"
        )
    return write_results(
        run,
        records,
        metrics,
        model=model,
        data=data,
        turn_limit=turn_limit,
        wall_s=total_wall_s(run, EPISODES),
        problems=usable,
    )
