"""``rlef train``: a new run from a recipe, or an old one from where it stopped."""

import os
import shlex
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlef import extras
from rlef.cli.common import (
    INTERRUPTED,
    NEW_RUN,
    dropped_if_unused,
    examples,
    is_evaluation,
    new_run,
    print_rich,
    quiet_transformers,
    recipes,
    say,
    show,
)
from rlef.cli.display import Display, Loudness, Quiet, Verbose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlef.run import RunFolder
    from rlef.train.recipe import TrainConfig

EXAMPLES = examples(
    (
        "the model of two million parameters that comes with rlef: ten minutes on two cores",
        "rlef train mini-fast",
    ),
    ("another seed, in a folder of its own", "rlef train mini seed=1 --out runs/one"),
    ("what a recipe would do, and where each setting comes from", "rlef train my.yaml --dry-run"),
    ("every setting with the word kl in its name or meaning", "rlef train --help-settings kl"),
    (
        "go on with a run that was stopped; then to more updates",
        "rlef train runs/one",
        "rlef train runs/one updates=400",
    ),
)


def train(
    recipe_or_run: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE_OR_RUN",
            help="A YAML file, a shipped recipe's name (rlef recipe ls), or a run's folder.",
            autocompletion=recipes,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings, such as learner.lr=2e-4."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the run; by default runs/RECIPE-TIME.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the settings and their sources, then stop.")
    ] = False,
    seeds: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of runs, with seed, seed + 1, ...")
    ] = 1,
    quiet: Quiet = False,
    verbose: Verbose = False,
    help_settings: Annotated[
        bool,
        typer.Option(
            "--help-settings",
            help="Print every setting and its meaning, or those with the word that follows.",
        ),
    ] = False,
) -> None:
    """Train a model. What was stopped goes on with: rlef train RUN."""
    words = overrides or []
    if help_settings:
        _print_help(recipe_or_run or "", words)
        return
    if recipe_or_run is None:
        raise typer.BadParameter("Missing argument 'RECIPE_OR_RUN'")
    loudness = Loudness.of(quiet=quiet, verbose=verbose)
    if "=" in recipe_or_run and not Path(recipe_or_run).exists():
        raise typer.BadParameter(
            f"{recipe_or_run!r} is a setting; allowed: a recipe before it, such as: "
            f"rlef train mini {shlex.quote(recipe_or_run)}"
        )
    if dry_run:
        loudness = Loudness.QUIET
    with Display(loudness) as display:
        _train(recipe_or_run, words, out, dry_run, seeds, display)


def _train(
    recipe_or_run: str,
    words: list[str],
    out: Path | None,
    dry_run: bool,
    seeds: int,
    display: Display,
) -> None:
    if _is_run(recipe_or_run):
        if out is not None or seeds != 1:
            raise typer.BadParameter("a run that goes on takes neither --out nor --seeds")
        run, old, config = _reopen(recipe_or_run, words)
        _check(config, run.config_path, words, ask_hub=not dry_run)
        if dry_run:
            _print_settings(run.config_path, words)
            return
        extras.require("train", "training")
        if config.updates > old.updates:
            _lengthen(run, old, config)
        _train_one(run, config, f"rlef train {shlex.quote(str(run.path))}", display)
        return
    _train_new(recipe_or_run, words, out, dry_run, seeds, display)


def _print_help(word: str, more: list[str]) -> None:
    """Prints the settings that have the word in their name or meaning."""
    if more:
        raise typer.BadParameter(f"--help-settings {word} {' '.join(more)}; allowed: one word")
    from rlef.train.recipe import TrainConfig
    from rlef.train.settings import matching_rows, setting_rows, settings_text

    show(settings_text(matching_rows(setting_rows(TrainConfig), word)))


def _is_run(word: str) -> bool:
    """Whether the word is a folder to go on with: a recipe's name goes before one without a run."""
    from rlef.config import recipe_names
    from rlef.run import RunFolder

    run = RunFolder(word)
    if not run.path.is_dir() or (word in recipe_names() and not run.is_run()):
        return False
    _refuse_evaluation(run)
    return True


def _refuse_evaluation(run: "RunFolder") -> None:
    from rlef.run import RunError

    if is_evaluation(run):
        raise RunError(
            f"{run.path} is an evaluation; allowed: to go on with it by rlef eval with its words "
            f"and --out {shlex.quote(str(run.path))}, or another folder"
        )


def _check(
    config: "TrainConfig", recipe: Path | str, words: list[str], *, ask_hub: bool = True
) -> None:
    from rlef.config import sources
    from rlef.train.checks import check_training

    places = {key: source for key, _, source in sources(type(config), recipe, words)}
    check_training(config, places, ask_hub=ask_hub)


