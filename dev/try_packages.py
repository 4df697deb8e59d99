"""Builds the packages of what git has and tries the wheel in fresh environments: a table.

usage: python dev/try_packages.py WORK [--pythons 3.12,/usr/bin/python3.14] [--extras -,view,train]
    [--resolutions highest,lowest-direct] [--constraint FILE] [--find-links DIR] [--skip-build]

Needs git and `pip install build twine uv`; where `auditwheel` is installed, says what Linux the
wheel is for. WORK, a folder, gets the packages in `dist`, and `failed.txt` with what failed. Each
environment is removed again when it has been tried; with `--pythons ""` none is made. `-` stands
for no extra. Of the extra `train` the mini model is trained for four updates, of `view` pages are
asked for, of all `dev/try_base.py` runs.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_IN_SDIST = (".ci/", ".git", ".pre-commit-config.yaml", "recipes")
MADE = ("PKG-INFO", "setup.cfg", "src/rlef.egg-info/")
"""What building adds to the source archive."""
VIEW = """
import json, signal, subprocess, sys, urllib.request
words = [sys.executable, "-m", "rlef.cli.main", "view", ".", "--port", "0", "--no-browser"]
with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as viewer:
    link = viewer.stdout.readline().strip()
    try:
        for page in ("", "licenses.txt", "api/runs"):
            assert urllib.request.urlopen(link + page).status == 200
    finally:
        viewer.send_signal(signal.SIGINT)
"""
"""Asks the viewer for a page."""


def check(what: str, command: Sequence[object], **words: object) -> str:
    """Runs a command; exits with what it said where it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        **{"capture_output": True, "text": True, **words},  # type: ignore[call-overload]
    )
    if done.returncode:
        sys.exit(f"{what} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return str(done.stdout)


def build(dist: Path, source: Path) -> None:
    """Builds the source archive from git's index, and the wheel from that archive."""
    shutil.rmtree(dist, ignore_errors=True)
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    check("git", ["git", "checkout-index", "--all", f"--prefix={source.resolve()}/"], cwd=ROOT)
    check("build", [sys.executable, "-m", "build", "--outdir", dist, source])
    check("twine", [sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir()])


def wrong_contents(dist: Path) -> Iterator[str]:
    """What is missing from the packages, or should not be there."""
    [archive] = dist.glob("*.tar.gz")
    [wheel] = dist.glob("*.whl")
    tracked = {*check("git", ["git", "ls-files"], cwd=ROOT).split()}
    with tarfile.open(archive) as opened:
        names = {one.name.partition("/")[2] for one in opened if one.isfile()}
    wanted = {name for name in tracked if not name.startswith(NOT_IN_SDIST)}
    yield from (f"{archive.name} lacks {name}" for name in sorted(wanted - names))
    left = sorted(name for name in names - wanted if not name.startswith(MADE))
    yield from (f"{archive.name} holds {name}" for name in left)
    with zipfile.ZipFile(wheel) as opened_wheel:
        names = {name for name in opened_wheel.namelist() if ".dist-info/" not in name}
    wanted = {name[4:] for name in tracked if name.startswith("src/rlef/")}
    wanted.discard("rlef/sandbox/native.c")
    if not wheel.name.endswith("-py3-none-any.whl"):
        wanted.add("rlef/sandbox/_native.so")
    yield from (f"{wheel.name} lacks {name}" for name in sorted(wanted - names))
    yield from (f"{wheel.name} holds {name}" for name in sorted(names - wanted))


def attempt(
    wheel: Path, work: Path, python: str, extra: str, resolution: str, args: argparse.Namespace
) -> tuple[str, ...]:
    """Installs the wheel in a fresh environment and tries it there; returns a row of the table."""
    place = work / "environment"
    shutil.rmtree(place, ignore_errors=True)
    uv = [sys.executable, "-m", "uv"]
    row = [python, extra, resolution]
    started = time.monotonic()
    check("uv venv", [*uv, "venv", "--python", python, place])
    mine = place / "bin" / "python"
    words = [*uv, "pip", "install", "--python", mine, "--resolution", resolution]
    words += ["--requirement", ROOT / "pyproject.toml"]  # so that its bounds are the direct ones
    words += ["--extra", extra] if extra != "-" else []
    words += ["--constraint", args.constraint] if args.constraint else []
    words += ["--find-links", args.find_links] if args.find_links else []
    asked = "import platform; print(platform.python_version())"
    row[0] = check("python", [mine, "-c", asked]).strip()
    installed = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if installed.returncode:
        shutil.rmtree(place)
        return (*row, "-", "-", f"cannot be installed: {installed.stderr.strip().splitlines()[-1]}")
    check("uv pip install", [*uv, "pip", "install", "--python", mine, "--no-deps", wheel])
    packages = check("uv pip list", [*uv, "pip", "list", "--python", mine, "--format", "freeze"])
    size = sum(file.lstat().st_size for file in place.rglob("*") if file.is_file()) / 2**20
    found = []
    for what, command in trials(mine, extra):
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, env=clean())
        if done.returncode:
            with (work / "failed.txt").open("a") as log:
                log.write(f"{row} {what}\n{done.stdout}\n{done.stderr}\n{packages}\n")
            found.append(f"{what} fails: {(done.stderr.strip().splitlines() or ['?'])[-1][:160]}")
    shutil.rmtree(place)
    seconds = f"{time.monotonic() - started:.0f}"
    return (*row, f"{size:,.0f}", seconds, "; ".join(found) or "works")


