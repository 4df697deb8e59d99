"""How messages become tokens: what a recipe or a command may set about a model's chat template."""

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TEMPLATE_DATE = date(2024, 7, 26)
"""What a chat template that asks for today's date is told, so that prompts stay the same from day
to day; it is what the template of Llama 3 itself says where it knows no date."""

Turns = Literal["auto", "append", "per_turn"]
"""``append``: a dialogue is one sequence, and what was sampled stays in it as it was sampled.
``per_turn``: each turn is a sequence of its own, its prompt rendered anew by the chat template.
``auto``: ``append`` where both come to the same, else ``per_turn``."""


class ChatSettings(BaseModel):
    """How a model's chat template is used, in training and evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chat_template: str | None = Field(None, json_schema_extra={"allowed": "a file, or null"})
    """A Jinja file to use in place of the tokenizer's own template, in checkpoints too; ``null``:
    the tokenizer's own."""
    template_arguments: dict[str, Any] = {}
    """Arguments of the template beside the messages, such as ``enable_thinking: false``."""
    system: str | None = None
    """The system message; ``null``: whatever the template does without one."""
    today: date = TEMPLATE_DATE
    """The date that a template is told if it asks: always the same, so that prompts do not change
    from day to day."""
    turns: Turns = "auto"
    """How a later turn's prompt is made. ``append``: the dialogue stays one sequence, as it was
    sampled. ``per_turn``: each turn is a sequence of its own, rendered anew by the template, which
    may drop earlier reasoning. ``auto``: ``append`` where both come to the same, else
    ``per_turn``."""
