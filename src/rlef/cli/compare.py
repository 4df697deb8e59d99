"""``rlef compare``: what several runs came to, problem by problem."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlef.cli.common import examples, metric_specs, print_json, print_rich, show

if TYPE_CHECKING:
    from rlef.evaluation.compare import Comparison
    from rlef.evaluation.sides import Side
    from rlef.evaluation.specs import MetricSpec

EXAMPLES = examples(
    ("two runs", "rlef compare runs/a runs/b"),
    ("seeds of two recipes, pooled", "rlef compare runs/a/seed-* runs/b/seed-*"),
    (
        "how many answers of the untrained model solve as much as three of the trained one",
        "rlef compare runs/a/seed-* --untrained runs/hundred",
    ),
    (
        "a training with an evaluation, for a program to read",
        "rlef compare runs/one runs/eval-7b --metrics 1@3 --json",
    ),
)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Folders of trainings and evaluations."),
    ],
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Such as 1@3,pass@1. Default: 1@1 and 1@TURNS.",
            show_default=False,
        ),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Evaluation of trainings, such as eval-after-also. Default: eval-after.",
            show_default=False,
        ),
    ] = None,
    untrained: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Many answers of the untrained model: how many solve as much? Repeatable.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare runs on the problems that they share; those with other seeds only count as one."""
    if untrained:
        compare_with_untrained(runs, untrained, stage, metrics, as_json=as_json)
        return
    if len(runs) < 2:
        raise typer.BadParameter("give two runs or more")
    if metrics:
        metric_specs(metrics)
    check_runs(runs)
    if len(runs) > 2:
        check_once(runs)

    from rlef.evaluation.compare import compare_runs
    from rlef.evaluation.results import shared_metrics
    from rlef.evaluation.sides import read_member, sides_of

    sides = sides_of([read_member(path, stage) for path in runs])
    with comparing():
        specs = shared_metrics([side.compared for side in sides], metrics)
        first, *others = (side.compared for side in sides)
        comparisons = [compare_runs(first, other, specs) for other in others]
    if as_json:
        print_json(_as_json(sides, specs, comparisons))
        return
    _print_sides(sides, specs)
    if len(comparisons) == 1:
        show("")
        print_comparison(comparisons[0])
    else:
        _print_differences(comparisons)
    _print_settings(sides)


def compare_with_untrained(
    runs: Sequence[Path],
    untrained: Sequence[Path],
    stage: str | None,
    metrics: str | None,
    *,
    as_json: bool,
) -> None:
    """Prints how many independent answers of untrained models solve as much as runs do."""
    if metrics:
        raise typer.BadParameter("--metrics has no meaning with --untrained; leave it out")
    check_runs([*runs, *untrained])
    check_once(runs)

    from rlef.evaluation.sides import read_member, sides_of
    from rlef.evaluation.untrained import RatioTable

    sides = sides_of([read_member(path, stage) for path in runs], split=False)
    before = "eval-before-also" if (stage or "").endswith("-also") else "eval-before"
    with comparing():
        table = RatioTable.of(sides, [read_member(path, before) for path in untrained])
    if as_json:
        print_json(table.to_json())
        return
    from rlef.report.fitted import FittedTable

    print_rich(FittedTable(headings=table.headings(), rows=table.rows()))
    for note in table.notes():
        _say_below(note)


@contextmanager
def comparing() -> Iterator[None]:
    """Makes what cannot be compared an error of what was asked for."""
    from rlef.run import RunError

    try:
        yield
    except RunError:
        raise
    except ValueError as error:
        raise RunError(str(error)) from None


def check_runs(paths: Sequence[Path]) -> None:
    """Raises RunError unless all are folders of runs."""
    from rlef.run import RunError, RunFolder

    for path in paths:
        if not RunFolder(path).is_run():
            raise RunError(f"{path} {_what_it_is(path)}; allowed: the folder of a run")


def check_once(paths: Sequence[Path]) -> None:
    """Raises BadParameter for a run that is named twice: it would count as two."""
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise typer.BadParameter(f"{path} is named twice; allowed: each run once")
        seen.add(path.resolve())


