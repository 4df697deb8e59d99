"""A line of a benchmark's result, and the facts about the machine that belong beside it."""

import math
import platform
from dataclasses import dataclass
from pathlib import Path

from rlef.sandbox import usable_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured number."""

    name: str
    value: float
    """NaN if it was not measured."""
    unit: str
    target: str = ""
    """What is wanted, in words; empty: nothing."""
    met: bool | None = None
    """Whether the target is reached; ``None``: there is none, or it was not measured."""
    note: str = ""


def skipped(name: str, unit: str, target: str, why: str) -> Row:
    """A row for what could not be measured here."""
    return Row(name=name, value=math.nan, unit=unit, target=target, note=why)


def machine_facts() -> dict[str, object]:
    """CPU model, cores that this process may use, kernel, Python."""
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine() or "unknown"
