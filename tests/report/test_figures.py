import struct
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from rlef.report.figures import _draw, learning_figure, running_mean
from rlef.run import RunFolder


def size_of(png: Path) -> tuple[int, int]:
    data = png.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_figure_of_a_finished_run(run: RunFolder, summary: dict[str, Any], tmp_path: Path) -> None:
    run.write_summary(summary)
    before = dict(matplotlib.rcParams)
    learning_figure(run, tmp_path / "figure.png")
    assert size_of(tmp_path / "figure.png") == (2000, 864)
    assert dict(matplotlib.rcParams) == before


def test_bars_are_the_rates_of_the_summary(summary: dict[str, Any]) -> None:
    bars = _draw(summary, []).axes[0].patches
    heights = [bar.get_height() for bar in bars]  # type: ignore[attr-defined]
    expected = [24.0, 29.0, 31.2, 37.9, 39.5, 40.2, 38.1, 56.0, 63.5]
    assert heights == pytest.approx(expected)


def test_curves_hold_every_update_but_undefined_ones(run: RunFolder) -> None:
    _, solve, kl, _, variance = _draw(None, run.read_metrics()).axes
    labels = [text.get_text() for text in solve.get_legend().get_texts()]
    assert labels == ["by turn 1", "by turn 3", "repair rate"]
    assert list(kl.lines[0].get_xdata()) == list(range(1, 121))
    assert 3 not in list(variance.lines[0].get_xdata())
    assert len(variance.lines[0].get_xdata()) == 119


def test_figure_of_a_run_that_has_just_begun(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "new", config="seed: 0\n")
    learning_figure(run, tmp_path / "empty.png")
    run.append_metrics({"update": 1, "solve_rate/turn_1": 0.5, "kl": None})
    learning_figure(run, tmp_path / "one.png")
    assert size_of(tmp_path / "one.png") == (2000, 864)


def test_running_mean_by_hand() -> None:
    assert running_mean([1.0, 2.0, 6.0], 1) == [1.5, 3.0, 4.0]
    assert running_mean([1.0, 2.0], 5) == [1.5, 1.5]
    assert running_mean([], 3) == []