def print_comparison(comparison: "Comparison") -> None:
    """Prints two runs beside each other, with all metrics and costs."""
    from rlef.report import comparison_table

    print_rich(comparison_table(comparison.headings(), comparison.rows()))
    for note in comparison.notes():
        _say_below(note)


def _what_it_is(path: Path) -> str:
    if path.is_dir():
        return "has no config.yaml"
    return "is a file" if path.exists() else "does not exist"


def _print_sides(sides: "Sequence[Side]", specs: "Sequence[MetricSpec]") -> None:
    """Prints each side's rates, with the interval over problems and the spread over seeds."""
    from rlef.report.fitted import FittedTable
    from rlef.report.tables import percent

    has_seeds = any(side.seeds > 1 for side in sides)
    headings = ["run", "of", "episodes"]
    for spec in specs:
        headings += [f"{spec.name} %", "± seeds"] if has_seeds else [f"{spec.name} %"]
    rows = []
    for side in sides:
        row = [side.compared.label, side.members[0].stage, f"{len(side.compared.records):,}"]
        for spec in specs:
            one = side.measured(spec)
            half = (one.high_problems - one.low_problems) / 2
            row.append(f"{percent(one.estimate)} ±{percent(half)}")
            spread = side.over_seeds(spec)
            row += ([percent(spread[1]) if spread else "-"]) if has_seeds else []
        rows.append(row)
    print_rich(FittedTable(headings=headings, rows=rows))
    over = "; ± seeds: standard deviation over seeds, in points" if has_seeds else ""
    _say_below(f"±: half a 95 % interval over problems{over}")


def _print_differences(comparisons: "Sequence[Comparison]") -> None:
    """Prints what each of several runs has more or less than the first."""
    from rlef.report.fitted import FittedTable

    first = comparisons[0]
    names = [one.metric for one in first.metrics]
    headings = [f"less {first.a}", "problems"]
    for name in names:
        headings += [name, "95 % interval", "p"]
    rows = []
    for comparison in comparisons:
        row = [comparison.b, str(comparison.problems)]
        for cells in comparison.rows()[: len(names)]:
            row += cells[3:6]
        rows.append(row)
    show("")
    print_rich(FittedTable(headings=headings, rows=rows))
    for note in dict.fromkeys(note for one in comparisons for note in one.notes()[1:]):
        _say_below(note)


def _say_below(text: str) -> None:
    """Prints a sentence, which a terminal would break within words."""
    from rich.text import Text

    print_rich(Text(text))


def _print_settings(sides: "Sequence[Side]") -> None:
    from rlef.config import value_text
    from rlef.evaluation.sides import differing_settings
    from rlef.report.fitted import FittedTable

    found = differing_settings(sides)
    show("")
    if not found:
        show("all settings are the same")
        return
    headings = ["settings that differ", *(side.compared.label for side in sides)]
    rows = [
        [key, *("-" if value is None else value_text(value) for value in values)]
        for key, values in found.items()
    ]
    print_rich(FittedTable(headings=headings, rows=rows))


def _as_json(
    sides: "Sequence[Side]", specs: "Sequence[MetricSpec]", comparisons: "Sequence[Comparison]"
) -> dict[str, object]:
    from rlef.evaluation.sides import differing_settings

    def of_side(side: "Side") -> dict[str, object]:
        spreads = {spec.name: side.over_seeds(spec) for spec in specs}
        return {
            "name": side.compared.label,
            "runs": [str(member.path) for member in side.members],
            "stage": side.members[0].stage,
            "episodes": len(side.compared.records),
            "metrics": {spec.name: side.measured(spec).to_json() for spec in specs},
            "over_seeds": {
                name: {"mean": spread[0], "sd": spread[1], "seeds": side.seeds}
                for name, spread in spreads.items()
                if spread
            },
        }

    return {
        "sides": [of_side(side) for side in sides],
        "comparisons": [comparison.to_json() for comparison in comparisons],
        "settings": differing_settings(sides),
    }
