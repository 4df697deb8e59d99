"""Every setting of a config as a row: its key, type, default, allowed values and meaning.

The page ``docs/settings.md`` and ``rlef train --help-settings`` are made of these rows. They come
from the pydantic models themselves: a field's docstring is its meaning. Needs no torch.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rlef.config import ConfigError, value_text

_FIRST = "0.1.0"
"""The version that had every setting which does not name one: ``json_schema_extra["since"]``."""
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "text", date: "date"}
_ALLOWED = {"boolean": "true, false", "date": "YYYY-MM-DD"}
_WIDTH = 80


class SettingRow(NamedTuple):
    """What there is to know of a setting, as text."""

    key: str
    """With dots: ``learner.lr``."""
    type: str
    """``section`` for a group of settings, whose ``default`` and ``allowed`` are empty unless it
    may be ``null``."""
    default: str
    """As YAML, as behind ``key=``."""
    allowed: str
    meaning: str
    """One paragraph; what stands between double backticks is code."""
    since: str
    """The first version that had it."""


def setting_rows(model_type: type[BaseModel]) -> list[SettingRow]:
    """All settings of a config, sections before what is in them.

    Example:
        >>> from rlef.learner.config import LoraSettings
        >>> row = setting_rows(LoraSettings)[0]
        >>> row.key, row.type, row.default, row.allowed, row.meaning
        ('rank', 'integer', '16', '1 or more', 'Rank of each adapter.')
    """
    return list(_rows(model_type, "", None))


def matching_rows(rows: Sequence[SettingRow], word: str) -> list[SettingRow]:
    """The rows whose key or meaning holds the word, in either case, with their sections.

    Raises:
        ConfigError: No setting's does.
    """
    folded = word.casefold()
    found = [row for row in rows if folded in f"{row.key} {row.meaning}".casefold()]
    keys = {row.key for row in found}
    if not keys:
        raise ConfigError(
            f"no setting has {word!r} in its name or meaning; allowed: a part of one, such as lr, "
            "or nothing, for all"
        )
    return [row for row in rows if row.key in keys]


def settings_text(rows: Sequence[SettingRow]) -> str:
    """The rows as plain text of up to 80 columns."""
    return "\n".join(line for row in rows for line in _lines(row))


def _lines(row: SettingRow) -> Iterator[str]:
    facts = [f"default {row.default}"] if row.default else []
    facts += [f"allowed: {row.allowed}"] if row.allowed else []
    yield f"{row.key}  ({row.type})"
    for text in ("; ".join(facts), row.meaning):
        yield from textwrap.wrap(
            text.replace("``", ""),
            _WIDTH,
            initial_indent="    ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )


def _rows(model_type: type[BaseModel], prefix: str, values: BaseModel | None) -> Iterator[Any]:
    """The rows of a model; ``values``: an instance that has the defaults, if not its own."""
    meanings = _meanings(model_type)
    for name, field in model_type.model_fields.items():
        default = field.get_default(call_default_factory=True) if values is None else None
        default = default if values is None else getattr(values, name)
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        section, may_be_null = _section(field)
        key, since = f"{prefix}{name}", str(extra.get("since", _FIRST))
        meaning = meanings.get(name, "")
        if section is None:
            kind, allowed = _kind(field)
            allowed = str(extra.get("allowed", allowed))
            yield SettingRow(key, kind, _default(field, default), allowed, meaning, since)
            continue
        meaning = meaning or _first_paragraph(section)
        facts = ("null", "null, or the settings below") if may_be_null else ("", "")
        yield SettingRow(key, "section", *facts, meaning, since)
        yield from _rows(section, f"{key}.", default if isinstance(default, section) else None)


def _section(field: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The model that a field holds, if it holds one, and whether ``null`` may stand for it."""
    parts = get_args(field.annotation) or (field.annotation,)
    models = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
    return (models[0] if models else None), NoneType in parts


def _kind(field: FieldInfo) -> tuple[str, str]:
    """Type and allowed values of a plain field."""
    words: list[str] = []
    kind, may_be_null = "", False
    for part in _parts(field.annotation):
        if part is NoneType:
            may_be_null = True
            continue
        items = get_args(part) if get_origin(part) in (list, tuple) else ()
        for choice in (part, *items):
            words += map(str, get_args(choice) if get_origin(choice) is Literal else ())
        own = _TYPES.get(part) or _kind_of_origin(get_origin(part))
        kind = own if kind in ("", "word") else kind
    limits = _range(field)
    allowed = ", ".join([*words, *([limits] if limits else [])])
    allowed = allowed or _ALLOWED.get(kind, f"any {kind}")
    return kind, f"{allowed}, or null" if may_be_null else allowed


def _kind_of_origin(origin: Any) -> str:
    return {Literal: "word", dict: "mapping"}.get(origin, "list")


def _parts(annotation: Any) -> list[Any]:
    """The members of a union, or the type itself."""
    if get_origin(annotation) in (Literal, dict, list, tuple, None):
        return [annotation]
    return [part for member in get_args(annotation) for part in _parts(member)]


def _range(field: FieldInfo) -> str:
    bounds = {
        name: value_text(getattr(limit, name))
        for limit in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(limit, name, None) is not None
    }
    if set(bounds) == {"ge", "le"}:
        return f"{bounds['ge']} to {bounds['le']}"
    words = {"ge": "{} or more", "gt": "above {}", "le": "up to {}", "lt": "below {}"}
    return ", ".join(words[name].format(bounds[name]) for name in words if name in bounds)


def _default(field: FieldInfo, value: object) -> str:
    if field.is_required():
        return ""
    return value_text(value.isoformat() if isinstance(value, date) else value)


@cache
def _meanings(model_type: type[BaseModel]) -> dict[str, str]:
    """The docstring of each field, those of parent classes included."""
    meanings: dict[str, str] = {}
    for parent in reversed(model_type.__mro__):
        if not issubclass(parent, BaseModel) or parent is BaseModel:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(parent))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(meaning))),
                ):
                    meanings[name] = " ".join(meaning.split())
    return meanings


def _first_paragraph(model_type: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(model_type) or "").partition("\n\n")[0].split())
