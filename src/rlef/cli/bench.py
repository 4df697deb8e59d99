"""``rlef bench``: how fast and how exact rlef is on this machine."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from rlef.cli.common import examples, print_json, print_rich, recipe_and_words, recipes, say, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rlef.bench.rows import Row

app = typer.Typer(help="Measure rlef on this machine.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command(
    "sandbox",
    epilog=examples(("some measures, quickly", "rlef bench sandbox --quick --only trivial,growth")),
)
def sandbox(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and smaller batches.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Jails; one per core by default.", show_default=False
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Only these (default: all) of trivial, cpu-limit, eight, growth, load, overhead.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure the judge; exit status 0 only if every target that could be measured is met."""
    from rlef.bench.names import SANDBOX
    from rlef.bench.sandbox import facts, measure
    from rlef.bench.speed import Setting

    names = _chosen(only, SANDBOX)
    setting = Setting(workers=workers or len(os.sched_getaffinity(0)), quick=quick)
    machine = facts()
    rows = _take(names, measure(names, setting))
    _end(rows, machine, as_json, more={"workers": setting.workers, "quick": quick})


@app.command(
    "serve",
    epilog=examples(("judgements a second only", "rlef bench serve --quick --only rate")),
)
def serve(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and smaller batches.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Jails; one per core by default.", show_default=False
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="Only these (default: all) of rate, same.", show_default=False
        ),
    ] = None,
) -> None:
    """Measure the judge over HTTP; exit status 0 only if every target is met."""
    from rlef import extras
    from rlef.bench.names import SERVE

    names = _chosen(only, SERVE)
    extras.require("serve", "rlef bench serve")
    from rlef.bench.sandbox import facts
    from rlef.bench.serve import measure
    from rlef.bench.speed import Setting

    setting = Setting(workers=workers or len(os.sched_getaffinity(0)), quick=quick)
    machine = facts()
    rows = _take(names, measure(names, setting))
    _end(rows, machine, as_json, more={"workers": setting.workers, "quick": quick})


@app.command(
    "train",
    epilog=examples(("where the time of a step goes", "rlef bench train mini --only phases")),
)
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A YAML file or a shipped recipe's name.",
            autocompletion=recipes,
        ),
    ] = "mini",
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings on it.")
    ] = None,
    batches: Annotated[
        int, typer.Option(min=1, metavar="N", help="Batches of rollouts to measure.")
    ] = 5,
    steps: Annotated[
        int, typer.Option(min=5, metavar="N", help="Optimizer steps for memory.")
    ] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Only these (default: all) of phases, compile, memory, vocabulary.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure a training step; exit status 0 only if every target that was measured is met."""
    from rlef import extras
    from rlef.bench.names import TRAIN
    from rlef.cli.common import quiet_transformers
    from rlef.config import ConfigError, load_config, sources
    from rlef.train.checks import check_training
    from rlef.train.recipe import TrainConfig

    names = _chosen(only, TRAIN)
    recipe, words = recipe_and_words(recipe, overrides, default="mini")
    places = {key: source for key, _, source in sources(TrainConfig, recipe, words)}
    config = load_config(TrainConfig, recipe, words)
    if config.cluster.address is not None:
        raise ConfigError(
            f"{places['cluster.address']}: cluster.address is {config.cluster.address}; allowed: "
            "null, a step is measured in this process"
        )
    check_training(config, places)
    extras.require("train", "rlef bench train")
    from rlef.bench.train import Setting, facts, measure

    setting = Setting(recipe=recipe, words=tuple(words), batches=batches, steps=steps)
    quiet_transformers()
    rows = _take(names, measure(names, setting))
    _end(rows, facts(), as_json, more={"recipe": recipe})


@app.command(
    "scale", epilog=examples(("two sizes, through Ray", "rlef bench scale --actors 8,64 --ray"))
)
def scale(
    actors: Annotated[
        str, typer.Option(metavar="N,...", help="Numbers of simulated rollout actors.")
    ] = "1,2,4,8,64,256",
    batches: Annotated[
        int, typer.Option(min=1, metavar="N", help="Batches to measure with each.")
    ] = 4,
    on_ray: Annotated[
        bool, typer.Option("--ray", help="Through Ray's actors, several in a process.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, metavar="N", help="With --ray: processes of the actors.")
    ] = 4,
    judge: Annotated[
        bool, typer.Option("--judge", help="Run the programs in the sandbox too.")
    ] = False,
    episode_s: Annotated[
        float,
        typer.Option(
            min=0.1, max=3600, metavar="SECONDS", help="Of sampling of an episode, on average."
        ),
    ] = 4.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how sampling, judging and the loop grow; the engines are simulated.

    Exit status 0 only if every target is met. Takes about 20 minutes with the defaults.
    """
    from dataclasses import asdict

    from rlef import extras

    counts = tuple(_positive(word) for word in actors.split(","))
    extras.require("train", "rlef bench scale")
    if on_ray:
        extras.require("ray", "--ray")
    from rlef.bench.scale import Setting, facts, measure, rows
    from rlef.cli.common import quiet_transformers

    quiet_transformers()
    setting = Setting(
        actors=counts, episode_s=episode_s, batches=batches, on_ray=on_ray, processes=processes,
        judge=judge,
    )  # fmt: skip
    found = []
    for one in measure(setting):
        found.append(one)
        how = "side by side" if one.beside else "in turns"
        say(f"{one.actors} actors, {how}: {one.rollouts_s:.3g} rollouts/s")
    measured = [asdict(one) for one in found]
    _end(rows(found), facts(setting), as_json, more={"measured": measured})