def _train_new(
    recipe: str,
    words: list[str],
    out: Path | None,
    dry_run: bool,
    seeds: int,
    display: Display,
) -> None:
    from rlef.config import load_config
    from rlef.report import seeds_table
    from rlef.run import check_free_folder
    from rlef.stored import read_summary
    from rlef.train.paths import absolute_paths
    from rlef.train.recipe import TrainConfig

    config = load_config(TrainConfig, recipe, words)
    _check(config, recipe, words, ask_hub=not dry_run)
    config = absolute_paths(config)  # a run goes on from any folder
    if out is None:
        check_free_folder(NEW_RUN)
    elif seeds == 1:
        _check_folder(out, config)
    else:
        for where, one in _by_seed(config, seeds).items():
            _check_folder(out / where, one)
    if dry_run:
        _print_settings(recipe, words)
        return
    extras.require("train", "training")
    name = Path(recipe).stem
    if seeds == 1:
        with _open_or_create(out, config, name) as run:
            _train_one(run, config, f"rlef train {shlex.quote(str(run.path))}", display)
        return
    runs = []
    for where, one in _by_seed(config, seeds).items():
        with _open_or_create(out and out / where, one, name, where) as run:
            out = run.path.parent
            again = ["rlef", "train", recipe, *words, "--out", str(out), "--seeds", str(seeds)]
            _train_one(run, one, shlex.join(again), display)
        runs.append(run)
    display.close()
    print_rich(seeds_table([read_summary(run) or {} for run in runs]))


def _by_seed(config: "TrainConfig", seeds: int) -> "dict[str, TrainConfig]":
    """The trainings of several seeds, by the folder of each."""
    return {
        f"seed-{seed}": config.model_copy(update={"seed": seed})
        for seed in range(config.seed, config.seed + seeds)
    }


def _train_one(run: "RunFolder", config: "TrainConfig", again: str, display: Display) -> None:
    """Trains, then shows what it came to; ``again`` is the command that goes on after a stop."""
    from rlef.run import RunWriteError
    from rlef.stored import read_summary

    failed = None
    display.open()
    try:  # importing takes seconds
        from rlef.cli.report import NoDatabaseError, written_page
        from rlef.report import last_line, summary_table

        finished = read_summary(run) is not None
        is_readable_only = finished and not os.access(run.path, os.W_OK)
        with nullcontext() if is_readable_only else run.lock():
            if not finished:
                _run_training(run, config, again, display)
            _, failed = written_page(run.path)
        display.close()
    except RunWriteError as error:
        raise RuntimeError(f"{error}; make room, then: {again}") from None
    except KeyboardInterrupt:
        display.close()
        say(f"\nstopped; go on with: {again}")
        raise typer.Exit(INTERRUPTED) from None
    summary = read_summary(run)
    if summary is not None and display.is_quiet:
        show(last_line(summary, run.path))
    elif summary is not None:
        print_rich(summary_table(summary, run.path if failed is None else None))
    if isinstance(failed, NoDatabaseError):
        say(str(failed))  # the training is none the worse for it
    elif failed is not None:
        raise failed


def _run_training(run: "RunFolder", config: "TrainConfig", again: str, display: Display) -> None:
    from rlef.run import RunBusyError, RunDamagedError, RunWriteError
    from rlef.train.loop import train as run_training

    quiet_transformers()
    display.begin(
        f"{run.path.name}: {config.updates} updates",
        updates=config.updates,
        evaluations_s=cache(lambda: _evaluations_s(config, run)),
        log=run.log_path,
    )
    try:
        run_training(config, run, display)
    except (RunBusyError, RunDamagedError, RunWriteError):
        raise
    except RuntimeError as error:  # of the engine, the judge, torch: what is on disk is whole
        after = "" if run.is_untouched() else f"; what was done is kept, go on with: {again}"
        raise RuntimeError(f"{error}{after}") from error


def _evaluations_s(config: "TrainConfig", run: "RunFolder") -> float | None:
    """Seconds that the evaluations after training will take, judged by the one before it."""
    from rlef.evaluation.episodes import total_wall_s
    from rlef.run import RunDamagedError

    names = [name for name in run.rollout_names() if name.startswith("eval-before")]
    try:
        before = sum(total_wall_s(run, name) for name in names)
    except RunDamagedError:  # told by whoever needs it
        return None
    return before * (2 if config.has_control else 1) if before else None


def _lengthen(run: "RunFolder", old: "TrainConfig", config: "TrainConfig") -> None:
    from rlef.config import dump_config
    from rlef.train.longer import lengthen

    with run.lock():
        lengthen(run, old.updates, dump_config(config))
    say(f"{run.path}: {config.updates} updates now, not {old.updates}")


