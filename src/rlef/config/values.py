"""The values of a config as YAML, as JSON, and as words."""

import json
from collections.abc import Iterator, Mapping, Sequence

import yaml
from pydantic import BaseModel

from rlef.config.yaml12 import Dumper


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
    return dump_values(config.model_dump(mode="json"))


def dump_values(values: Mapping[str, object]) -> str:
    """JSON values as YAML 1.2, as whatever reads a run's config takes it."""
    return yaml.dump(dict(values), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)


def value_text(value: object) -> str:
    """A value as YAML on one line: what stands behind ``key=`` in a word.

    Example:
        >>> [value_text(value) for value in (None, True, 1e-5, "1", ["a", "b"])]
        ['null', 'true', '1.0e-05', "'1'", '[a, b]']
    """
    text: str = yaml.dump(
        value, Dumper=Dumper, default_flow_style=True, allow_unicode=True, width=10**9
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
    return dict(leaves(values)) if values else {}


def changed_keys(old: BaseModel, new: BaseModel) -> list[str]:
    """Keys with dots whose values differ between two configs of one type."""
    before = dict(leaves(old.model_dump(mode="json")))
    after = dict(leaves(new.model_dump(mode="json")))
    return [
        key for key in {**before, **after} if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    ]


_ABSENT = object()


def leaves(value: object) -> Iterator[tuple[str, object]]:
    """Every value that is no mapping, or an empty one, with its key with dots."""
    for path, item in leaf_paths(value):
        yield ".".join(path), item


def leaf_paths(
    value: object, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object]]:
    """The same with the words of the key, each as it stands in its mapping: it may have dots."""
    if isinstance(value, dict) and value:
        for word, item in value.items():
            yield from leaf_paths(item, (*path, str(word)))
    else:
        yield path, value
