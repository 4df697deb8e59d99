"""Lines of files that hold episodes: what must stand in them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, InstanceOf, StrictBool, StrictFloat, StrictInt, ValidationError

from rlef.config import first_fault
from rlef.environment.types import StopReason
from rlef.sandbox import Verdict

_Text = InstanceOf[str]
"""Any string: one of a model may hold half characters, which are no UTF-8."""


class _TurnLine(BaseModel):
    response: _Text
    program: _Text | None
    public_verdicts: list[Verdict]
    feedback: _Text | None
    prompt_tokens: StrictInt | None
    completion_tokens: StrictInt | None


class EpisodeLine(BaseModel):
    """An ``EpisodeRecord`` as JSON values; other keys may stand beside."""

    problem: _Text
    family: _Text | None
    hidden_detail: _Text | None
    turns: list[_TurnLine]
    stop: StopReason
    solved: StrictBool
    final_verdict: Verdict | None
    passed_share: StrictFloat | StrictInt | None
    blind: StrictBool


def check_line(model: type[BaseModel], data: Mapping[str, Any]) -> None:
    """Makes sure that a line holds what the model says.

    Raises:
        ValueError: One line says what is missing or is not what it should be.
    """
    try:
        model.model_validate(data)
    except ValidationError as error:
        raise ValueError(first_fault(error)) from None
