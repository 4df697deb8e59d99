from typing import Any

import pytest

from rlef.cli import display as module
from rlef.cli.display import Display, EpisodeDisplay
from rlef.evaluation.progress import Tally

METRICS = {
    **{"solve_rate/turn_1": 0.21875, "solve_rate": 1.0, "repair_rate": 0.123, "reward": -1.25},
    **{"kl": -0.00012, "entropy": 10.123, "explained_variance": -596.42},
}


def test_a_training_line_has_80_characters_and_keeps_its_numbers_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    display = Display(20000, lambda: 100_000.0)
    for update in (1, 20000):
        display.update({**METRICS, "update": update})
    heading, first, last = capsys.readouterr().err.splitlines()
    assert {len(line) for line in (heading, first, last)} == {80}
    expected = ["20000/20000", "21.9", "100.0", "12.3", "-1.25", "-0.0001", "10.123", "-596.42"]
    assert last.split() == [*expected, "27:46:40"]
    assert len(heading.split()) == len(last.split()) + 1  # "turn 1"
    display.update({**METRICS, "update": 2, "explained_variance": -123456.7})
    assert capsys.readouterr().err.split()[-2] == "-123456.70"  # wider, but whole and apart


def test_time_left_has_the_evaluations_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    display = Display(3, lambda: 90.0)
    for update in (1, 2, 3):
        display.update({"update": update})
    left = [line.split()[-1] for line in capsys.readouterr().err.splitlines()[1:]]
    assert left == ["-", "1:40", "1:30"]


def test_no_time_is_shown_where_evaluations_are_not_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    display = Display(2, lambda: None)
    for update in (1, 2):
        display.update({"update": update})
    assert capsys.readouterr().err.split()[-1] == "-"


def test_messages_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    text = "problem '[red]x[/red] :smile: [/' " + "word " * 40 + "123456"
    with EpisodeDisplay() as display:
        display.message(text)
    assert capsys.readouterr().err == text + "\n"


def test_the_rate_of_an_evaluation_waits_for_its_first_episodes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(EpisodeDisplay, "_EVERY_S", 0.0)
    tally: Any = Tally("eval", 10)
    with EpisodeDisplay() as display:
        display.show(tally.progress())
        for place in (1, 2, 0):
            tally.add([(place, place != 0)])
            display.show(tally.progress())
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(", ")[0] for line in lines] == [
        "1/10 episodes",
        "2/10 episodes",
        "3/10 episodes, 50.0 % of the first 2 solved",
    ]
