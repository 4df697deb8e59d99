"""What the user wrote, a recipe and ``key=value`` words, before it is checked."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from rlef.config.recipes import recipe_names, recipe_text
from rlef.config.types import COMMAND_LINE, ConfigError, Draft, NamedSection
from rlef.config.values import leaf_paths
from rlef.config.yaml12 import parse_yaml


def read_draft(
    model_type: type[BaseModel], recipe: Path | str | None, overrides: Sequence[str]
) -> Draft:
    """Reads a recipe and puts the words over it.

    Raises:
        ConfigError: They cannot be read, whatever they mean.
    """
    draft = Draft({}, {}, COMMAND_LINE) if recipe is None else _read_recipe(recipe)
    sections = dict(_sections(model_type))
    named = {key for key, kind in sections.items() if issubclass(kind, NamedSection)}
    for key in named & draft.where.keys():
        _name(draft, key)
    seen: set[str] = set()
    for word in overrides:
        key, equals, text = word.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            raise ConfigError(f"{COMMAND_LINE}: {word!r} is no setting; allowed: key=value")
        value, _ = parse_yaml(text, f"{COMMAND_LINE}: {key}")
        for path, leaf_value in leaf_paths(value, tuple(key.split("."))):
            written = ".".join(path)
            is_name = written in named and not isinstance(leaf_value, dict | None)
            place = (*path, "name") if is_name else path
            leaf = ".".join(place)
            if leaf in seen:
                raise ConfigError(f"{COMMAND_LINE}: {leaf} is given twice; allowed: once")
            seen.add(leaf)
            if leaf_value != {} or not (written in sections and isinstance(_at(draft, path), dict)):
                _set(draft, place, leaf_value)
    return draft


def _at(draft: Draft, path: Sequence[str]) -> object:
    value: object = draft.values
    for word in path:
        value = value.get(word) if isinstance(value, dict) else None
    return value


def _sections(
    model_type: type[BaseModel], prefix: str = ""
) -> Iterator[tuple[str, type[BaseModel]]]:
    """The key of each section with what it is made of."""
    for name, field in model_type.model_fields.items():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield prefix + name, part
                yield from _sections(part, f"{prefix}{name}.")


def _name(draft: Draft, key: str) -> None:
    """Makes a section of the plain word that stands for it."""
    *parents, last = key.split(".")
    values: Any = draft.values
    for parent in parents:
        values = values.get(parent) if isinstance(values, dict) else None
    if isinstance(values, dict) and not isinstance(values[last], dict | None):
        values[last] = {"name": values[last]}
        draft.where[f"{key}.name"] = draft.where[key]


def _read_recipe(recipe: Path | str) -> Draft:
    path = Path(recipe)
    if recipe in recipe_names():  # before a file or folder of that name; ./NAME means those
        name, text = f"{recipe}.yaml", recipe_text(str(recipe))
    elif _is_file(path):
        name = str(recipe)
        try:
            text = _text_of(path)
        except OSError as error:
            raise ConfigError(f"{name}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise ConfigError(f"{name}:{line}: not UTF-8; allowed: YAML text") from None
    elif path.is_dir():
        raise ConfigError(f"{recipe} is a folder; allowed: a YAML file")
    elif isinstance(recipe, Path) or path.suffix or len(path.parts) != 1:
        raise ConfigError(
            f"no file {str(recipe)!r}; allowed: a YAML file or one of: {', '.join(recipe_names())}"
        )
    else:
        name, text = f"{recipe}.yaml", recipe_text(recipe)
    values, lines = parse_yaml(text, name)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: holds {values!r:.60}; allowed: a mapping of keys to values")
    return Draft(values, {key: f"{name}:{line}" for key, line in lines.items()}, name)


_PIPED: dict[tuple[Path, int], str] = {}
"""What came of pipes, which can be read only once, by their path and inode."""


def _text_of(path: Path) -> str:
    if path.is_file():
        return path.read_text(encoding="utf-8")
    key = path, path.stat().st_ino
    if key not in _PIPED:
        _PIPED[key] = path.read_text(encoding="utf-8")
    return _PIPED[key]


def _is_file(path: Path) -> bool:
    """Whether it can be read as a file; pipes count."""
    return path.exists() and not path.is_dir()


def _set(draft: Draft, path: Sequence[str], value: object) -> None:
    *parents, last = path
    values = draft.values
    for i, parent in enumerate(parents):
        draft.where.setdefault(".".join(parents[: i + 1]), COMMAND_LINE)
        if not isinstance(values.get(parent), dict):
            values[parent] = {}
        values = values[parent]
    values[last] = value
    draft.where[".".join(path)] = COMMAND_LINE
