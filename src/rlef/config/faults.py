"""What is wrong with a config, in one line."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import get_args

from pydantic import BaseModel, ValidationError

from rlef.config.types import COMMAND_LINE, Draft
from rlef.config.words import did_you_mean, one_line


def explain(error: ValidationError, model_type: type[BaseModel], draft: Draft) -> str:
    """The first thing that is wrong with what the user wrote: where, what, what is allowed."""
    errors = error.errors(include_url=False)
    # A misspelt key is often also the reason why another one is missing.
    first = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    location, kind = first["loc"], first["type"]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if kind == "extra_forbidden":
        return f"{_unknown_key('.'.join(map(str, location)), model_type, draft)}{more}"
    if kind == "missing":
        return f"{draft.name}: {'.'.join(map(str, location))} is missing and has no default{more}"
    key = _written_part(location, draft.values)
    message = str(first["msg"]).removeprefix("Value error, ")
    where = draft.where.get(key, draft.name)
    if kind == "value_error":
        where = _place_of_clash(message, key, draft) or where
    if message.startswith("Input should be "):
        wanted = message.removeprefix("Input should be ").replace("an object", "a mapping")
        wanted = wanted.replace("a valid array", "a list")
        message = f"must be {wanted}, not {json.dumps(first['input'], default=str):.60}"
    return f"{where}: {key + ': ' if key else ''}{one_line(message)}{more}"


def _place_of_clash(message: str, section: str, draft: Draft) -> str | None:
    """Where the settings stand that an error between several names: the command line, if any."""
    names = re.findall(r"[a-z_]\w*(?:\.\w+)*", message)
    prefixes = ("", f"{section}.") if section else ("",)
    found = [
        draft.where[prefix + name]
        for name in names
        for prefix in prefixes
        if prefix + name in draft.where
    ]
    return COMMAND_LINE if COMMAND_LINE in found else next(iter(found), None)


_OF_UNION = ("float", "int", "bool", "str")
"""What pydantic adds to the place of a value that may have several types."""


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong with a value that nobody wrote by hand, in a few words.

    Example:
        >>> class Line(BaseModel, strict=True):
        ...     solved: bool
        >>> try:
        ...     Line(solved="yes")
        ... except ValidationError as error:
        ...     print(first_fault(error))
        solved must be a valid boolean, not "yes"
    """
    first = error.errors(include_url=False)[0]
    place = [str(word) for word in first["loc"]]
    if place and place[-1] in _OF_UNION:
        place.pop()
    field = ".".join(place) or "it"
    if first["type"] == "missing":
        return f"{field} is missing"
    message = one_line(str(first["msg"])).removeprefix("Value error, ")
    if message.startswith("Input should be "):
        written = json.dumps(first["input"], default=str)
        shown = written if len(written) <= 60 else f"{written[:60]}..."
        message = f"must be {message.removeprefix('Input should be ')}, not {shown}"
    return f"{field} {message}"


def _unknown_key(key: str, model_type: type[BaseModel], draft: Draft) -> str:
    where = draft.where.get(key, draft.name)
    if key in draft.values and key in _keys(model_type) and "." in key:
        *above, last = key.split(".")
        nested = "".join(f"{word}: {{" for word in above) + f"{last}: …" + "}" * len(above)
        return f"{where}: {key} stands on one line; allowed in a file: {nested}"
    parent = key.rpartition(".")[0]
    siblings = [name for name in _keys(model_type) if name.rpartition(".")[0] == parent]
    allowed = ", ".join(name.rpartition(".")[2] for name in siblings)
    at = f" in {parent}" if parent else ""
    return (
        f"{where}: unknown key {key}{did_you_mean(key, list(_keys(model_type)))}; "
        f"allowed{at}: {allowed}"
    )


def _keys(model_type: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key with dots that a model knows, sections among them."""
    for name, field in model_type.model_fields.items():
        yield prefix + name
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _keys(part, f"{prefix}{name}.")


def _written_part(location: tuple[int | str, ...], values: object) -> str:
    """The location as a key, without the tail that pydantic adds for unions and list items."""
    words: list[str] = []
    for word in location:
        if not isinstance(values, Mapping) or word not in values:
            break
        words.append(str(word))
        values = values[word]
    return ".".join(words)
