"""Rollouts of made-up tokens and texts, each a function of a number."""

from typing import Any

import numpy as np

from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.rollout import Rollout
from rlef.rollout.store import Row, from_rows, to_rows
from rlef.sandbox import Verdict

TEXTS = (
    *("```python\nprint(1)\n```", "", "\ud800", "half \udfff of it \ud83d\ude00", "\U0001f600 é"),
    *("\U0010ffff", "\U0010ffff00d800", "\U0010ffff\udc80", "a\0b\u2028\r\n", "\ufffe\uffff"),
)
ARRAYS = (
    *("rewards", "policy_versions", "prompt_ends", "sequence_starts"),
    *("turn_ids", "token_ids", "logprobs"),
)


def make_rollout(
    number: int, turns: int = 2, tokens: int = 7, stop: StopReason | None = None
) -> Rollout:
    """Returns a rollout of some turns, each a prompt and an answer of so many tokens."""
    draw = np.random.default_rng(number)
    text = TEXTS[number % len(TEXTS)]
    length = 2 * turns * tokens
    turn_ids = np.repeat(np.arange(2 * turns), tokens)
    turn_ids = np.where(turn_ids % 2, turn_ids // 2, -1)
    logprobs = np.where(turn_ids < 0, 0, -draw.exponential(size=length)).astype(np.float32)
    arrays: dict[str, Any] = {
        "rewards": draw.normal(size=turns).astype(np.float32),
        "policy_versions": draw.integers(0, 2**40, turns),
        "prompt_ends": np.arange(turns, dtype=np.int32) * 2 * tokens + tokens - 1,
        "sequence_starts": np.arange(turns, dtype=np.int32)[: turns if number % 2 else 1]
        * 2
        * tokens,
        "turn_ids": turn_ids.astype(np.int32),
        "token_ids": draw.integers(0, 150_000, length).astype(np.int32),
        "logprobs": logprobs,
    }
    record = EpisodeRecord(
        problem=f"p{number}{text}",
        family=[None, "sums", text][number % 3],
        hidden_detail=[text, None][number % 2],
        turns=tuple(
            TurnRecord(
                response=text * 3,
                program=[None, text][turn % 2],
                public_verdicts=(Verdict.AC, Verdict.WA)[: turn % 3],
                feedback=[text, None][turn % 2],
                prompt_tokens=[None, tokens][number % 2],
                completion_tokens=[None, tokens][number % 2],
            )
            for turn in range(turns)
        ),
        stop=stop or list(StopReason)[number % 3],
        solved=number % 3 == 0,
        final_verdict=[None, Verdict.AC][number % 2],
        passed_share=[None, 1 / 3][number % 2],
        blind=number % 5 == 0,
    )
    return Rollout(record=record, seed=2**63 - 1 - number, **arrays)


def without_tokens(number: int) -> Rollout:
    """Returns a rollout as of an engine that answers in text."""
    whole = make_rollout(number, turns=0)
    arrays = {name: getattr(whole, name) for name in ARRAYS}
    arrays["rewards"] = np.array([0.5, -1.0], np.float32)
    return Rollout(record=make_rollout(number).record, seed=3, **arrays)


def same(left: Rollout, right: Rollout) -> bool:
    """Whether two rollouts are equal to the bit."""
    pairs = [(getattr(left, name), getattr(right, name)) for name in ARRAYS]
    return (left.record, left.seed) == (right.record, right.seed) and all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs
    )


def there_and_back(rollouts: list[Rollout]) -> list[Rollout]:
    return [row.rollout for row in from_rows(to_rows([Row(7, r) for r in rollouts]))]
