"""From what the user wrote to a checked, frozen model."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from rlef.config.faults import explain
from rlef.config.types import ConfigError, Setting
from rlef.config.values import leaves
from rlef.config.written import read_draft

T = TypeVar("T", bound=BaseModel)

_HALF = re.compile("[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")
"""Half of a pair, as ``"\\ud800"`` in YAML gives and a byte that is not UTF-8; pairs are joined."""


def load_config(model_type: type[T], recipe: Path | str | None, overrides: Sequence[str]) -> T:
    """Reads a config.

    Args:
        model_type: A frozen pydantic model with ``extra="forbid"``.
        recipe: A YAML file, the name of a shipped recipe (see ``recipe_names``), or ``None`` for
            the defaults.
        overrides: Words ``key=value``; the key may have dots, the value is YAML. A mapping as
            value changes the keys that it names.

    Raises:
        ConfigError: Anything the user wrote is wrong.
    """
    draft = read_draft(model_type, recipe, overrides)
    for key, value in leaves(draft.values):
        if _HALF.search(json.dumps([key, value], ensure_ascii=False)):
            where = draft.where.get(key, draft.name)
            raise ConfigError(f"{where}: {key}: holds {json.dumps(value):.60}; allowed: Unicode")
    try:
        # As JSON, strict mode knows lists for tuples and strings for paths and enums, while
        # "3" for 3 or true for 1 stay errors.
        return model_type.model_validate_json(json.dumps(draft.values), strict=True)
    except ValidationError as error:
        raise ConfigError(explain(error, model_type, draft)) from None


def sources(
    model_type: type[BaseModel], recipe: Path | str | None, overrides: Sequence[str]
) -> list[Setting]:
    """Every value of the config that ``load_config`` returns, with where it comes from.

    Raises:
        ConfigError: Anything the user wrote is wrong.
    """
    config = load_config(model_type, recipe, overrides)
    where = read_draft(model_type, recipe, overrides).where
    return [
        Setting(key, value, where.get(key, "default"))
        for key, value in leaves(config.model_dump(mode="json"))
    ]
