"""Whether sampler and learner have the same weights: by log-probabilities of the same tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rlef.engines.types import EngineError, Weights

Score = Callable[[Sequence[Sequence[int]], int], np.ndarray]
"""(rows of ids, place of the first that counts) -> their log-probabilities, row after row, nats."""
Sample = Callable[[Sequence[Sequence[int]], int], list[list[int]]]
"""(prompts, tokens) -> the prompts with so many sampled tokens each behind them."""

_ROWS, _PROMPT, _ANSWER = 8, 8, 32
_HALF = 0.5
"""Of the way from the old weights (0) to the new ones (1)."""
_SURE = 4.0
"""Standard errors."""
_ROUNDING = 1e-6
"""Nats; of one log-probability in float32."""
_COARSE_ROUNDING = 1e-3
"""In 16 bits."""
_FAR = 10.0
"""Times ``gap_limit``: what no rounding comes to, nor a run can learn with."""


def gap_limit(*, float32: bool) -> float:
    """Returns the mean gap of sampler and learner that rounding does not explain, nats per token.

    In float32 rounding leaves 1e-8 (the mini model) to 1e-4 (55 families of random models). With a
    learner in bfloat16 the mini model is at 4e-4, and single tokens at 0.03; larger models sum up
    more rounding. Padding between the tokens of a window of 256 made it 0.08.

    Args:
        float32: Whether both compute in it.
    """
    return 1e-3 if float32 else 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """How far an engine followed its model from some weights to later ones.

    Attributes:
        gap: Mean distance of the engine's log-probabilities from the model's now, nats per token.
        moved: How far those of the model went, root mean square, nats per token.
        share: Of the model's way, how much the engine went: 1 with the new weights, 0 with the old.
        error: Standard error of ``share``; infinite where the model did not move.
    """

    gap: float
    moved: float
    share: float
    error: float

    @property
    def stale(self) -> bool:
        """Whether the engine surely stayed at the old weights, or nearly."""
        return abs(self.share) + _SURE * self.error < _HALF

    @property
    def fresh(self) -> bool:
        """Whether it surely came to the new ones, or nearly."""
        return abs(self.share - 1) + _SURE * self.error < _HALF


def following(
    engine: tuple[np.ndarray, np.ndarray], model: tuple[np.ndarray, np.ndarray], rounding: float
) -> Following:
    """Regresses the engine's way on the model's, over the same tokens.

    An update may move log-probabilities by less than an engine rounds them; the error is large
    then, and the share tells nothing.

    Args:
        engine: Its log-probabilities before and now, (N,) each, nats.
        model: Likewise.
        rounding: Least error of one number, nats: that of an engine that did not move at all would
            be 0.
    """
    went, way = engine[1] - engine[0], model[1] - model[0]
    squares = float(way @ way)
    share = float(went @ way) / squares if squares else 1.0
    spread = max(float(np.std(went - share * way, ddof=1)), rounding)
    return Following(
        gap=float(np.abs(engine[1] - model[1]).mean()),
        moved=float(np.sqrt(squares / len(way))),
        share=share,
        error=spread / squares**0.5 if squares else float("inf"),
    )


class WeightsCheck:
    """Compares an engine with its model on a few sampled tokens, each time it got new weights.

    Both are compared with what they were at an earlier time, which stays the same until the model
    has moved so far that the answer is sure. So small steps are found out later, not never.

    Args:
        sample: Of the engine; the tokens are sampled once, at the first look.
        coarse: Whether the engine computes in 16 bits.
    """

    def __init__(self, sample: Sample, *, coarse: bool) -> None:
        prompts = np.random.default_rng(0).integers(100, size=(_ROWS, _PROMPT)).tolist()
        self._rows = sample(prompts, _ANSWER)
        self._rounding = _COARSE_ROUNDING if coarse else _ROUNDING
        self._far = _FAR * gap_limit(float32=not coarse)
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def look(self, score: Score, weights: Weights) -> Following:
        """Looks at an engine that was just given these weights.

        Raises:
            EngineError: It has older ones, or others altogether.
        """
        engine = score(self._rows, _PROMPT)
        model = weights.logprobs(self._rows, _PROMPT)
        before = self._before or (engine, model)
        found = following((before[0], engine), (before[1], model), self._rounding)
        if found.stale:
            raise EngineError(
                f"the engine still samples from older weights after version {weights.version} was "
                f"loaded: the model's log-probabilities moved by {found.moved:.2g} nats per token, "
                f"and the engine's went {found.share:.0%} of that way"
            )
        if not found.gap <= self._far:
            raise EngineError(
                f"the engine samples from other weights after version {weights.version} was "
                f"loaded: its log-probabilities are {found.gap:.2g} nats per token from the "
                f"model's (allowed: {self._far:g})"
            )
        if self._before is None or found.fresh:
            self._before = engine, model
        return found
