import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field, model_validator

from rlef.config import (
    ConfigError,
    NamedSection,
    changed_keys,
    dump_config,
    load_config,
    recipe_names,
    recipe_text,
    sources,
)


class Device(StrEnum):
    CPU = "cpu"
    CUDA = "cuda"


class Section(BaseModel, frozen=True, extra="forbid"):
    pass


class Sampling(Section):
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)


class Learner(Section):
    lr: float = Field(default=1e-3, gt=0)
    kl_coefficient: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)


class Config(Section):
    seed: int = 0
    name: str = "mini"
    level: Literal["turn", "token"] = "turn"
    device: Device = Device.CPU
    folder: Path = Path("runs")
    limit: int | None = None
    learner: Learner = Learner()
    sampling: Sampling = Sampling()

    @model_validator(mode="after")
    def _check(self) -> "Config":
        if self.limit == 13:
            raise ValueError("limit must not be 13")
        return self


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def error_of(recipe: Path | str | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(Config, recipe, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_recipe_command_line_in_that_order(tmp_path: Path) -> None:
    recipe = write(tmp_path, "seed: 3\nlearner:\n  lr: 1e-4\n  betas: [0.8, 0.9]\n")
    config = load_config(Config, recipe, ["learner.lr=2e-7", "device=cuda", "limit=5"])
    assert config.seed == 3
    assert config.learner == Learner(lr=2e-7, betas=(0.8, 0.9))
    assert config.device is Device.CUDA
    assert config.limit == 5
    assert config.sampling == Sampling()


def test_values_are_yaml_scalars() -> None:
    config = load_config(Config, None, ["name=no", "folder=a/b=c", "limit=null", "learner.lr=1"])
    assert config.name == "no"
    assert config.folder == Path("a/b=c")
    assert config.limit is None
    assert config.learner.lr == 1.0
    assert load_config(Config, None, ["seed=010"]).seed == 10


def test_mapping_as_override_changes_only_the_keys_it_names(tmp_path: Path) -> None:
    recipe = write(tmp_path, "learner: {lr: 0.5, kl_coefficient: 0.1}")
    config = load_config(Config, recipe, ["learner={lr: 0.25}"])
    assert config.learner == Learner(lr=0.25, kl_coefficient=0.1)


def test_an_empty_mapping_as_override_names_no_key(tmp_path: Path) -> None:
    recipe = write(tmp_path, "learner:\n  lr: 0.5\n")
    assert load_config(Config, recipe, ["learner={}"]).learner.lr == 0.5
    assert load_config(Config, None, ["learner.lr=0.5", "learner={}"]).learner.lr == 0.5
    assert load_config(WithFree, None, ["free={c.d: 1, e: {f: 2}}"]).free == {
        "c.d": 1,
        "e": {"f": 2},
    }
    assert load_config(WithFree, write(tmp_path, "free: {a: 1}"), ["free={}"]).free == {}
    assert load_config(WithFree, None, ["maybe={}"]).maybe == Sampling()


class WithFree(Section):
    free: dict[str, object] = {}
    maybe: Sampling | None = None


def test_a_recipe_from_a_pipe_is_read_once() -> None:
    read, write_end = os.pipe()
    os.write(write_end, b"seed: 7\nlearner: {lr: 0.5}\n")
    os.close(write_end)
    path = f"/proc/self/fd/{read}"
    found = {key: (value, source) for key, value, source in sources(Config, path, ["limit=1"])}
    assert found["seed"] == (7, f"{path}:1") and found["learner.lr"] == (0.5, f"{path}:2")
    assert load_config(Config, path, []).learner.lr == 0.5
    os.close(read)


@pytest.mark.parametrize("text", ["a\x85b ", "inf\x85", "\u2028", "x\u2029y", "\ufeff", " a "])
def test_texts_with_odd_ends_of_lines_are_read_back(tmp_path: Path, text: str) -> None:
    config = Config(name=text)
    assert load_config(Config, write(tmp_path, dump_config(config)), []) == config


def test_dump_is_read_back_to_an_equal_config(tmp_path: Path) -> None:
    for name in ("1e-4", "null", "yes", "true", "ünï: x", "line\nbreak", "010"):
        config = Config(name=name, learner=Learner(lr=2e-7), limit=4)
        assert load_config(Config, write(tmp_path, dump_config(config)), []) == config


def test_empty_recipe_is_the_defaults(tmp_path: Path) -> None:
    assert load_config(Config, write(tmp_path, "# nothing\n"), []) == Config()


def test_sources_say_where_each_value_comes_from(tmp_path: Path) -> None:
    recipe = write(tmp_path, "seed: 3\nlearner:\n  lr: 1e-4\n")
    settings = {s.key: s for s in sources(Config, recipe, ["sampling.top_p=0.9"])}
    assert settings["seed"].source == f"{recipe}:1"
    assert settings["learner.lr"].source == f"{recipe}:3"
    assert settings["sampling.top_p"] == ("sampling.top_p", 0.9, "command line")
    assert settings["learner.kl_coefficient"].source == "default"
    assert set(settings) == {
        *("seed", "name", "level", "device", "folder", "limit", "learner.lr"),
        *("learner.kl_coefficient", "learner.betas", "sampling.temperature", "sampling.top_p"),
    }


def test_changed_keys_are_named_with_dots() -> None:
    other = Config(seed=1, learner=Learner(lr=0.5))
    assert changed_keys(Config(), other) == ["seed", "learner.lr"]
    assert changed_keys(other, other) == []


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("sed=1", "did you mean seed?"),
        ("learner.l_r=1", "did you mean learner.lr?"),
        ("lr=1", "did you mean learner.lr?"),
        ("sampling.kl_coefficient=1", "did you mean learner.kl_coefficient?"),
        ("lerner.lr=1", "did you mean learner?"),
    ],
)
def test_unknown_key_gets_a_suggestion(override: str, hint: str) -> None:
    message = error_of(None, override)
    assert message.startswith("command line: unknown key ")
    assert hint in message


