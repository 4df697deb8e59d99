"""From a YAML recipe and ``key=value`` words to a checked, frozen pydantic model.

Precedence: defaults of the model < recipe < command line. Whatever is wrong raises a
``ConfigError`` of one line that says where, what and what is allowed.

Example:
    >>> class Optimizer(BaseModel, extra="forbid", frozen=True):
    ...     lr: float = 1e-3
    >>> class Config(BaseModel, extra="forbid", frozen=True):
    ...     seed: int = 0
    ...     optimizer: Optimizer = Optimizer()
    >>> load_config(Config, None, ["optimizer.lr=2e-4"]).optimizer.lr
    0.0002
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

T = TypeVar("T", bound=BaseModel)

_COMMAND_LINE = "command line"
_MAX_DIGITS = 400
_HALF = re.compile("[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")
"""Half of a pair, as ``"\\ud800"`` in YAML gives and a byte that is not UTF-8; pairs are joined."""


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


class _Draft(NamedTuple):
    """What the user wrote, before it is checked."""

    values: dict[str, Any]
    where: dict[str, str]
    """Key with dots to where it stands; mappings have an entry too."""
    name: str
    """Name of the whole, for errors that belong to no key."""


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
    draft = _read(model_type, recipe, overrides)
    for key, value in _leaves(draft.values):
        if _HALF.search(json.dumps([key, value], ensure_ascii=False)):
            where = draft.where.get(key, draft.name)
            raise ConfigError(f"{where}: {key}: holds {json.dumps(value):.60}; allowed: Unicode")
    try:
        # As JSON, strict mode knows lists for tuples and strings for paths and enums, while
        # "3" for 3 or true for 1 stay errors.
        return model_type.model_validate_json(json.dumps(draft.values), strict=True)
    except ValidationError as error:
        raise ConfigError(_explain(error, model_type, draft)) from None


def sources(
    model_type: type[BaseModel], recipe: Path | str | None, overrides: Sequence[str]
) -> list[Setting]:
    """Every value of the config that ``load_config`` returns, with where it comes from.

    Raises:
        ConfigError: Anything the user wrote is wrong.
    """
    config = load_config(model_type, recipe, overrides)
    where = _read(model_type, recipe, overrides).where
    return [
        Setting(key, value, where.get(key, "default"))
        for key, value in _leaves(config.model_dump(mode="json"))
    ]


def join_words(*groups: Sequence[str]) -> list[str]:
    """Joins ``key=value`` words; a word of a later group replaces those of the same key before.

    Example:
        >>> join_words(["seed=1", "updates=8"], ["seed=2"])
        ['updates=8', 'seed=2']
    """
    joined: list[str] = []
    for group in groups:
        keys = {word.partition("=")[0].strip() for word in group}
        joined = [word for word in joined if word.partition("=")[0].strip() not in keys]
        joined += group
    return joined


def dump_config(config: BaseModel) -> str:
    """The config as YAML that ``load_config`` reads back to an equal config."""
    values = config.model_dump(mode="json")
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def value_text(value: object) -> str:
    """A value as YAML on one line: what stands behind ``key=`` in a word.

    Example:
        >>> [value_text(value) for value in (None, True, 1e-5, "1", ["a", "b"])]
        ['null', 'true', '1.0e-05', "'1'", '[a, b]']
    """
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=10**9
    )
    text = text.removesuffix("\n").removesuffix("\n...")
    return json.dumps(value) if "\n" in text else text


def flat_values(config: BaseModel | Mapping[str, object]) -> dict[str, object]:
    """Every value of a config as JSON, by its key with dots.

    Example:
        >>> flat_values({"seed": 1, "learner": {"lr": 0.5}})
        {'seed': 1, 'learner.lr': 0.5}
    """
    values = config.model_dump(mode="json") if isinstance(config, BaseModel) else dict(config)
    return dict(_leaves(values)) if values else {}


def changed_keys(old: BaseModel, new: BaseModel) -> list[str]:
    """Keys with dots whose values differ between two configs of one type."""
    before = dict(_leaves(old.model_dump(mode="json")))
    after = dict(_leaves(new.model_dump(mode="json")))
    return [
        key for key in {**before, **after} if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    ]


_ABSENT = object()


def recipe_names() -> list[str]:
    """Names of the recipes that come with rlef, sorted."""
    folder = files("rlef") / "recipes"
    if not folder.is_dir():
        return []
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name[-5:] == ".yaml")


def recipe_text(name: str) -> str:
    """Text of a shipped recipe.

    Raises:
        ConfigError: There is no such recipe.
    """
    names = recipe_names()
    if name not in names:
        raise ConfigError(
            f"no recipe {name!r}{_did_you_mean(name, names)}; "
            f"allowed: a YAML file or one of: {', '.join(names)}"
        )
    return (files("rlef") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")


# --- YAML: the core schema of YAML 1.2, where 1e-4 is a number and "no" is a word ----------------

_RESOLVERS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_NOT_YAML = yaml.reader.Reader.NON_PRINTABLE


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    if len(text) > _MAX_DIGITS:
        mark = node.start_mark
        raise yaml.MarkedYAMLError(problem=f"a number of {len(text)} digits", problem_mark=mark)
    return int(text)


for _tag, _pattern, _first in _RESOLVERS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
        )
_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)  # 010 is ten


def _parse_yaml(text: str, name: str) -> tuple[object, dict[str, int]]:
    """The value and the line of each key with dots.

    Raises:
        ConfigError: Not YAML, a key twice, a key that is no string.
    """
    hidden = _NOT_YAML.search(text)
    if hidden:
        before = text.count("\n", 0, hidden.start())
        raise ConfigError(f"{name}:{before + 1}: not YAML: holds the character {hidden[0]!a}")
    loader = _Loader(text)
    loader.name = name
    lines: dict[str, int] = {}

    def build(node: yaml.Node, key: str, parents: tuple[yaml.Node, ...]) -> object:
        if node in parents:
            raise ConfigError(f"{name}:{node.start_mark.line + 1}: {key} contains itself")
        if isinstance(node, yaml.SequenceNode):
            return [build(item, key, (*parents, node)) for item in node.value]
        if not isinstance(node, yaml.MappingNode):
            return loader.construct_object(node)
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            word = build(key_node, key, (*parents, node))
            if not isinstance(word, str):
                raise ConfigError(f"{name}:{line}: key {word!r} must be a string")
            if word == "<<":
                raise ConfigError(f"{name}:{line}: << (merge) is not in YAML 1.2; allowed: keys")
            dotted = f"{key}.{word}" if key else word
            if word in values:
                raise ConfigError(
                    f"{name}:{line}: {dotted} stands twice, first on line "
                    f"{lines[dotted]}; allowed: once"
                )
            lines[dotted] = line
            values[word] = build(value_node, dotted, (*parents, node))
        return values

    try:
        root = loader.get_single_node()
        return (None if root is None else build(root, "", ())), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{name}{line}: not YAML: {error.problem or error.context}") from None
    except RecursionError:
        raise ConfigError(f"{name}: not YAML: brackets too deep") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {_one_line(str(error))}") from None
    finally:
        loader.dispose()


# --- what the user wrote --------------------------------------------------------------------------


def _read(
    model_type: type[BaseModel], recipe: Path | str | None, overrides: Sequence[str]
) -> _Draft:
    draft = _Draft({}, {}, _COMMAND_LINE) if recipe is None else _read_recipe(recipe)
    named = set(_named_sections(model_type))
    for key in named & draft.where.keys():
        _name(draft, key)
    seen: set[str] = set()
    for word in overrides:
        key, equals, text = word.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            raise ConfigError(f"{_COMMAND_LINE}: {word!r} is no setting; allowed: key=value")
        value, _ = _parse_yaml(text, f"{_COMMAND_LINE}: {key}")
        for written, leaf_value in _leaves(value, key):
            is_name = written in named and not isinstance(leaf_value, dict | None)
            leaf = f"{written}.name" if is_name else written
            if leaf in seen:
                raise ConfigError(f"{_COMMAND_LINE}: {leaf} is given twice; allowed: once")
            seen.add(leaf)
            _set(draft, leaf, leaf_value)
    return draft


def _named_sections(model_type: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The key of each section that a plain word may stand for."""
    for name, field in model_type.model_fields.items():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, NamedSection):
                yield prefix + name
            elif isinstance(part, type) and issubclass(part, BaseModel):
                yield from _named_sections(part, f"{prefix}{name}.")


