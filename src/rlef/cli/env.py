"""``rlef env``: what a bug report should tell."""

import os
import platform
import sys
from typing import Annotated

import typer

from rlef import __version__
from rlef.cli.common import examples, print_json, show

EXAMPLES = examples(("what a bug report should tell", "rlef env"), ("as JSON", "rlef env --json"))
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pydantic", "vllm", "ray")


def env(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print versions, processors and what the judge can do here."""
    facts = {
        "rlef": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": str(len(os.sched_getaffinity(0))),
        "memory_gb": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f}",
        **_versions(),
        "gpus": _gpus(),
        "judge": _judge(),
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        show(f"{name:<14} {value}")


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _gpus() -> str:
    from rlef import extras

    if "torch" in extras.missing("train"):
        return "not known without torch"

    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(names) or "none"


def _judge() -> str:
    """Judges one program and tells how it was kept apart."""
    import logging

    from rlef.problems import Test
    from rlef.sandbox import Sandbox, SandboxError

    logging.getLogger("rlef.sandbox").addHandler(logging.NullHandler())
    try:
        with Sandbox(workers=1) as sandbox:
            isolation = sandbox.describe()
            test = sandbox.judge("print(1)", [Test("", "1")]).tests[0]
    except SandboxError as error:
        return f"does not work: {error}"
    if test.verdict != "AC":
        return f"does not work: {test.verdict} {test.message}"
    walls = isolation.warning or "namespaces and a system call filter"
    return f"works; {walls}; hot path in {isolation.hot_path}"
