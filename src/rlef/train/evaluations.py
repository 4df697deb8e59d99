"""Evaluations of a run: on test problems before and after, on validation problems within."""

import time
from collections.abc import Sequence
from dataclasses import replace

from rlef.engines import SamplingParams
from rlef.environment import EpisodeRecord, FeedbackOptions, reveal_private_tests
from rlef.evaluation import episode_statistics
from rlef.evaluation.episodes import run_episodes
from rlef.problems import Problem
from rlef.train.parts import Parts
from rlef.train.recipe import SamplingSection


class Evaluations:
    """Runs episodes with the policy as it is; those that are on disk are not run again.

    Attributes:
        seconds: spent on evaluations in this process.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._config = parts.config
        self.seconds = 0.0

    def on_test(self, name: str, *, random_feedback: bool = False) -> list[list[EpisodeRecord]]:
        """Runs the episodes of an evaluation on the test problems, at each of its settings."""
        feedback = self._parts.controls.evaluation
        if random_feedback:
            feedback = feedback.of_kind("random")
        return [
            self._run(f"{name}-also" if i else name, self._parts.test_problems, feedback, sampling)
            for i, sampling in enumerate(self._config.eval.samplings)
        ]

    def on_valid(self, name: str) -> float:
        """Returns the solve rate on the validation problems."""
        records = self._run(
            name,
            self._parts.valid_problems,
            self._parts.controls.evaluation,
            self._config.eval.samplings[0],
        )
        limit = self._config.eval_turn_limit
        return episode_statistics(records, limit, code_changes=False).one_at_n

    def _run(
        self,
        name: str,
        problems: Sequence[Problem],
        feedback: FeedbackOptions,
        sampling: SamplingSection,
    ) -> list[EpisodeRecord]:
        started = time.perf_counter()
        parts, config = self._parts, self._config
        if config.eval.feedback == "private" and feedback.kind != "random":
            problems = [reveal_private_tests(problem) for problem in problems]
        settings = replace(
            parts.episodes,
            sampling=SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_new_tokens=config.rollout.max_new_tokens,
            ),
            max_turns=config.eval_turn_limit,
            feedback=feedback,
            random_feedback=parts.controls.evaluation_pool if feedback.kind == "random" else None,
        )
        parts.display.stage("evaluating")
        with parts.open_rollouts(settings) as rollouts:
            rollouts.use(parts.learner.weights())
            records = run_episodes(
                rollouts,
                problems,
                config.eval.samples,
                config.seed,
                parts.run,
                name,
                parts.display.episodes,
                # A run that goes on has another policy by now than before its first update.
                retry=not (name.startswith("eval-before") and parts.learner.version),
            )
        self.seconds += time.perf_counter() - started
        return records
