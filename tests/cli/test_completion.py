"""Shells complete the words of ``rlef``: its scripts, in the shells that are here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
BASH = """
eval "$(_RLEF_COMPLETE=source_bash rlef)"
for words in "rlef recip" "rlef train qwen3" "rlef eval --samples-" "rlef judge any"; do
    read -ra COMP_WORDS <<< "$words"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _rlef_completion rlef
    echo "${COMPREPLY[*]}"
done
complete -p rlef
"""
FISH = "_RLEF_COMPLETE=source_fish rlef | source; complete -C 'rlef train qwen3'"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which ``rlef`` is the command of this clone."""
    command = tmp_path / "rlef"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m rlef.cli.main "$@"\n')
    command.chmod(0o755)
    paths = {"PATH": str(tmp_path), "PYTHONPATH": str(SOURCE), "HOME": str(tmp_path)}
    return os.environ | paths | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def ran(words: list[str], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_bash(environment: dict[str, str]) -> None:
    *found, bound = ran(["bash", "--norc", "-c", BASH], environment)
    assert found == ["recipe", "qwen3-4b-lora", "--samples-file", ""]  # then bash looks for files
    assert bound == "complete -o default -F _rlef_completion rlef"


def test_zsh(environment: dict[str, str]) -> None:
    script = ran(["rlef"], environment | {"_RLEF_COMPLETE": "source_zsh"})
    assert "#compdef rlef" in script
    if shutil.which("zsh"):
        ran(["zsh", "-f", "-n", "-c", "\n".join(script)], environment)
    asked = {"_RLEF_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "rlef train qwen3"}
    assert ran(["rlef"], environment | asked) == ["""_arguments '*: :(("qwen3-4b-lora"))'"""]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish(environment: dict[str, str]) -> None:
    assert ran(["fish", "--no-config", "-c", FISH], environment) == ["qwen3-4b-lora"]
