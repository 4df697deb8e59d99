"""``rlef train``: a new run from a recipe, or an old one from where it stopped."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlef.cli.common import new_run_path, print_rich, quiet_transformers

if TYPE_CHECKING:
    from rlef.run import RunFolder
    from rlef.train.recipe import TrainConfig

EXAMPLES = (
    "Examples: rlef train mini · rlef train mini seed=1 --out runs/one · "
    "rlef train my.yaml --dry-run · rlef train runs/one (goes on with that run)"
)


def train(
    recipe_or_run: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE_OR_RUN", help="A YAML file, a shipped recipe's name, or a run's folder."
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as learner.lr=2e-4."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run; by default runs/RECIPE-TIME.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the settings and their sources, then stop.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs, with seed, seed + 1, ...")] = 1,
) -> None:
    """Train a model. What was stopped goes on with: rlef train RUN."""
    words = overrides or []
    if Path(recipe_or_run).is_dir():
        if out is not None or seeds != 1:
            raise typer.BadParameter("a run that goes on takes neither --out nor --seeds")
        run, config = _reopen(recipe_or_run, words)
        if dry_run:
            _print_settings(str(run.config_path), words)
            return
        _train_one(run, config, f"rlef train {shlex.quote(str(run.path))}")
        return
    _train_new(recipe_or_run, words, out, dry_run, seeds)


def _train_new(recipe: str, words: list[str], out: Path | None, dry_run: bool, seeds: int) -> None:
    from rlef.config import load_config
    from rlef.report import seeds_table
    from rlef.train.recipe import TrainConfig

    config = load_config(TrainConfig, recipe, words)
    if dry_run:
        _print_settings(recipe, words)
        return
    path = out or new_run_path(Path(recipe).stem)
    if seeds == 1:
        run = _open_or_create(path, config)
        _train_one(run, config, f"rlef train {shlex.quote(str(path))}")
        return
    again = ["rlef", "train", recipe, *words, "--out", str(path), "--seeds", str(seeds)]
    runs = []
    for seed in range(config.seed, config.seed + seeds):
        one = config.model_copy(update={"seed": seed})
        run = _open_or_create(path / f"seed-{seed}", one)
        _train_one(run, one, shlex.join(again))
        runs.append(run)
    print_rich(seeds_table([run.read_summary() or {} for run in runs]))


def _train_one(run: "RunFolder", config: "TrainConfig", again: str) -> None:
    """Trains, then shows what it came to; ``again`` is the command that goes on after a stop."""
    from rlef.cli.display import Display
    from rlef.report import summary_table, write_report
    from rlef.train.loop import train as run_training

    quiet_transformers()
    try:
        with run.lock():
            run_training(config, run, Display(config.updates))
            write_report(run)
    except KeyboardInterrupt:
        typer.echo(f"\nstopped; go on with: {again}", err=True)
        raise typer.Exit(130) from None
    summary = run.read_summary()
    if summary is not None:
        print_rich(summary_table(summary, run.path))


def _reopen(path: Path | str, words: list[str]) -> "tuple[RunFolder, TrainConfig]":
    from rlef.config import load_config
    from rlef.run import RunFolder
    from rlef.train.recipe import TrainConfig

    run = RunFolder.open(path)
    wanted = load_config(TrainConfig, run.config_path, words)
    _refuse_changes(run, wanted)
    return run, wanted


def _open_or_create(path: Path, config: "TrainConfig") -> "RunFolder":
    from rlef.config import dump_config
    from rlef.run import RunFolder

    if not RunFolder(path).is_run():
        return RunFolder.create(path, dump_config(config))
    run = RunFolder.open(path)
    if run.is_untouched():
        run.write_config(dump_config(config))
    _refuse_changes(run, config)
    return run


def _refuse_changes(run: "RunFolder", wanted: "TrainConfig") -> None:
    from rlef.config import ConfigError, changed_keys, load_config

    changed = changed_keys(load_config(type(wanted), run.config_path, []), wanted)
    if changed:
        raise ConfigError(
            f"{run.path} was begun with other values of {', '.join(changed)}; "
            "allowed: to go on with its own config, or a new run (--out)"
        )


def _print_settings(recipe: str, words: list[str]) -> None:
    from rlef.config import sources
    from rlef.train.recipe import TrainConfig

    settings = sources(TrainConfig, recipe, words)
    key_width = max(len(setting.key) for setting in settings)
    value_width = max(len(str(setting.value)) for setting in settings)
    for key, value, source in settings:
        typer.echo(f"{key:<{key_width}}  {value!s:<{min(value_width, 40)}}  {source}")
