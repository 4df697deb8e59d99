"""What rollout actors of the tests are made of: an engine without a model."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
from scripted import RIGHT, WRONG, ScriptedEngine, make_chat

from rlef.engines import Completion, SamplingParams
from rlef.engines.transfer import Bucket
from rlef.environment import ChatFormat

GROUP = 4
HOLDS = {"layer": "bfloat16"}
POISON = 7
"""Seed of an episode under which the process dies, where it is to."""


class DeadlyEngine(ScriptedEngine):
    def held_dtypes(self) -> dict[str, str]:
        return HOLDS

    def generate_batch(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        seeds: Sequence[int],
        abandoned: Callable[[], bool] = lambda: False,
    ) -> list[Completion]:
        if DEADLY in seeds:
            os._exit(1)
        return super().generate_batch(prompts, params, seeds, abandoned)


DEADLY = -1


def open_engine(batch_s: float, deadly: int | None = None) -> tuple[ScriptedEngine, ChatFormat]:
    global DEADLY
    DEADLY = -1 if deadly is None else deadly
    chat = make_chat()
    engine = DeadlyEngine(
        chat, lambda _, turn: RIGHT if turn else WRONG, concurrency=GROUP, batch_s=batch_s
    )
    return engine, chat


class StillWeights:
    """Weights of a learner that does not learn."""

    model = None
    at_rest = True

    def __init__(self, version: int = 0) -> None:
        self.version = version
        self.asked: list[object] = []
        """Of buckets: in which dtypes."""

    @contextmanager
    def borrowed(self) -> Iterator[bool]:
        yield True

    def buckets(self, *, checkpoint_names: bool, dtypes: object) -> Iterator[Any]:
        self.asked.append(dtypes)
        yield ray.put(
            Bucket(
                version=self.version,
                number=0,
                last=True,
                checkpoint_names=checkpoint_names,
                pieces=(),
                data=np.zeros(0, np.uint8),
            )
        )

    def remote_logprobs(self) -> Callable[..., Any]:
        return print


class StillLearner:
    """Counts its updates."""

    policy_moved = True
    calibration = ()

    def __init__(self) -> None:
        self.version = 0

    def update(self, batch: object, steps: int, *_: object) -> dict[str, float]:
        self.version += steps
        return {"loss": 1.0}

    def scores(self) -> tuple[object, ...]:
        return ()

    def notices(self) -> list[str]:
        return ["still"]

    def fail(self) -> None:
        raise FloatingPointError("not finite")


def make_learner(rank: int, size: int, address: str) -> tuple[StillLearner, int]:
    return StillLearner(), 7


def make_or_die(rank: int) -> Any:
    """Waits as a rank for another one, which dies."""
    if rank:
        os._exit(1)
    time.sleep(100)
