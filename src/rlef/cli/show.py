"""``rlef show``: a run, some of its episodes, or one of them."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlef.cli.common import examples, is_evaluation, print_rich, say, show
from rlef.text import printable

if TYPE_CHECKING:
    from rlef.report.episode_screen import Line
    from rlef.run import RunFolder

EXAMPLES = examples(
    ("its settings, curves and stages", "rlef show runs/one"),
    (
        "episodes that were solved after a turn that failed",
        "rlef show runs/one --stage eval-after --repaired",
    ),
    (
        "one episode as a conversation; a training rollout by its index",
        "rlef show runs/one eval-after/12",
        "rlef show runs/one 4711",
    ),
)


def show_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    episode: Annotated[
        str | None,
        typer.Argument(
            metavar="EPISODE",
            help="STAGE/ROW, such as eval-after/12; the index of a training rollout; or the row "
            "of an episode of rlef eval.",
            show_default=False,
        ),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="List episodes of this stage.", show_default=False),
    ] = None,
    solved: Annotated[bool, typer.Option("--solved", help="Only those that were solved.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that were not.")] = False,
    repaired: Annotated[
        bool, typer.Option("--repaired", help="Only those solved after a turn that failed.")
    ] = False,
    problem: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Only those whose problem's name holds it.", show_default=False
        ),
    ] = None,
) -> None:
    """Show a run; with EPISODE its conversation; with other options a list of episodes."""
    from rlef.run import RunFolder

    if failed and (solved or repaired):
        raise typer.BadParameter("--failed excludes --solved and --repaired; allowed: one of them")
    folder = RunFolder(run)
    if not folder.is_run():
        RunFolder.open(run)  # says what it is
    lists = bool(stage or solved or failed or repaired or problem)
    if episode is not None:
        if lists:
            raise typer.BadParameter("EPISODE is one; allowed: without options that choose some")
        _show_episode(folder, episode)
    elif lists:
        _list_episodes(folder, stage, solved, failed, repaired, problem)
    else:
        _show_run(folder)


def _show_run(run: "RunFolder") -> None:
    from rlef.report.run_screen import run_screen
    from rlef.report.runs import run_facts

    facts = run_facts(run.path)
    changed: list[tuple[str, str, str]] = []
    compared_with = ""
    if facts.note is None and facts.kind == "training":
        changed, compared_with = _changed_settings(run)
    elif facts.note is None:
        changed, compared_with = _given_words(run), "unless given"
    print_rich(run_screen(run, facts, changed, compared_with))
    if facts.note is not None:
        raise typer.Exit(1)


def _changed_settings(run: "RunFolder") -> tuple[list[tuple[str, str, str]], str]:
    """Key, value and what it was in the recipe of the run's name, or by default."""
    from rlef.config import changed_keys, flat_values, load_config, recipe_names, value_text
    from rlef.train.paths import absolute_paths
    from rlef.train.recipe import TrainConfig

    config = load_config(TrainConfig, run.config_path, [])
    is_shipped = config.name in recipe_names()
    before = load_config(TrainConfig, config.name if is_shipped else None, [])
    old, new = flat_values(before), flat_values(config)
    keys = changed_keys(absolute_paths(before), absolute_paths(config))
    rows = [
        (key, *("-" if key not in values else value_text(values[key]) for values in (new, old)))
        for key in keys
    ]
    where = f"recipe {config.name}" if is_shipped else "by default"
    return [(key, here, there) for key, here, there in rows], where


def _given_words(run: "RunFolder") -> list[tuple[str, str, str]]:
    """The words that an evaluation was begun with, but for those that say nothing."""
    from rlef.config import value_text
    from rlef.stored import read_options

    options = read_options(run)
    return [(key, value_text(v), "-") for key, v in options.items() if v not in (None, [], {})]


def _list_episodes(
    run: "RunFolder",
    stage: str | None,
    solved: bool,
    failed: bool,
    repaired: bool,
    problem: str | None,
) -> None:
    from rlef.environment import StopReason
    from rlef.report.episode_screen import (
        default_stage,
        episodes_table,
        is_repaired,
        read_stage,
        stage_names,
    )

    names = stage_names(run)
    chosen = stage or default_stage(names)
    if chosen is None:
        say(f"{run.path} has no episodes yet")
        return
    _check_stage(run, chosen, names)

    def is_wanted(episode: Any) -> bool:
        return (
            (not solved or episode["solved"])
            and (not failed or not (episode["solved"] or episode["stop"] == StopReason.INFRA_ERROR))
            and (not repaired or is_repaired(episode))
            and (problem is None or problem in episode["problem"])
        )

    episodes = read_stage(run, chosen)
    rows = [(row, episode) for row, episode in enumerate(episodes) if is_wanted(episode)]
    if rows:
        print_rich(episodes_table(chosen, rows))
        words = ["rlef", "show", str(run.path), f"{chosen}/{rows[0][0]}"]
        show(f"{len(rows)} of {len(episodes)} episodes; one of them: {shlex.join(words)}")
    else:
        show(f"0 of {len(episodes)} episodes")


def _check_stage(run: "RunFolder", stage: str, names: list[str]) -> None:
    from rlef.run import RunError

    if stage not in names:
        raise RunError(
            f"{run.path} has no stage {stage!r}; allowed: {', '.join(names) or 'none yet'}"
        )


def _show_episode(run: "RunFolder", word: str) -> None:
    from rlef.report.episode_screen import TRAINING, episode_lines, read_stage, stage_names
    from rlef.run import RunError
    from rlef.stored import EPISODES

    stage, slash, place = word.rpartition("/")
    is_index = not slash and not is_evaluation(run)  # an evaluation has one stage only
    stage = TRAINING if is_index else stage or EPISODES
    if not place.isdecimal():
        raise typer.BadParameter(
            f"EPISODE is {word!r}; allowed: STAGE/ROW, such as eval-after/12, the index of a "
            "training rollout, or the row of rlef eval's"
        )
    _check_stage(run, stage, stage_names(run))
    episodes = read_stage(run, stage)
    number = int(place)
    if is_index:
        found = [episode for episode in episodes if episode["index"] == number]
        what = f"no training rollout {number}; allowed: one of {len(episodes)}"
    else:
        found = list(episodes[number : number + 1])
        what = f"no episode {word}; allowed: rows 0 to {len(episodes) - 1}"
    if not found:
        raise RunError(f"{run.path} has {what}, see: rlef show {run.path} --stage {stage}")
    _print_lines(episode_lines(f"{run.path} {word}", found[0], printable))


def _print_lines(lines: "Iterable[Line]") -> None:
    from rich.console import Group
    from rich.text import Text

    print_rich(
        Group(
            *(
                Text(line.text, style=line.style, no_wrap=True, overflow="ignore", end="\n")
                for line in lines
            )
        )
    )
