"""Hostile and odd programs with the verdicts that they must get, as data, by category."""

from hostile import (
    between,
    channel,
    compile,
    corners,
    cpp,
    descriptors,
    ending,
    files,
    kernel,
    liars,
    loops,
    memory,
    network,
    numbers,
    output,
    processes,
    runtime,
    rust,
    secrets,
    signals,
    text,
    valid,
)  # fmt: skip
from hostile.case import SECRET, Hostile

CATEGORIES: dict[str, tuple[Hostile, ...]] = {
    "Processes and threads": processes.CASES,
    "Memory": memory.CASES,
    "Output": output.CASES,
    "Signals": signals.CASES,
    "Loops, waiting and crashes": loops.CASES,
    "Endings": ending.CASES,
    "Descriptors": descriptors.CASES,
    "Secrets": secrets.CASES,
    "Network": network.CASES,
    "Kernel": kernel.CASES,
    "Corners of what is allowed": corners.CASES,
    "Files, and what is left for the next program": files.CASES,
    "Between two tests of one program": between.CASES,
    "The runtime": runtime.CASES,
    "Liars": liars.CASES,
    "Messages of its own": channel.CASES,
    "Text": text.CASES,
    "Numbers": numbers.CASES,
    "Compiling": compile.CASES,
    "C++": cpp.CASES,
    "Rust": rust.CASES,
    "Odd but right": valid.CASES,
}

__all__ = ["CATEGORIES", "SECRET", "Hostile"]
