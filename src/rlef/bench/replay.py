"""Engine, learner and judge that take time but no cores: what is measured is all between them.

The engine replays recorded answers: it sleeps as long as each took, played faster, and gives as
many tokens. The learner sleeps. Episodes, conversations, ledger, batches and the loop are real.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlef.algorithms import CalibrationBin
from rlef.bench.recorded import ANSWERS
from rlef.engines import Completion, FinishReason, Generate, SamplingParams, Weights
from rlef.engines.busy import BusyClock
from rlef.environment import ChatFormat
from rlef.learner.scores import RolloutScores
from rlef.learner.service import Metrics
from rlef.problems import Problem
from rlef.rollout import RolloutBatch
from rlef.rollout.teacher import TeacherBatch
from rlef.sandbox import JudgeJob, JudgeReport, TestReport, Verdict

RIGHT_IN_100 = 25
"""Of answers; the others fail their public tests. Of three turns that makes 2.3 on average."""
MEAN_S = sum(seconds for _, seconds in ANSWERS) / len(ANSWERS)
_RIGHT, _WRONG = "print(2 * int(input()))", "print(2 * int(input()) + 1)"
_TURNS = 1 + (1 - RIGHT_IN_100 / 100) + (1 - RIGHT_IN_100 / 100) ** 2


def problems(count: int) -> list[Problem]:
    """Returns problems to double a number, each with tests of its own."""
    from rlef.bench.programs import doubling_tests

    return [
        Problem(
            name=f"double-{number}",
            statement="Read a number n and print 2n.",
            public_tests=tuple(doubling_tests(10 * number, 2)),
            private_tests=tuple(doubling_tests(10 * number + 2, 8)),
            family=None,
            hidden_detail=None,
        )
        for number in range(count)
    ]


class ReplayEngine:
    """Replays recorded answers: a ``PolicyEngine``.

    Args:
        chat: Whose tokenizer writes the answers.
        slots: Answers at once.
        episode_s: Seconds of an episode, on average, all of its answers together.

    Attributes:
        version: of the weights.
    """

    def __init__(self, chat: ChatFormat, *, slots: int, episode_s: float) -> None:
        self.concurrency = slots
        self.max_context: int | None = None
        self.version = 0
        self._scale = episode_s / _TURNS / MEAN_S
        self._busy = BusyClock()
        self._slots: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}
        self._right, self._wrong = written_answers(chat)

    @property
    def busy_s(self) -> float:
        """See ``Engine``."""
        return self._busy.seconds

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams, seed: int
    ) -> Completion:
        """Sleeps as long as an answer took that the seed chooses, and returns it."""
        new = asyncio.Semaphore(self.concurrency)
        async with self._slots.setdefault(asyncio.get_running_loop(), new):
            version = self.version
            drawn, number = divmod(seed, len(ANSWERS))
            with self._busy:
                await asyncio.sleep(ANSWERS[number][1] * self._scale)
            ids = (self._right if drawn % 100 < RIGHT_IN_100 else self._wrong)[number]
        return Completion(
            token_ids=ids,
            logprobs=(-0.5,) * len(ids),
            finish=FinishReason.STOP,
            version=version,
        )

    def seat(self) -> AbstractContextManager[Generate]:
        """See ``Engine``."""
        return nullcontext(self.generate)

    def load_weights(self, weights: Weights) -> None:
        """Reads all tensors, and notes their version."""
        for _, tensor in weights.merged():
            tensor.numel()
        self.version = weights.version

    def held_dtypes(self) -> Mapping[str, str]:
        """It holds none."""
        return {}

    def sleep(self) -> None:
        """There is nothing to free."""

    def close(self) -> None:
        """There is nothing to close."""


@lru_cache(maxsize=2)
def written_answers(chat: ChatFormat) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Returns right and wrong answers in tokens, written once for all engines of a process."""
    numbers = range(len(ANSWERS))
    right = [_answer(chat, _RIGHT, number) for number in numbers]
    return right, [_answer(chat, _WRONG, number) for number in numbers]


def _answer(chat: ChatFormat, source: str, number: int) -> tuple[int, ...]:
    """Token ids of a program with as many tokens as were recorded, by means of a comment."""
    wanted, text = ANSWERS[number][0], f"```python\n{source}\n# {number}"
    encode = chat.tokenizer.encode
    filler = " and so on"
    each = len(encode(filler * 2, add_special_tokens=False)) / 2
    missing = wanted - len(encode(f"{text}\n```", add_special_tokens=False))
    text += filler * max(0, round(missing / each))
    return (*encode(f"{text}\n```", add_special_tokens=False), chat.end_of_turn)


class ReplayJudge:
    """Knows right answers of ``ReplayEngine`` from wrong ones: a ``JudgePool`` without jails."""

    def judge_many(self, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
        """Returns the verdicts that a sandbox would come to."""
        return [_report(job) for job in jobs]


def _report(job: JudgeJob) -> JudgeReport:
    verdict = Verdict.WA if _WRONG in job.source else Verdict.AC
    tests = tuple(TestReport(verdict=verdict, stdout="1\n") for _ in job.tests)
    return JudgeReport(verdict=verdict, tests=tests)


@dataclass(frozen=True, slots=True)
class ReplayWeights:
    """Zeros to hand on: ``Weights`` of so many megabytes."""

    version: int
    megabytes: int
    model: None = None

    def merged(self) -> Iterator[tuple[str, Tensor]]:
        """Yields tensors of a megabyte."""
        for number in range(self.megabytes):
            yield f"layer.{number}", torch.zeros(1 << 18)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The same."""
        return self.merged()

    def logprobs(self, rows: Sequence[Sequence[int]], first: int) -> NDArray[np.float64]:
        """No engine here asks."""
        raise NotImplementedError("these weights are of no model")


class ReplayLearner:
    """Sleeps over each batch: a ``Learner``.

    Args:
        update_s: Seconds of an update.
        megabytes: Of its weights.
    """

    policy_moved = True
    calibration: tuple[CalibrationBin, ...] = ()

    def __init__(self, update_s: float, megabytes: int) -> None:
        self.version = 0
        self._update_s = update_s
        self._megabytes = megabytes

    def update(
        self,
        batch: RolloutBatch,
        steps: int,
        lessons: TeacherBatch | None = None,
        replay: RolloutBatch | None = None,
    ) -> Metrics:
        """Sleeps."""
        time.sleep(self._update_s)
        self.version += steps
        return {"action_tokens": float((batch.turn_ids >= 0).sum())}

    def scores(self) -> tuple[RolloutScores, ...]:
        """None."""
        return ()

    def pass_over(self, steps: int) -> None:
        """See ``Learner``."""
        self.version += steps

    def weights(self) -> ReplayWeights:
        """See ``Learner``."""
        return ReplayWeights(self.version, self._megabytes)

    def notices(self) -> list[str]:
        """None."""
        return []

    def save(self, folder: Path) -> None:
        """Writes the version."""
        (folder / "version").write_text(str(self.version))

    def saved(self, *, wait: bool) -> bool:
        """At once."""
        return True

    def restore(self, folder: Path) -> None:
        """Reads it."""
        self.version = int((folder / "version").read_text())

    def save_policy(self, folder: Path) -> None:
        """Writes the version."""
        self.save(folder)

    def restore_policy(self, folder: Path) -> None:
        """There is no policy."""
