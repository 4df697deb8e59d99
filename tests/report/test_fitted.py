"""Tables at any width: every number stands in the text, whole."""

import re
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pytest
from rich.console import Console
from synthetic_run import make_summary

from rlef.report import comparison_table, metrics_table, seeds_table, summary_table
from rlef.report.fitted import UNLIMITED, FittedTable, output_width, short_names
from rlef.text import PLAIN

HEADINGS = ["", "eval-20261127-220115", "eval-20261127-221507"]
HEADINGS += ["difference", "95 % interval", "p", "better / worse"]
ROWS = [
    ["1@1", "12.5", "100.0", "+87.5", "-16.7 to +100.0", "0.0001", "12 / 1"],
    ["within 100 turns", "-", "-", "-", "-", "-", "-"],
]
WIDTHS = [20, 40, 79, 80, 120, 400]


def shown(renderable: Any, width: int) -> str:
    file = StringIO()
    Console(file=file, width=width, color_system=None, markup=False).print(renderable, crop=False)
    return file.getvalue()


def test_what_a_terminal_cannot_show_is_ascii_and_stands_in_its_column() -> None:
    file = TextIOWrapper(BytesIO(), encoding="ascii", errors=PLAIN)
    table = FittedTable(headings=["run", "1@3", "n"], rows=[["é · a", "5.0 ±1.0", "1"]])
    Console(file=file, width=40, color_system=None, markup=False).print(table, crop=False)
    file.flush()
    lines = file.buffer.getvalue().decode("ascii").splitlines()  # type: ignore[attr-defined]
    assert lines == ["run             1@3  n", "\\xe9 - a  5.0 +-1.0  1"]
    file.write("a → \udcff…")
    file.flush()
    assert file.buffer.getvalue().endswith(b"a -> \\udcff...")  # type: ignore[attr-defined]


def numbers(text: str) -> set[str]:
    return set(re.findall(r"[-+±]?\d+(?:\.\d+)?", text))


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_of_a_comparison_is_cut(width: int) -> None:
    text = shown(comparison_table(HEADINGS, ROWS), width)
    for cell in (cell for row in ROWS for cell in row):
        for word in cell.split():
            assert re.search(rf"(?<!\S){re.escape(word)}(?!\S)", text), (word, text)
    for last in ("220115", "221507"):
        assert last in text
    assert max(map(len, text.splitlines())) <= width
    assert text.count("difference") in (1, 2)


@pytest.mark.parametrize("width", WIDTHS)
def test_all_tables_hold_the_same_numbers_at_every_width(width: int) -> None:
    one = {"estimate": 0.5, "low": 0.25, "high": 0.75, "low_problems": 0.125, "high_problems": None}
    summaries = [make_summary(0, 0.60), make_summary(1, 0.64)]
    for table in (summary_table(summaries[0]), seeds_table(summaries)):
        assert numbers(shown(table, width)) == numbers(shown(table, 1000))
        assert "…" not in shown(table, width)
    assert numbers(
        shown(metrics_table({"metrics": {"10@100": {**one, "high_problems": 0.2}}}), width)
    )


def test_a_narrow_table_is_a_list_by_hand() -> None:
    headings = ["", "before", "after, random feedback"]
    table = FittedTable(headings=headings, rows=[["1@3", "31.2", "-"]])
    assert table.lines(80) == [
        "                      after,",
        "     before  random feedback",
        "1@3    31.2                -",
    ]
    assert table.lines(28) == table.lines(80)
    assert table.lines(27) == ["1@3", "  before", "    31.2", "  after, random feedback", "    -"]
    numbers = FittedTable(headings=["run", "before", "p"], rows=[["a name", "31.2", "0.0001"]])
    assert numbers.lines(16) == ["a name", "  before  31.2", "  p       0.0001"]


def test_long_names_become_letters_before_a_table_becomes_a_list() -> None:
    lines = comparison_table(HEADINGS, ROWS).lines(80)
    assert lines[:2] == ["A: eval-20261127-220115", "B: eval-20261127-221507"]
    assert lines[2].split() == ["better", "/"]
    assert lines[3].split()[:3] == ["A", "B", "difference"]
    assert len(lines) == 6
    assert comparison_table(HEADINGS, ROWS).lines(40)[1].split() == ["eval-2026…220115", "12.5"]


def test_wide_characters_take_two_columns() -> None:
    table = FittedTable(headings=["", "%"], rows=[["問題", "1.0"], ["ab", "2.0"]])
    assert table.lines(80) == ["        %", "問題  1.0", "ab    2.0"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (
            ["eval-20261127-220115", "eval-20261127-221507"],
            ["eval-2026…220115", "eval-2026…221507"],
        ),
        (
            ["a/very/long/path/one/eval", "a/very/long/path/two/eval"],
            ["a/very/…one/eval", "a/very/…two/eval"],
        ),
        (
            ["first-very-long-name-2026", "second-very-long-name-2026"],
            ["first…-name-2026", "second…name-2026"],
        ),
        (
            ["nothing-is-alike-here", "so-all-of-it-is-kept-xyz"],
            ["nothing-is-alike-here", "so-all-of-it-is-kept-xyz"],
        ),
    ],
)
def test_names_keep_what_differs(names: list[str], expected: list[str]) -> None:
    assert short_names(names) == expected


def test_equal_names_are_shortened_alike() -> None:
    first, second = short_names(["x" * 30, "x" * 30])
    assert first == second and len(first) == 16


@pytest.mark.parametrize("width", [30, 200])
def test_markup_is_text(width: int) -> None:
    summary = {**make_summary(), "recipe": "my [red]run[/red] :smile:"}
    assert "my [red]run[/red] :smile:" in shown(summary_table(summary), 200)
    table = comparison_table(["", "[red]a", "b[/]", *HEADINGS[3:]], ROWS)
    assert "[red]a" in shown(table, width) and "b[/]" in shown(table, width)


def test_a_pipe_has_no_width_unless_columns_says_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output_width() == UNLIMITED
    monkeypatch.setenv("COLUMNS", "40")
    assert output_width() == 40
    monkeypatch.setenv("COLUMNS", "wide")
    assert output_width() == UNLIMITED
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("sys.stdout", None)  # closed
    assert output_width() == UNLIMITED
