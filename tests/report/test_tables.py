import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from synthetic_run import make_summary

from rlef.report.tables import (
    _count,
    duration,
    percent,
    percent_with_interval,
    seeds_markdown,
    seeds_rows,
    seeds_table,
    summary_markdown,
    summary_rows,
    summary_table,
)


def text_of(renderable: object, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_percent() -> None:
    assert percent(0.6349) == "63.5"
    assert percent(None) == percent(math.nan) == "-"
    assert percent_with_interval({"mean": 0.312, "low": 0.29, "high": 0.33}) == "31.2 ±2.0"
    assert percent_with_interval({"mean": 0.312, "low": None, "high": None}) == "31.2"
    assert percent_with_interval({"mean": None, "low": None, "high": None}) == "-"
    assert percent_with_interval(None) == "-"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (700.4, "11 min 40 s"), (7260, "2 h 1 min")],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (999, "999"), (1000, "1 k"), (999_499, "999 k"), (999_500, "1 M"), (999_500_000, "1 B"),
        (134_515_008, "135 M"), (70_600_000_000, "70.6 B"), (10**12, "1,000 B"),
    ],
)  # fmt: skip
def test_parameters_have_the_unit_of_what_is_shown(number: int, expected: str) -> None:
    assert _count(number) == expected


def test_summary_rows(summary: dict[str, Any]) -> None:
    rows = {row.label: row.cells for row in summary_rows(summary)}
    assert list(rows) == [
        *("1@3", "by turn 1", "by turn 2", "by turn 3", "repair rate"),
        *("hidden detail 1@3", "hidden detail repair rate"),
    ]
    assert rows["1@3"] == ("31.2 ±3.0", "63.5 ±3.0", "40.2 ±3.0")
    assert rows["by turn 1"] == ("24.0 ±3.0", "38.1 ±3.0", "37.9 ±3.0")
    assert rows["repair rate"] == ("9.6 ±2.0", "41.3 ±2.0", "2.0 ±2.0")


def test_independent_answers_have_rows_where_they_are_known(summary: dict[str, Any]) -> None:
    found = {"mean": 0.3, "low": 0.28, "high": 0.32}
    less = {"mean": 0.335, "low": 0.3, "high": 0.37}
    summary["after"]["independent"] = {"solve": found, "difference": less}
    rows = {row.label: row.cells for row in summary_rows(summary)}
    assert rows["3 independent answers"] == ("-", "30.0 ±2.0", "-")
    assert rows["turns less these"] == ("-", "33.5 ±3.5", "-")


def test_what_was_not_evaluated_is_a_dash(summary: dict[str, Any]) -> None:
    del summary["random_feedback"]
    for key in ("before", "after"):
        del summary[key]["hidden"]
    rows = {row.label: row.cells for row in summary_rows(summary)}
    assert rows["1@3"] == ("31.2 ±3.0", "63.5 ±3.0", "-")
    assert "hidden detail 1@3" not in rows


def test_final_screen_fits_80_characters_and_ends_with_the_page(
    summary: dict[str, Any],
) -> None:
    text = text_of(summary_table(summary, Path("runs/mini")))
    assert text.startswith("mini · 5.12 M parameters · 120 updates · 11 min 40 s · seed 0\n")
    assert "…" not in text
    assert "gain in 1@3: +32.3 points, 95 % interval +28.3 to +36.3" in text
    assert "500 test problems, 1 episode each" in text
    assert "12 rollouts masked (judge infrastructure)" in text
    assert text.rstrip().endswith("runs/mini        report: runs/mini/report.html")


def with_second_setting(summary: dict[str, Any]) -> dict[str, Any]:
    other = make_summary(summary["seed"], 0.5)
    also = {key: other[key] for key in ("before", "after", "random_feedback", "gain")}
    main = {"temperature": 0.2, "top_p": 0.95}
    return {**summary, **main, "also": {"temperature": 1.0, "top_p": 1.0, **also}}


def test_two_settings_stand_side_by_side_and_below_each_other_on_the_screen(
    summary: dict[str, Any],
) -> None:
    both = with_second_setting(summary)
    lines = summary_markdown(both).splitlines()
    assert (
        "|  | before, T 0.2 | after, T 0.2 | after, random feedback, T 0.2 "
        "| before, T 1 | after, T 1 | after, random feedback, T 1 |"
    ) in lines
    solve = "| 1@3 | 31.2 ±3.0 | 63.5 ±3.0 | 40.2 ±3.0 | 31.2 ±3.0 | 50.0 ±3.0 | 40.2 ±3.0 |"
    assert solve in lines
    gains = (
        "gain in 1@3 at temperature 0.2, top-p 0.95: +32.3 points",
        "gain in 1@3 at temperature 1: +18.8 points",
    )
    assert all(gain in lines[-1] for gain in gains)
    text = text_of(summary_table(both))
    assert "…" not in text and all(gain in text for gain in gains)
    first, second = text.partition("\ntemperature 1\n")[::2]
    assert "temperature 0.2, top-p 0.95\n" in first and "63.5 ±3.0" in first
    assert "50.0 ±3.0" in second and "63.5" not in second


def test_seeds_at_two_settings_have_a_mean_at_each() -> None:
    summaries = [with_second_setting(make_summary(seed, 0.6)) for seed in (0, 1)]
    rows = {row.label: row.cells[1] for row in seeds_rows(summaries)}
    assert rows == {
        **{"0, T 0.2": "60.0 ±3.0", "1, T 0.2": "60.0 ±3.0", "mean, T 0.2": "60.0 ±0.0"},
        **{"0, T 1": "50.0 ±3.0", "1, T 1": "50.0 ±3.0", "mean, T 1": "50.0 ±0.0"},
    }


def test_settings_of_one_temperature_are_told_apart_by_top_p() -> None:
    summary = {**with_second_setting(make_summary(0, 0.6)), "temperature": 1.0}
    labels = [row.label for row in seeds_rows([summary])]
    assert labels == ["0, T 1, p 0.95", "mean, T 1, p 0.95", "0, T 1, p 1", "mean, T 1, p 1"]
    assert "| after, T 1, p 0.95 |" in summary_markdown(summary)


def test_markdown_has_a_row_per_line(summary: dict[str, Any]) -> None:
    lines = summary_markdown(summary).splitlines()
    assert "|  | before | after | after, random feedback |" in lines
    assert "| 1@3 | 31.2 ±3.0 | 63.5 ±3.0 | 40.2 ±3.0 |" in lines


def test_seeds_have_mean_and_sample_deviation() -> None:
    rows = seeds_rows([make_summary(0, 0.60), make_summary(1, 0.64), make_summary(2, 0.68)])
    assert [row.label for row in rows] == ["0", "1", "2", "mean"]
    assert rows[0].cells[:2] == ("31.2 ±3.0", "60.0 ±3.0")
    # Deviations -4, 0, 4: sqrt(32 / 2) = 4.
    assert rows[-1].cells == ("31.2 ±0.0", "64.0 ±4.0", "40.2 ±0.0", "41.3 ±0.0", "32.8 ±4.0")
    assert seeds_rows([make_summary(0, 0.6)])[-1].cells[1] == "60.0"


def test_seeds_tables_show_the_same_cells() -> None:
    summaries = [make_summary(0, 0.60), make_summary(1, 0.64)]
    text = text_of(seeds_table(summaries))
    assert "…" not in text
    assert "62.0 ±2.8" in text
    assert "| mean | 31.2 ±0.0 | 62.0 ±2.8 |" in seeds_markdown(summaries)
    with pytest.raises(ValueError, match="no summaries"):
        seeds_table([])