def _name(draft: _Draft, key: str) -> None:
    """Makes a section of the plain word that stands for it."""
    *parents, last = key.split(".")
    values: Any = draft.values
    for parent in parents:
        values = values.get(parent) if isinstance(values, dict) else None
    if isinstance(values, dict) and not isinstance(values[last], dict | None):
        values[last] = {"name": values[last]}
        draft.where[f"{key}.name"] = draft.where[key]


def _read_recipe(recipe: Path | str) -> _Draft:
    path = Path(recipe)
    if recipe in recipe_names():  # before a file or folder of that name; ./NAME means those
        name, text = f"{recipe}.yaml", recipe_text(str(recipe))
    elif _is_file(path):
        name = str(recipe)
        try:
            text = path.read_text(encoding="utf-8")
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
    values, lines = _parse_yaml(text, name)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: holds {values!r:.60}; allowed: a mapping of keys to values")
    return _Draft(values, {key: f"{name}:{line}" for key, line in lines.items()}, name)


def _is_file(path: Path) -> bool:
    """Whether it can be read as a file; pipes count."""
    return path.exists() and not path.is_dir()


def _set(draft: _Draft, key: str, value: object) -> None:
    *parents, last = key.split(".")
    values = draft.values
    for i, parent in enumerate(parents):
        draft.where.setdefault(".".join(parents[: i + 1]), _COMMAND_LINE)
        if not isinstance(values.get(parent), dict):
            values[parent] = {}
        values = values[parent]
    values[last] = value
    draft.where[key] = _COMMAND_LINE


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for word, item in value.items():
            yield from _leaves(item, f"{key}.{word}" if key else str(word))
    else:
        yield key, value