def test_unknown_key_in_a_recipe_names_line_and_allowed_keys(tmp_path: Path) -> None:
    recipe = write(tmp_path, "seed: 1\nlearner:\n  lr: 1\n  rate: 2\n")
    message = error_of(recipe)
    assert message.startswith(f"{recipe}:4: unknown key learner.rate")
    assert message.endswith("allowed in learner: lr, kl_coefficient, betas")


def test_unknown_key_below_a_plain_value() -> None:
    message = error_of(None, "learner.lr.x=1")
    assert message.startswith("command line: learner.lr: must be a valid number, not")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1.5", ":1: seed: must be a valid integer, not 1.5"),
        ("seed: true", ":1: seed: must be a valid integer, not true"),
        ("seed: '1'", ':1: seed: must be a valid integer, not "1"'),
        ("name: 3", ":1: name: must be a valid string, not 3"),
        ("level: word", ":1: level: must be 'turn' or 'token', not \"word\""),
        ("device: tpu", ":1: device: must be 'cpu' or 'cuda', not \"tpu\""),
        ("learner:\n  lr: -1", ":2: learner.lr: must be greater than 0, not -1"),
        ("learner: 3", ":1: learner: must be a mapping, not 3"),
        ("learner:\n  betas: [0.9, x]", ':2: learner.betas: must be a valid number, not "x"'),
        ("limit: 13", ":1: limit must not be 13"),
        ("seed: 1\nname: a\nseed: 2", ":3: seed stands twice, first on line 1; allowed: once"),
        ("learner:\n  lr: 1\n  lr: 1", ":3: learner.lr stands twice, first on line 2"),
        ("1: 2", ":1: key 1 must be a string"),
        ("- 1", ": holds [1]; allowed: a mapping"),
        ("seed: [1", ":1: not YAML: "),
        ("a: 1\n\tb: 2", ":2: not YAML: "),
        (
            "seed: !!python/object:os.system x",
            ":1: not YAML: the tag !!python/object:os.system; ",
        ),
        ("a: 1\n---\nb: 2", ":2: not YAML: "),
        ("name: &a [*a]", ":1: name contains itself"),
        ("seed: 1\nname: a\0", r":2: not YAML: holds the character '\x00'"),
        ("seed: 1\nna\x1bme: a", r":2: not YAML: holds the character '\x1b'"),
        (f"name: a\nseed: {'9' * 5000}", ":2: not YAML: a number of 5000 digits"),
        ("name: a\nlearner: " + "[" * 3000, ": not YAML: brackets too deep"),
        ("learner:\n  <<: {lr: 1}", ":2: << (merge) is not in YAML 1.2; allowed: keys"),
        ("seed: !!int abc", ":1: 'abc' is no !!int"),
        ("seed: !!bool foo", ":1: 'foo' is no !!bool"),
        ("name: a\nseed: !!timestamp 2020-01-01", ":2: not YAML: the tag !!timestamp; allowed"),
        ("name: !mine x", ":1: not YAML: the tag !mine; allowed: !!str"),
        (
            "name: a\nlearner.lr: 1",
            ":2: learner.lr stands on one line; allowed in a file: learner: {lr: …}",
        ),
        ("name: 2026-01-01\nseed: x", ':2: seed: must be a valid integer, not "x"'),
    ],
)
def test_error_says_where_and_what(tmp_path: Path, text: str, expected: str) -> None:
    recipe = write(tmp_path, text)
    assert error_of(recipe).startswith(f"{recipe}{expected}")


