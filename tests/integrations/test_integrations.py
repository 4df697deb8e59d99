"""The files of ``integrations`` with the real packages, each in an environment of its own.

``dev/integrations_env.sh NAME FOLDER`` makes one, and says which variable names it to these tests.
"""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKS = Path(__file__).parent / "checks"
NAMES = ("inspect", "lm_eval", "trl", "verifiers", "verl")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_with_the_real_package(name: str, tmp_path: Path) -> None:
    variable = f"RLEF_{name.upper()}_PYTHON"
    if not (python := os.environ.get(variable)):
        pytest.skip(f"{variable} names no Python that has it (dev/integrations_env.sh {name} DIR)")
    places = [ROOT / "src", ROOT / "integrations", ROOT / "examples" / "integrations"]
    words = [python, "-m", "pytest", "-q", "-x", "--noconftest", "-p", "no:cacheprovider"]
    words += ["-c", os.devnull, "--rootdir", str(CHECKS), str(CHECKS / f"check_{name}.py")]
    words += ["--basetemp", str(tmp_path / "checks")]
    done = subprocess.run(
        words,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), **OFFLINE},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


OFFLINE = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "TOKENIZERS_PARALLELISM": "false"}


def test_files_are_short() -> None:
    lengths = {
        path.name: len(path.read_text().splitlines()) for path in ROOT.glob("integrations/*.py")
    }
    assert len(lengths) >= 5
    assert {name: lines for name, lines in lengths.items() if lines > 150} == {}


def test_each_has_a_page_and_an_example() -> None:
    index = (ROOT / "docs" / "integrations" / "index.md").read_text()
    for name in NAMES:
        assert (ROOT / "docs" / "integrations" / f"{name}.md").exists() and f"({name}.md)" in index
        assert list((ROOT / "examples" / "integrations").glob(f"{name}_*.py")), name
        assert (CHECKS / f"check_{name}.py").exists()


def test_modules_are_packaged() -> None:
    listed = (ROOT / "integrations" / "pyproject.toml").read_text()
    modules = [path.stem for path in ROOT.glob("integrations/*.py")]
    assert [module for module in modules if f'"{module}"' not in listed] == []