def _reopen(path: Path | str, words: list[str]) -> "tuple[RunFolder, TrainConfig, TrainConfig]":
    """Returns a run, its config, and the one that it is to go on with: more updates at most."""
    from rlef.config import load_config
    from rlef.run import RunFolder
    from rlef.train.recipe import TrainConfig

    run = RunFolder.open(path)
    old = load_config(TrainConfig, run.config_path, [])
    wanted = load_config(TrainConfig, run.config_path, words)
    if wanted.updates > old.updates:
        _refuse_changes(run, wanted.model_copy(update={"updates": old.updates}))
        _refuse_unfinished(run, old)
    else:
        _refuse_changes(run, wanted)
    if run.read_summary() is None or wanted.updates > old.updates:
        _refuse_other_files(run, wanted)
    return run, old, wanted


def _refuse_unfinished(run: "RunFolder", config: "TrainConfig") -> None:
    """Raises RunError where stored rollouts would not be those of the longer run's policy."""
    from rlef.run import RunError

    last = run.latest_checkpoint()
    is_trained = last is not None and last.update >= config.updates
    has_begun = run.has_training_rollouts()
    if has_begun and not is_trained and config.learner.final_lr_share < 1:
        raise RunError(
            f"{run.path} is not at the end of its {config.updates} updates, towards which its step "
            "size falls (learner.final_lr_share), so what was learnt so far would be other in a "
            f"longer run; allowed: to finish it first (rlef train {shlex.quote(str(run.path))})"
        )


def _check_folder(path: Path, config: "TrainConfig") -> None:
    """Raises RunError or ConfigError unless this training can begin or go on there."""
    from rlef.run import RunFolder, check_free_folder

    run = RunFolder(path)
    if not run.is_run():
        check_free_folder(path)
        return
    _refuse_evaluation(run)
    if not _may_rewrite(run, type(config)):
        _refuse_changes(run, config)
    if run.read_summary() is None:
        _refuse_other_files(run, config)


def _refuse_other_files(run: "RunFolder", config: "TrainConfig") -> None:
    from rlef.train.inputs import check_inputs

    check_inputs(run, config)


def _may_rewrite(run: "RunFolder", kind: "type[TrainConfig]") -> bool:
    """Whether the run has not begun, and its config is as rlef wrote it, without a user's hand."""
    from rlef.config import dump_config, load_config

    if not run.is_untouched():
        return False
    return run.read_config() == dump_config(load_config(kind, run.config_path, []))


@contextmanager
def _open_or_create(
    path: Path | None, config: "TrainConfig", name: str, within: str = ""
) -> "Iterator[RunFolder]":
    """The run; one that is new goes away again if it cannot begin.

    Args:
        path: ``None``: a new one, as ``new_run`` makes it of ``name`` and ``within``.
        config: Its config.
        name: Of the recipe.
        within: A folder.
    """
    from rlef.config import dump_config
    from rlef.run import RunFolder

    text = dump_config(config)
    if path is None:
        run, is_new = new_run(name, text, within), True
    else:
        _check_folder(path, config)
        is_new = not RunFolder(path).is_run()
        run = RunFolder.create(path, text) if is_new else RunFolder.open(path)
    is_locked = is_new or run.is_untouched()  # before others write its config, or load its model
    with dropped_if_unused(run, is_new=is_new), run.lock() if is_locked else nullcontext():
        if is_locked and not is_new:
            _check_folder(run.path, config)
            if _may_rewrite(run, type(config)):
                run.write_config(text)
        yield run


def _refuse_changes(run: "RunFolder", wanted: "TrainConfig") -> None:
    from rlef.config import ConfigError, changed_keys, load_config
    from rlef.train.paths import OF_PLACE, absolute_paths

    old = load_config(type(wanted), run.config_path, [])
    differing = changed_keys(absolute_paths(old), absolute_paths(wanted))
    changed = [key for key in differing if not key.startswith(OF_PLACE)]
    if changed:
        raise ConfigError(
            f"{run.path} was begun with other values of {', '.join(changed)}; "
            f"allowed: to go on with its own config, more updates (rlef train {run.path} "
            "updates=N), or a new run (--out)"
        )


def _print_settings(recipe: Path | str, words: list[str]) -> None:
    from rlef.config import sources, value_text
    from rlef.train.recipe import TrainConfig

    settings = [
        (key, value_text(value), source)
        for key, value, source in sources(TrainConfig, recipe, words)
    ]
    key_width = max(len(key) for key, _, _ in settings)
    value_width = min(max(len(value) for _, value, _ in settings), 40)
    for key, value, source in settings:
        show(f"{key:<{key_width}}  {value:<{value_width}}  {source}")
