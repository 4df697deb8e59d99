"""Paths in a recipe, which mean the same from any folder once they are absolute."""

import json
from pathlib import Path

from rlef.problems.load import absolute_spec
from rlef.train.recipe import TrainConfig

OF_PLACE = ("cluster.", "judge.", "trackers")
"""How keys of settings begin that say where a run works and whom it tells. What it learns does not
depend on them, and a run goes on with others."""


def absolute_paths(config: TrainConfig) -> TrainConfig:
    """Returns the recipe with models, prompts and data that are on this disk by absolute paths.

    Names of shipped models and prompts, hub ids and what does not exist stay as they are.
    """
    values = config.model_dump(mode="json")
    for section, key, change in (
        (values.get("model", {}), "name", _absolute_folder),
        (values.get("model", {}), "chat_template", _absolute_template),
        (values.get("rollout", {}), "prompts", _absolute_file),
        *((values.get("data", {}), key, absolute_spec) for key in ("train", "valid", "test")),
    ):
        if section.get(key) is not None:
            section[key] = change(section[key])
    return type(config).model_validate_json(json.dumps(values), strict=True)


def _absolute_folder(name: str) -> str:
    # "mini" is the model that comes with rlef, whatever lies here under this name
    is_folder = name not in ("", "mini") and Path(name).is_dir()
    return str(Path(name).absolute()) if is_folder else name


def _absolute_template(name: str) -> str:
    return str(Path(name).absolute()) if Path(name).is_file() else name


def _absolute_file(name: str) -> str:
    is_file = name.endswith(".txt") and Path(name).is_file()
    return str(Path(name).absolute()) if is_file else name
