"""What a config is made of, and what is said where it is wrong."""

from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

COMMAND_LINE = "command line"
"""Where an override stands."""


class ConfigError(ValueError):
    """A recipe or an override is wrong. One line: where, what, and what is allowed instead."""


class NamedSection(BaseModel):
    """A section that a plain word may stand for: ``model: mini`` means ``model: {name: mini}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str


class Setting(NamedTuple):
    """One value of a resolved config."""

    key: str
    """With dots: ``optimizer.lr``."""
    value: object
    source: str
    """``default``, the recipe's file and line, or ``command line``."""


class Draft(NamedTuple):
    """What the user wrote, before it is checked."""

    values: dict[str, Any]
    where: dict[str, str]
    """Key with dots to where it stands; mappings have an entry too."""
    name: str
    """Name of the whole, for errors that belong to no key."""
