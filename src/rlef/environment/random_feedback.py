"""The random-feedback control: true feedback, but on another problem (method: random feedback)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rlef.environment.feedback import FeedbackOptions, Fits, write_feedback
from rlef.environment.jobs import public_job
from rlef.environment.templates import Prompts
from rlef.languages import LANGUAGES
from rlef.problems import Problem
from rlef.sandbox import JudgePool, Limits, Verdict

_PER_PROBLEM = 8
_TRIES = 4
_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomFeedbackPool:
    """Feedback messages per problem, to be shown on other problems.

    Attributes:
        messages: by problem name; each problem has at least one.
        families: by problem name, ``Problem.family``.
    """

    messages: dict[str, tuple[str, ...]]
    families: dict[str, str | None]

    @classmethod
    def build(
        cls,
        problems: Sequence[Problem],
        sandbox: JudgePool,
        prompts: Prompts,
        options: FeedbackOptions,
        seed: int,
        *,
        limits: Limits = _DEFAULT_LIMITS,
    ) -> Self:
        """Runs incorrect solutions of each problem on its public tests and keeps the feedback.

        At most 8 solutions per problem, drawn with ``seed``. A problem none of whose incorrect
        solutions fails a public test is represented by a program that only raises an error.

        Raises:
            ValueError: Fewer than two problems, or two of one name.
        """
        options = options.of_kind("full")
        names = [problem.name for problem in problems]
        if len(set(names)) < max(2, len(names)):
            raise ValueError("random feedback needs two or more problems of different names")
        stream = random.Random(seed)
        jobs, owners = [], []
        for problem in problems:
            incorrect = problem.incorrect_solutions
            chosen = stream.sample(incorrect, min(_PER_PROBLEM, len(incorrect)))
            for program in (LANGUAGES[problem.language].failing, *chosen):
                jobs.append(public_job(problem, program, limits))
                owners.append(problem)
        found: dict[str, list[str]] = {name: [] for name in names}
        for problem, report in zip(owners, sandbox.judge_many(jobs), strict=True):
            if report.verdict not in (Verdict.AC, Verdict.IE):
                feedback = write_feedback(problem.public, report, prompts, options)
                found[problem.name].append(feedback)
        messages = {name: tuple(texts[1:] or texts) for name, texts in found.items() if texts}
        if len(messages) < 2:
            raise ValueError("random feedback: fewer than two problems gave any feedback")
        families = {problem.name: problem.family for problem in problems}
        return cls(messages=messages, families=families)

    def draw(self, problem_name: str, seed: int, fits: Fits | None = None) -> str:
        """Returns a message of another problem, of another family if there is one.

        Args:
            problem_name: Whose feedback is to be replaced; it need not be in the pool.
            seed: The same name and seed give the same message.
            fits: Whether one is short enough. If none of the first four is, the pool's shortest is
                taken.
        """
        others = sorted(name for name in self.messages if name != problem_name)
        family = self.families.get(problem_name)
        foreign = [name for name in others if family is None or self.families[name] != family]
        stream = random.Random(f"{problem_name}:{seed}")
        for _ in range(_TRIES):
            message = stream.choice(self.messages[stream.choice(foreign or others)])
            if fits is None or fits(message):
                return message
        return min((text for name in foreign or others for text in self.messages[name]), key=len)
