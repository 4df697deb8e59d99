"""Solved dialogues as examples before a problem (RLEF's few-shot baseline)."""

from collections.abc import Iterable, Mapping

from rlef.environment.chat import Exchange
from rlef.environment.feedback import first_message
from rlef.environment.templates import Prompts
from rlef.environment.types import EpisodeRecord
from rlef.problems import Problem


def repair_dialogues(
    records: Iterable[EpisodeRecord],
    problems: Mapping[str, Problem],
    prompts: Prompts,
    count: int,
) -> list[Exchange]:
    """Returns dialogues that were solved after feedback, one after the other.

    Args:
        records: Episodes, of which the first ones that took two or three turns are used, each on
            another problem.
        problems: By name, those of the records; training problems.
        prompts: Templates that the records were made with.
        count: Dialogues wanted.

    Raises:
        ValueError: There are fewer.
    """
    found: dict[str, list[Exchange]] = {}
    for record in records:
        if len(found) == count:
            break
        if record.solved and len(record.turns) in (2, 3) and record.problem not in found:
            message: str | None = first_message(problems[record.problem].public, prompts)
            exchanges = []
            for turn in record.turns:
                assert message is not None  # only the last turn has no feedback after it
                exchanges.append((message, turn.response))
                message = turn.feedback
            found[record.problem] = exchanges
    if len(found) < count:
        raise ValueError(
            f"{len(found)} problems were solved in two or three turns, {count} are needed as "
            "examples"
        )
    return [exchange for exchanges in found.values() for exchange in exchanges]
