"""From a YAML recipe and ``key=value`` words to a checked, frozen pydantic model.

Precedence: defaults of the model < recipe < command line. Whatever is wrong raises a
``ConfigError`` of one line that says where, what and what is allowed.

Example:
    >>> from pydantic import BaseModel
    >>> class Optimizer(BaseModel, extra="forbid", frozen=True):
    ...     lr: float = 1e-3
    >>> class Config(BaseModel, extra="forbid", frozen=True):
    ...     seed: int = 0
    ...     optimizer: Optimizer = Optimizer()
    >>> load_config(Config, None, ["optimizer.lr=2e-4"]).optimizer.lr
    0.0002
"""

from rlef.config.faults import first_fault
from rlef.config.load import load_config, sources
from rlef.config.recipes import recipe_names, recipe_text
from rlef.config.types import ConfigError, NamedSection, Setting
from rlef.config.values import (
    changed_keys,
    dump_config,
    dump_values,
    flat_values,
    join_words,
    value_text,
)

__all__ = [
    "ConfigError",
    "NamedSection",
    "Setting",
    "changed_keys",
    "dump_config",
    "dump_values",
    "first_fault",
    "flat_values",
    "join_words",
    "load_config",
    "recipe_names",
    "recipe_text",
    "sources",
    "value_text",
]