def trials(python: Path, extra: str) -> Iterator[tuple[str, list[str]]]:
    """What is tried of an environment."""
    yield "base", [str(python), str(ROOT / "dev" / "try_base.py")]
    if extra == "view":
        yield "view", [str(python), "-c", VIEW]
    if extra == "train":
        rlef, run = str(python.with_name("rlef")), python.parents[1] / "run"
        words = ["updates=4", "rollout.batch=16", "learner.minibatch=4", "eval.problems=4"]
        yield "train", [rlef, "train", "mini", *words, "--quiet", "--out", str(run)]
        model = [str(run / "checkpoints" / "update-000004"), "--prompts", "mini"]
        limits = ["--data", "mini:valid", "--limit", "2", "--max-new-tokens", "32"]
        yield "eval", [rlef, "eval", *model, *limits, "--out", str(run.with_name("eval"))]
        yield "plan", [rlef, "plan", "mini", "--gpu-memory", "8"]


def clean() -> dict[str, str]:
    """The environment without paths to this clone."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def main() -> None:
    """Builds, tries, prints; exit status 1 if anything is wrong."""
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("work", type=Path)
    parser.add_argument("--pythons", default=sys.executable)
    parser.add_argument("--extras", default="-")
    parser.add_argument("--resolutions", default="highest,lowest-direct")
    parser.add_argument("--constraint")
    parser.add_argument("--find-links")
    parser.add_argument("--skip-build", action="store_true")
    args = parser.parse_args()
    dist = args.work.resolve() / "dist"
    if not args.skip_build:
        build(dist, args.work / "source")
    wrong = [*wrong_contents(dist)]
    [wheel] = dist.glob("*.whl")
    sizes = (f"{file.name} {file.stat().st_size / 2**20:.1f} MB" for file in sorted(dist.iterdir()))
    print(*sizes, *wrong, sep="\n")
    if shutil.which("auditwheel") and "linux" in wheel.name:
        print(" ".join(check("auditwheel", ["auditwheel", "show", wheel]).split())[:200])
    print(f"\n{'Python':<8} {'extra':<6} {'resolution':<14} {'MB':>6} {'s':>5}  result")
    for python in filter(None, args.pythons.split(",")):
        for extra in args.extras.split(","):
            for resolution in args.resolutions.split(","):
                row = attempt(wheel, args.work.resolve(), python, extra, resolution, args)
                print("{:<8} {:<6} {:<14} {:>6} {:>5}  {}".format(*row), flush=True)
                if row[-1] != "works":
                    wrong.append(" ".join(row))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
