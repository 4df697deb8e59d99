"""The core schema of YAML 1.2, where 1e-4 is a number and "no" is a word."""

import re

import yaml

from rlef.config.types import ConfigError
from rlef.config.words import one_line

_MAX_DIGITS = 400
_MAX_VALUES = 100_000
"""References to references may stand for more than any memory holds."""
_PREFIX = "tag:yaml.org,2002:"
_TAGS = {_PREFIX + kind for kind in ("str", "int", "float", "bool", "null", "seq", "map")}
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


class Loader(yaml.SafeLoader):
    """Reads it."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


class Dumper(yaml.SafeDumper):
    """Writes it."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_NOT_YAML = yaml.reader.Reader.NON_PRINTABLE


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    if len(text) > _MAX_DIGITS:
        mark = node.start_mark
        raise yaml.MarkedYAMLError(problem=f"a number of {len(text)} digits", problem_mark=mark)
    return int(text)


for _tag, _pattern, _first in _RESOLVERS:
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(_PREFIX + _tag, re.compile(f"^(?:{_pattern})$"), list(_first))
Loader.add_constructor(f"{_PREFIX}int", _decimal)  # 010 is ten


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """A text; plain ones lose ends of lines that are not ours."""
    style = '"' if re.search("[\x85\u2028\u2029]", text) else None
    return dumper.represent_scalar(f"{_PREFIX}str", text, style=style)


Dumper.add_representer(str, _text_node)


def parse_yaml(text: str, name: str) -> tuple[object, dict[str, int]]:
    """The value and the line of each key with dots.

    Raises:
        ConfigError: Not YAML, a key twice, a key that is no string.
    """
    hidden = _NOT_YAML.search(text)
    if hidden:
        before = text.count("\n", 0, hidden.start())
        raise ConfigError(f"{name}:{before + 1}: not YAML: holds the character {hidden[0]!a}")
    loader = Loader(text)
    loader.name = name
    lines: dict[str, int] = {}
    count = 0

    def build(node: yaml.Node, key: str, parents: tuple[yaml.Node, ...]) -> object:
        nonlocal count
        count += 1
        if count > _MAX_VALUES:
            raise ConfigError(f"{name}: holds more than {_MAX_VALUES:,} values")
        where, tag = f"{name}:{node.start_mark.line + 1}", node.tag.replace(_PREFIX, "!!")
        if node in parents:
            raise ConfigError(f"{where}: {key} contains itself")
        if node.tag not in _TAGS:
            raise ConfigError(
                f"{where}: not YAML: the tag {tag}; allowed: !!str, !!int, !!float, !!bool, "
                "!!null, or none"
            )
        if isinstance(node, yaml.SequenceNode):
            return [build(item, key, (*parents, node)) for item in node.value]
        if not isinstance(node, yaml.MappingNode):
            try:
                return loader.construct_object(node)
            except (ValueError, KeyError):  # of a tag that its text does not follow
                raise ConfigError(f"{where}: {node.value!r:.60} is no {tag}") from None
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
        raise ConfigError(f"{name}: not YAML: {one_line(str(error))}") from None
    finally:
        loader.dispose()
