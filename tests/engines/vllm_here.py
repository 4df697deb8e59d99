"""Where a machine has vLLM and the models to try it on."""

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")
"""The second is Qwen2.5-Coder-0.5B-Instruct, rounded to 4 bits (Q4_K_M) and dequantised."""
SOURCE = Path(__file__).parents[2] / "src"


def vllm_python() -> str:
    """The Python that has vLLM; skips without one."""
    python = os.environ.get("RLEF_VLLM_PYTHON")
    if not python:
        pytest.skip("RLEF_VLLM_PYTHON names no Python that has vLLM (docs/engines.md)")
    if not _works(python):
        pytest.skip(f"{python} cannot import vllm and rlef's requirements")
    return python


def model_folder(name: str) -> Path:
    """A model's folder; skips without it."""
    folder = Path(os.environ.get("RLEF_MODELS", "models")) / name
    if not folder.is_dir():
        pytest.skip(f"RLEF_MODELS has no folder {name}")
    return folder


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONWARNINGS": "ignore"}


@cache
def _works(python: str) -> bool:
    code = "import vllm, rlef.engines.load"
    words = [python, "-c", code]
    return subprocess.run(words, env=environment(), capture_output=True).returncode == 0
