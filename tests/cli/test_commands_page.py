"""docs/commands.md is that of the commands, and what their help shows as examples can be typed."""

import importlib.util
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "dev" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = script("commands_page")
COMMANDS: dict[str, Any] = dict(PAGE.commands())


def test_the_page_is_that_of_the_commands() -> None:
    stale = "stale: python dev/commands_page.py"
    assert PAGE.PAGE.read_text(encoding="utf-8") == PAGE.page(), stale
    refused = {" ".join(words[:2]) for words, _ in script("try_base").refused()}
    assert {next(name for name in COMMANDS if said.startswith(name)) for said in refused} == set(
        PAGE._EXTRAS
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_can_be_typed(name: str) -> None:
    lines = PAGE.examples(COMMANDS[name]).splitlines()
    commands = [line.rpartition("| ")[2] for line in lines if not line.startswith("#")]
    assert any(line.startswith(f"rlef {name}") for line in commands)
    for line in commands:
        words = shlex.split(line)
        if words[0] != "rlef":
            continue
        said = " ".join(words[1:])
        called = max((one for one in COMMANDS if said.startswith(one)), key=len)
        COMMANDS[called].make_context(called, words[1 + len(called.split()) :])  # or it raises
