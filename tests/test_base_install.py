"""``pip install rlef`` alone: what works without the packages of the extras, and what says so."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rlef import extras

ROOT = Path(__file__).parent.parent
BESIDE = ("accelerate", "huggingface_hub", "sympy", "tensorflow", "jax")
"""What packages of the extras bring along."""
HIDDEN = """
import sys
class Hidden:  # pyarrow looks at what stands in sys.modules, so nothing may
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""
"""Likewise pandas."""


def test_commands_without_the_packages_of_extras(tmp_path: Path) -> None:
    names = sorted({name for names in extras.NEEDS.values() for name in names} | {*BESIDE})
    hook = f"{HIDDEN}sys.modules.update(dict.fromkeys({names}))\n"
    (tmp_path / "sitecustomize.py").write_text(hook)
    paths = [str(tmp_path), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, ROOT / "dev" / "try_base.py"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "training needs torch, " in done.stdout and "rlef view runs -> " in done.stdout


def test_extras_bring_what_they_are_said_to() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    for extra, modules in extras.NEEDS.items():
        named = {re.split(r"[<>=\[ ]", one)[0] for one in optional[extra]}
        assert named - {"rlef"} == set(modules), extra
    needed = {re.split(r"[<>=\[ ]", one)[0] for one in project["dependencies"]}
    assert not needed & {name for names in extras.NEEDS.values() for name in names}


def test_a_package_that_is_missing_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from rlef.cli.errors import explain

    how = 'pip install "rlef[train]" (in a clone: pip install -e ".[train]")'
    line = (f"this needs torch.nn; install with: {how}", 2)
    assert explain(ModuleNotFoundError("No module named 'torch'", name="torch.nn")) == line
    assert extras.extra_of("starlette.routing") == "view" and extras.extra_of("yaml") is None
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(extras.MissingExtraError) as caught:
        extras.require("lora", "this")
    how = 'pip install "rlef[lora]" (in a clone: pip install -e ".[lora]")'
    assert str(caught.value) == f"this needs peft; install with: {how}"
    assert explain(caught.value) == (str(caught.value), 2)
