"""Records of episodes as JSON objects, the lines of evaluations."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.environment.lines import EpisodeLine, check_line
from rlef.sandbox import Verdict


def episode_to_json(record: EpisodeRecord) -> dict[str, Any]:
    """Returns a record as JSON values."""
    return asdict(record)


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
            prompt_tokens=turn["prompt_tokens"],
            completion_tokens=turn["completion_tokens"],
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
        passed_share=data["passed_share"],
        blind=data["blind"],
    )
