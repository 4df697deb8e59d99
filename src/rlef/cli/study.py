"""``rlef study``: the paper's comparisons, from one command."""

import math
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlef import extras
from rlef.cli.common import (
    INTERRUPTED,
    examples,
    quiet_transformers,
    recipe_and_words,
    recipes,
    say,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlef.study import Failure, Part
    from rlef.train.recipe import TrainConfig

EXAMPLES = examples(
    ("the main arms with one seed; the same words again go on where it stopped", "rlef study"),
    ("all arms in one table, three seeds where a claim needs them", "rlef study --budget full"),
    (
        "at two temperatures, on the problems that things are chosen by",
        "rlef study data.test=mini:valid eval.also.temperature=0.2 eval.also.top_p=0.95",
    ),
    (
        "some arms of a recipe of your own",
        "rlef study my.yaml updates=400 --arms untrained,rlef,sft --out runs/mine",
    ),
)
_SEEDS = {"quick": 1, "full": 3}
_UNCLAIMED_SEEDS = 1
"""Of arms that no claim is about, unless ``--seeds`` says more."""
_MAX_JOBS = 8
_PART_BYTES = 4e9
"""Memory that a part of ``mini-study`` takes at most."""
_NO_PART = "holds no finished part of this study; allowed: to run it first"
_RECIPE = "mini-study"


def study(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A YAML file or a shipped recipe's name.",
            autocompletion=recipes,
        ),
    ] = _RECIPE,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings of all arms, such as updates=80."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="quick|full",
            help="quick: the main arms, one seed; full: all arms, three seeds where a claim of the "
            "paper needs them, else one. Default: quick.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Seeds of each arm. Default: as the budget says."),
    ] = None,
    arms: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="Only these, such as untrained,rlef,sft.", show_default=False
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Parts at once; by default, on a CPU, one per core, up to 8, with 4 GB for each.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the study.")] = Path(
        "runs/study"
    ),
    only_page: Annotated[
        bool,
        typer.Option(
            "--page",
            help="Write the page of what is there, run nothing. Of all of it, unless a budget, "
            "seeds or arms are named.",
        ),
    ] = False,
) -> None:
    """Train every arm with the same budget, examine all alike, and write one page."""
    from rlef.config import load_config
    from rlef.run import RunError
    from rlef.study import chosen_arms, parts
    from rlef.study.arms import parts_there
    from rlef.train.recipe import TrainConfig

    page_of_all = only_page and not (budget or seeds or arms)
    budget = budget or "quick"
    if budget not in _SEEDS:
        raise typer.BadParameter(f"budget is {budget!r}; allowed: {', '.join(_SEEDS)}")
    recipe, words = recipe_and_words(recipe, overrides, default=_RECIPE)
    try:
        wanted = chosen_arms(arms, full=budget == "full")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    config = load_config(TrainConfig, recipe, words)
    others = None if seeds else _UNCLAIMED_SEEDS
    todo = parts(wanted, config.seed, seeds or _SEEDS[budget], others)
    if only_page and not _is_begun(out):
        raise RunError(f"{out} {_NO_PART}")
    if page_of_all:
        todo = parts_there(out, config.seed)
    if not only_page:
        _check(config, recipe, words, todo, out)
    extras.require("train", "rlef study")

    from rlef.study import check_words, run_study

    size = ["--page"] if page_of_all else ["--budget", budget]
    again = ["rlef", "study", recipe, *words, *size, "--out", str(out)]
    again += [*(["--seeds", str(seeds)] if seeds else []), *(["--arms", arms] if arms else [])]
    again += ["--jobs", str(jobs)] if jobs else []
    failures: list[Failure] = []
    if only_page:
        check_words(recipe, words, todo, out)
    else:
        quiet_transformers()
        try:
            failures = run_study(
                recipe,
                words,
                todo,
                out,
                say=say,
                jobs=jobs or _usual_jobs(config.device, len(todo)),
            )
        except KeyboardInterrupt:
            say(f"\nstopped; go on with: {shlex.join(again)}")
            raise typer.Exit(INTERRUPTED) from None
    for part, reason in failures:
        say(f"rlef: {part.arm.name}, seed {part.seed} failed: {reason}")
    if failures:
        say(f"try these again with: {shlex.join(again)}")
    failed = {part for part, _ in failures}
    tried = [part for part in todo if part not in failed]
    if tried:
        _write_page(tried, out, shlex.join(again), recipe, len(todo))
    if failures:
        raise typer.Exit(1)


def _check(
    config: "TrainConfig", recipe: str, words: list[str], todo: "Sequence[Part]", out: Path
) -> None:
    """Raises ConfigError for wrong words, RunError for a folder with anything but a study."""
    from rlef.config import sources
    from rlef.run import check_free_folder
    from rlef.study import arm_config
    from rlef.study.config import check_order
    from rlef.train.checks import check_training

    if not _is_begun(out):
        check_free_folder(out)
    check_order(todo)
    places = {key: source for key, _, source in sources(type(config), recipe, words)}
    check_training(config, places)
    for part in todo:
        arm_config(recipe, words, part)


def _is_begun(out: Path) -> bool:
    from rlef.study.arms import ARMS

    return any((out / arm).is_dir() for arm in ARMS)


def _usual_jobs(device: str, parts: int) -> int:
    from rlef.engines.load import resolve_device

    if resolve_device(device).type != "cpu":
        return 1
    cores, room = len(os.sched_getaffinity(0)), _available_bytes() / _PART_BYTES
    return max(1, int(min(cores, _MAX_JOBS, parts, room)))


def _available_bytes() -> float:
    """Memory that programs may take; without end where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return 1024.0 * int(text.partition("MemAvailable:")[2].split()[0])
    except (OSError, ValueError, IndexError):
        return math.inf


def _write_page(todo: "list[Part]", out: Path, command: str, recipe: str, count: int) -> None:
    from rlef.run import RunError
    from rlef.study import claim_results, finished, load_results, write_study

    done = finished(out, todo)
    if not done:
        raise RunError(f"{out} {_NO_PART}")
    results = load_results(out, done)
    notes = [f"`{command}`", f"{len(done)} of {count} parts (arms times seeds) are done."]
    page = write_study(results, out, title=f"Study: {recipe}", notes=notes)
    for each in claim_results(results):
        points = [100 * x for x in (each.difference.difference, each.difference.low)]
        high = 100 * each.difference.high
        interval = f"{points[0]:+.1f} ({points[1]:+.1f} to {high:+.1f})"
        show(f"{each.verdict:<9} {interval:<24} {each.claim.text}")
    show(str(page))
