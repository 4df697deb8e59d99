"""Rollouts as JSON objects: an episode's record at the top level, its tokens beside it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import StrictFloat, StrictInt, model_validator

from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.environment.lines import EpisodeLine, check_line
from rlef.rollout.types import Rollout
from rlef.sandbox import Verdict


def episode_to_json(record: EpisodeRecord) -> dict[str, Any]:
    """Returns a record as JSON values."""
    return asdict(record)


class _RolloutLine(EpisodeLine):
    token_ids: list[StrictInt]
    logprobs: list[StrictFloat | StrictInt]
    prompt_ends: list[StrictInt]
    action_counts: list[StrictInt]
    rewards: list[StrictFloat | StrictInt]
    seed: StrictInt

    @model_validator(mode="after")
    def _is_whole(self) -> "_RolloutLine":
        ends = [
            end + 1 + count
            for end, count in zip(self.prompt_ends, self.action_counts, strict=False)
        ]
        lengths = {len(self.prompt_ends), len(self.action_counts), len(self.rewards)}
        counts = [*self.prompt_ends, *self.action_counts]
        if len(lengths) > 1 or sum(self.action_counts) != len(self.logprobs):
            raise ValueError("has other numbers of turns, tokens or log-probabilities in its parts")
        if min(counts, default=0) < 0 or max(ends, default=0) > len(self.token_ids):
            raise ValueError("has turns beyond its tokens")
        return self


def episode_from_json(data: Mapping[str, Any]) -> EpisodeRecord:
    """Returns the record that ``episode_to_json`` wrote.

    Raises:
        ValueError: Something is missing or is not what it should be; one line says what.
    """
    check_line(EpisodeLine, data)
    turns = tuple(
        TurnRecord(
            response=turn["response"],
            program=turn["program"],
            public_verdicts=tuple(map(Verdict, turn["public_verdicts"])),
            feedback=turn["feedback"],
            prompt_tokens=turn.get("prompt_tokens"),  # files from before they were counted
            completion_tokens=turn.get("completion_tokens"),
        )
        for turn in data["turns"]
    )
    verdict = data["final_verdict"]
    return EpisodeRecord(
        problem=data["problem"],
        family=data["family"],
        hidden_detail=data["hidden_detail"],
        turns=turns,
        stop=StopReason(data["stop"]),
        solved=data["solved"],
        final_verdict=None if verdict is None else Verdict(verdict),
        passed_share=data.get("passed_share"),  # files from before it was there
        blind=data.get("blind", False),  # likewise
    )


def rollout_to_json(rollout: Rollout) -> dict[str, Any]:
    """Returns a rollout as JSON values; log-probabilities of action tokens only."""
    return {
        **episode_to_json(rollout.record),
        "seed": rollout.seed,
        "rewards": rollout.rewards,
        "prompt_ends": rollout.prompt_ends,
        "action_counts": [rollout.turn_ids.count(t) for t in range(len(rollout.prompt_ends))],
        "token_ids": rollout.token_ids,
        "logprobs": [
            logprob
            for logprob, turn in zip(rollout.logprobs, rollout.turn_ids, strict=True)
            if turn >= 0
        ],
    }


def rollout_from_json(data: Mapping[str, Any]) -> Rollout:
    """Returns the rollout that ``rollout_to_json`` wrote.

    Raises:
        ValueError: As ``episode_from_json``.
    """
    check_line(_RolloutLine, data)
    length = len(data["token_ids"])
    turn_ids, logprobs = [-1] * length, [0.0] * length
    given = iter(data["logprobs"])
    for turn, (end, count) in enumerate(
        zip(data["prompt_ends"], data["action_counts"], strict=True)
    ):
        for i in range(end + 1, end + 1 + count):
            turn_ids[i] = turn
            logprobs[i] = next(given)
    return Rollout(
        record=episode_from_json(data),
        token_ids=tuple(data["token_ids"]),
        turn_ids=tuple(turn_ids),
        logprobs=tuple(logprobs),
        prompt_ends=tuple(data["prompt_ends"]),
        rewards=tuple(data["rewards"]),
        seed=data["seed"],
    )