def test_several_errors_name_the_misspelt_key_first(tmp_path: Path) -> None:
    recipe = write(tmp_path, "seed: x\nlevle: turn\n")
    assert error_of(recipe).startswith(f"{recipe}:2: unknown key levle (did you mean level?)")
    assert error_of(recipe).endswith("(and 1 more)")


@pytest.mark.parametrize("word", ["seed", "=1", ".a=1", "a..b=1", ""])
def test_word_that_is_no_setting(word: str) -> None:
    assert error_of(None, word).endswith("is no setting; allowed: key=value")


def test_override_given_twice() -> None:
    expected = "command line: learner.lr is given twice; allowed: once"
    assert error_of(None, "learner={lr: 1}", "learner.lr=2") == expected


def test_missing_recipe_names_the_shipped_ones(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none.yaml").startswith("no file ")
    assert error_of("no-such-recipe").startswith("no recipe 'no-such-recipe'")


def test_shipped_recipes_are_found_by_name() -> None:
    for name in recipe_names():
        assert recipe_text(name).strip()


def test_required_key_is_named() -> None:
    class Needs(Section):
        model: str

    with pytest.raises(ConfigError, match="model is missing and has no default"):
        load_config(Needs, None, [])


def test_text_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"seed: 1\nname: \xff\n")
    assert error_of(tmp_path / "r.yaml") == f"{tmp_path}/r.yaml:2: not UTF-8; allowed: YAML text"
    assert error_of(tmp_path) == f"{tmp_path} is a folder; allowed: a YAML file"


def test_a_shipped_name_goes_before_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mini").write_text("seed: 77\n")
    monkeypatch.chdir(tmp_path)
    from rlef.train.recipe import TrainConfig

    assert load_config(TrainConfig, "mini", []).seed == 0
    assert load_config(Config, "./mini", []).seed == 77


def test_an_error_between_settings_is_placed_where_the_command_line_took_part(
    tmp_path: Path,
) -> None:
    recipe = write(tmp_path, "seed: 1\nlimit: 4\n")
    assert error_of(recipe, "limit=13") == "command line: limit must not be 13"


class Net(NamedSection):
    name: str = "small"
    layers: int = 2


class WithNet(Section):
    net: Net = Net()


def test_a_plain_word_stands_for_the_name_of_a_section(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("net: big\n")
    assert load_config(WithNet, path, []) == WithNet(net=Net(name="big"))
    assert load_config(WithNet, path, ["net=tiny"]).net.name == "tiny"
    assert load_config(WithNet, path, ["net.layers=3"]).net == Net(name="big", layers=3)
    path.write_text("net:\n  name: big\n  layers: 5\n")
    changed = load_config(WithNet, path, ["net=tiny"])
    assert changed.net == Net(name="tiny", layers=5)  # the rest of the recipe holds
    places = {key: place for key, _, place in sources(WithNet, path, ["net=tiny"])}
    assert places == {"net.name": "command line", "net.layers": f"{path}:3"}
    path.write_text(dump_config(changed))
    assert load_config(WithNet, path, []) == changed


@pytest.mark.parametrize(
    ("text", "words", "error"),
    [
        ("net: 3\n", [], ":1: net.name: must be a valid string, not 3"),
        ("net: [a]\n", [], ':1: net.name: must be a valid string, not ["a"]'),
        ("net:\n", [], ":1: net: must be a mapping, not null"),
        ("net: {nam: x}\n", [], ":1: unknown key net.nam (did you mean net.name?)"),
        ("net: x\n", ["net=a", "net.name=b"], "command line: net.name is given twice"),
        ("net: x\n", ["net={layers: a}"], "command line: net.layers: must be a valid integer"),
    ],
)
def test_what_is_wrong_with_a_named_section(
    tmp_path: Path, text: str, words: list[str], error: str
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(error)):
        load_config(WithNet, path, words)