def _positive(word: str) -> int:
    if not word.strip().isdigit() or not 0 < int(word) <= 4096:
        raise typer.BadParameter(
            f"--actors has {word!r}; allowed: numbers from 1 to 4096, such as 1,8,64"
        )
    return int(word)


def _take(names: "Sequence[str]", measures: "Iterable[tuple[str, list[Row]]]") -> "list[Row]":
    """Takes all measures and says so."""
    say(f"measuring {', '.join(names)}")
    rows: list[Row] = []
    for name, measured in measures:
        say(f"{name}: done")
        rows += measured
    return rows


def _end(
    rows: "Sequence[Row]",
    machine: "Mapping[str, object]",
    as_json: bool,
    *,
    more: "Mapping[str, object]",
) -> None:
    """Prints measures, as JSON with more beside, and exits: 1 where a target is not met."""
    from dataclasses import asdict

    if as_json:
        print_json({"machine": machine, **more, "rows": [asdict(row) for row in rows]})
    else:
        print_table(rows, machine)
    raise typer.Exit(1 if any(row.met is False for row in rows) else 0)


def _chosen(only: str | None, allowed: "Sequence[str]") -> list[str]:
    """The names in the order in which they are measured."""
    wanted = set(allowed) if only is None else {name.strip() for name in only.split(",")}
    for name in sorted(wanted.difference(allowed)):
        raise typer.BadParameter(f"unknown measure {name!r}; allowed: {', '.join(allowed)}")
    return [name for name in allowed if name in wanted]


def print_table(rows: "Sequence[Row]", machine: "Mapping[str, object]") -> None:
    """Prints measures, the machine that they are of, and how many targets are met."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("measure", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    for heading in ("unit", "target", "met"):
        table.add_column(heading, no_wrap=True)
    table.add_column("note", overflow="fold")
    shown = {True: Text("yes", style="green"), False: Text("no", style="red"), None: Text("-")}
    for row in rows:
        words = (row.name, _number(row.value), row.unit, row.target or "-")
        table.add_row(*map(Text, words), shown[row.met], Text(row.note))
    print_rich(table)
    facts = [f"{name.replace('_', ' ')} {value}" for name, value in machine.items()]
    show(" · ".join(facts))
    judged = [row for row in rows if row.met is not None]
    show(f"{sum(bool(row.met) for row in judged)} of {len(judged)} targets met")


def _number(value: float) -> str:
    """The value in a few digits; "-" if it is not known."""
    if value != value:
        return "-"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.3f}"