# --- what is wrong with it ------------------------------------------------------------------------


def _explain(error: ValidationError, model_type: type[BaseModel], draft: _Draft) -> str:
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
        message = f"must be {wanted}, not {json.dumps(first['input'], default=str):.60}"
    return f"{where}: {key + ': ' if key else ''}{_one_line(message)}{more}"


def _place_of_clash(message: str, section: str, draft: _Draft) -> str | None:
    """Where the settings stand that an error between several names: the command line, if any."""
    names = re.findall(r"[a-z_]\w*(?:\.\w+)*", message)
    prefixes = ("", f"{section}.") if section else ("",)
    found = [
        draft.where[prefix + name]
        for name in names
        for prefix in prefixes
        if prefix + name in draft.where
    ]
    return _COMMAND_LINE if _COMMAND_LINE in found else next(iter(found), None)


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
    message = _one_line(str(first["msg"])).removeprefix("Value error, ")
    if message.startswith("Input should be "):
        written = json.dumps(first["input"], default=str)
        shown = written if len(written) <= 60 else f"{written[:60]}..."
        message = f"must be {message.removeprefix('Input should be ')}, not {shown}"
    return f"{field} {message}"


def _unknown_key(key: str, model_type: type[BaseModel], draft: _Draft) -> str:
    where = draft.where.get(key, draft.name)
    parent = key.rpartition(".")[0]
    siblings = [name for name in _keys(model_type) if name.rpartition(".")[0] == parent]
    allowed = ", ".join(name.rpartition(".")[2] for name in siblings)
    at = f" in {parent}" if parent else ""
    return (
        f"{where}: unknown key {key}{_did_you_mean(key, list(_keys(model_type)))}; "
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


def _did_you_mean(word: str, allowed: Sequence[str]) -> str:
    last = word.rpartition(".")[2]
    near = [
        *difflib.get_close_matches(word, allowed, n=1, cutoff=0.75),
        *(name for name in allowed if name.rpartition(".")[2] == last),
        *difflib.get_close_matches(word, allowed, n=1, cutoff=0.5),
    ]
    return f" (did you mean {near[0]}?)" if near else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
