"""What is shown on the way: lines, a panel, a log; and that no terminal can end the work."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from rlef.cli import display as module
from rlef.cli.display import Display, Loudness
from rlef.cli.progress_text import Shown, beat, panel_lines
from rlef.cli.update_lines import UpdateLines
from rlef.evaluation.progress import Progress, Tally
from rlef.report.sparkline import ASCII, BLOCKS, sparkline

METRICS = {
    **{"solve_rate/turn_1": 0.21875, "solve_rate": 1.0, "repair_rate": 0.123, "reward": -1.25},
    **{"kl": -0.00012, "entropy": 10.123, "explained_variance": -596.42},
}
WHOLE = {
    **METRICS,
    **{f"solve_rate/turn_{turn}": 0.2 * turn for turn in (1, 2, 3)},
    **{"verdict/AC": 0.6, "verdict/WA": 0.3, "verdict/none": 0.1, "verdict/RE": 0.0},
    **{"tokens_per_s": 12345.6, "tests_per_s": 87.2, "staleness": 0.75, "engine_gap": 0.0012},
}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_training_line_has_80_characters_and_keeps_its_numbers_apart(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Display(now=clock) as display:
        display.begin("one", updates=20000, evaluations_s=lambda: 100_000.0)
        for update in (1, 20000):
            display.update({**METRICS, "update": update})
    heading, first, last = capsys.readouterr().err.splitlines()
    assert {len(line) for line in (heading, first, last)} == {80}
    expected = ["20000/20000", "21.9", "100.0", "12.3", "-1.25", "-0.0001", "10.123", "-596.42"]
    assert last.split() == [*expected, "27:46:40"]
    assert len(heading.split()) == len(last.split()) + 1  # "turn 1"
    with display:
        display.update({**METRICS, "update": 2, "explained_variance": -123456.7})
    assert capsys.readouterr().err.split()[-2] == "-123456.70"  # wider, but whole and apart


def test_time_left_has_the_evaluations_in_it(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Display(now=clock) as display:
        display.begin("one", updates=3, evaluations_s=lambda: 90.0)
        for update in (1, 2, 3):
            clock.now = 10.0 * update
            display.update({"update": update})
    lines = [line for line in capsys.readouterr().err.splitlines() if "/3" in line]
    assert [line.split()[-1] for line in lines] == ["-", "1:40", "1:30"]


def test_no_time_is_shown_where_evaluations_are_not_known(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Display(now=clock) as display:
        display.begin("one", updates=2)
        for update in (1, 2):
            clock.now += 1.0
            display.update({"update": update})
    assert capsys.readouterr().err.split()[-1] == "-"


def test_messages_are_shown_as_they_are(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    text = "problem '[red]x[/red] :smile: [/' " + "word " * 40 + "123456"
    with Display(now=clock) as display:
        display.message(text)
    assert capsys.readouterr().err == text + "\n"


def test_an_evaluation_ends_with_a_line_and_its_rate_waits_for_the_first_episodes(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    tally = Tally("eval", 10)
    said = []
    with Display(now=clock) as display:
        display.episodes(tally.progress())
        for place in (1, 2, 0, 3, 4, 5, 6, 7, 8, 9):
            clock.now += 1.0
            tally.add([(place, place % 3)])
            display.episodes(tally.progress())
            said.append(beat(display._shown, clock.now))
    assert said[:3] == [
        "evaluating 1/10 episodes, 0:09 left",
        "evaluating 2/10 episodes, 0:08 left",
        "evaluating 3/10 episodes, 50.0 % of the first 2 solved, 0:07 left",
    ]
    assert capsys.readouterr().err.splitlines()[-1] == "eval: 10 episodes, 60.0 % solved"


def test_without_a_line_for_long_the_stage_is_shown(
    capsys: pytest.CaptureFixture[str], clock: Clock, tmp_path: Path
) -> None:
    display = Display(now=clock)
    display.begin("one", updates=8, log=tmp_path / "rlef.log")
    with display:
        display.stage("learning", 4, lambda: 3)
        display._tick()
        clock.now = 1.0
        display._tick()
        clock.now = 10.9
        display._tick()
        clock.now = 11.1
        display._tick()
        display.message("a line")
        clock.now = 21.0
        display._tick()
    expected = ["learning 3/4 steps, for 0:01", "learning 3/4 steps, for 0:11", "a line"]
    assert capsys.readouterr().err.splitlines() == expected
    log = (tmp_path / "rlef.log").read_text().splitlines()
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", "", line) for line in log[1:]] == [
        *expected,
        "finished",
    ]


def test_quiet_shows_nothing_verbose_the_stages_and_the_log_has_all(
    capsys: pytest.CaptureFixture[str], clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "rlef.log"
    for loudness in (Loudness.QUIET, Loudness.VERBOSE):
        with pytest.raises(ValueError), Display(loudness, clock) as display:
            display.begin("one", updates=8, log=path)
            display.stage("sampling")
            clock.now += 2.5
            display.stage("learning")
            display.update({"update": 1, "solve_rate": 0.5})
            raise ValueError("it broke")
        err = capsys.readouterr().err
        if loudness is Loudness.QUIET:
            assert err == ""
        else:
            assert err.splitlines()[:2] == ["loading: 0.0 s", "sampling: 2.5 s"]
    log = path.read_text()
    assert log.count("50.0") == 2 and log.count("it broke") == 2  # appended
    assert "sampling: 2.5 s" in log


def test_the_log_says_that_a_run_was_stopped(clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(typer.Exit), Display(now=clock) as display:
        display.begin("one", updates=8, log=tmp_path / "rlef.log")
        raise typer.Exit(130)
    assert (tmp_path / "rlef.log").read_text().endswith("  stopped\n")


@pytest.mark.parametrize("stage", ["loading", "sampling", "learning", "evaluating"])
@pytest.mark.parametrize("signs", [BLOCKS, ASCII])
def test_no_line_is_wider_than_the_terminal(stage: str, signs: str) -> None:
    progress = Progress(
        name="eval-random-also", done=13_999, total=14_000, new=5, first=11_200, solved=11_200,
        counted=11_200, solved_by_turn=(3000, 9000, 11_200),
    )  # fmt: skip
    for updates in (0, 200_000):
        shown = Shown(title="t", updates=updates, left_s=lambda _: 360_000.0, stage_since=0.0)
        for update in range(1, 300):
            shown.take({**WHOLE, "update": update, "kl": -1234.5678})
        shown.begin_stage(stage, 1024, lambda: 1023, 0.0)
        shown.episodes = progress
        for width in range(20, 200):
            lines = panel_lines(shown, width, 100.0, signs)
            assert all(len(line) <= width for line in lines)
            if width >= 53:  # nothing is left out
                text = "\n".join(lines)
                for part in ("12,346 tokens/s", "87 tests/s", "staleness 0.75", "AC 60 %",
                             "no program 10 %", "KL -1234.5678", "engine gap 1.2e-03",
                             "turn 3   60.0 %"):  # fmt: skip
                    assert part in text
            assert len(beat(shown, 100.0, width)) <= max(width, len(stage))


def test_curves_of_all_turns_are_on_one_scale() -> None:
    shown = Shown(title="t", updates=4)
    for rate in (0.0, 0.5, 1.0):
        shown.take({"solve_rate/turn_1": rate / 2, "solve_rate/turn_2": rate})
    lines = [line for line in panel_lines(shown, 80, 0.0, BLOCKS) if line.startswith("turn")]
    assert lines == ["turn 1   50.0 %  ▁▃▅", "turn 2  100.0 %  ▁▅█"]


def test_sparklines() -> None:
    assert sparkline([], 5) == ""
    assert sparkline([None, float("nan")], 5) == "  "
    assert sparkline([2.0, 2.0], 5) == "▅▅"
    assert len(sparkline(list(range(1000)), 7)) == 7
    assert sparkline([0, 1], 2, low=0, high=8, signs=ASCII) == "_."


RUN = """
import sys, threading
from rlef.cli import progress_text, screen
from rlef.cli.display import Display
said, beat = threading.Event(), progress_text.beat
def telling(shown, now, *width):
    text = beat(shown, now, *width)
    if width: said.set()  # for the screen, behind the log
    return text
progress_text.beat = telling
screen._GOODBYE_S = 0.3 if len(sys.argv[2]) > 2 else 30
with Display() as display:
    display.begin("one", updates=3, evaluations_s=lambda: 5.0)
    display.stage("sampling")
    said.wait(float(sys.argv[1]))
    for update in range(1, int(sys.argv[2])):
        display.update({"update": update, "solve_rate": 0.5, "solve_rate/turn_1": 0.25})
    print("whole", flush=True)
print("closed", flush=True)
"""


def run(*words: str, **options: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", RUN, *words], stdout=subprocess.PIPE, **options
    )


@pytest.mark.parametrize("kind", ["nobody reads", "nobody is there", "closed", "full"])
def test_no_stderr_ends_or_holds_up_the_work(kind: str) -> None:
    if kind == "closed":
        process = run("0", "4", preexec_fn=lambda: os.close(2))
    elif kind == "full":
        if not os.path.exists("/dev/full"):
            pytest.skip("no /dev/full")
        with open("/dev/full", "wb") as full:
            process = run("0", "4", stderr=full)
    else:
        reader, writer = os.pipe()
        if kind == "nobody is there":
            os.close(reader)
        process = run("0", "4000" if kind == "nobody reads" else "4", stderr=writer)
        os.close(writer)
    out, _ = process.communicate(timeout=60)
    assert (out.split(), process.returncode) == ([b"whole", b"closed"], 0)
    if kind == "nobody reads":
        os.close(reader)


def on_terminal(width: int, *words: str, **env: str) -> str:
    """What a run writes to a terminal."""
    import fcntl
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = run(*words, stderr=child, env={**kept, "TERM": "xterm", **env})
    os.close(child)
    text = b"".join(read_all(parent))
    process.communicate()
    os.close(parent)
    assert process.returncode == 0
    return text.decode()


def read_all(descriptor: int) -> Iterator[bytes]:
    until = time.monotonic() + 60
    while time.monotonic() < until and select.select([descriptor], [], [], 1.0) is not None:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            return
        if not data:
            return
        yield data


def test_a_wide_terminal_has_a_panel_which_is_gone_at_the_end() -> None:
    text = on_terminal(80, "0.5", "4")
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert "sampling" in plain and "╭─ one" in plain and "╰" in plain
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is back
    assert "3/3" in text
    after = text[text.rindex("\x1b[?25h") + 6 :]  # takes the panel away
    assert after.replace("\x1b[1A\x1b[2K", "") == "\r"


@pytest.mark.parametrize(("width", "env"), [(50, {}), (80, {"TERM": "dumb"})])
def test_small_and_dumb_terminals_have_lines(width: int, env: dict[str, str]) -> None:
    text = on_terminal(width, "30", "4", **env)
    assert "\x1b" not in text and "╭" not in text
    assert "sampling, for 0:0" in text and "3/3" in text


def test_without_colours_the_panel_has_none() -> None:
    text = on_terminal(80, "0.5", "4", NO_COLOR="1")
    assert "╭" in text and not re.search(r"\x1b\[3\d", text)


def test_quiet_and_verbose_exclude_each_other() -> None:
    with pytest.raises(typer.BadParameter, match="allowed: one of them"):
        Loudness.of(quiet=True, verbose=True)
    assert module.Loudness.of(quiet=False, verbose=False) is Loudness.NORMAL


@pytest.mark.parametrize("width", [20, 59, 60, 79, 80])
def test_updates_are_whole_lines_on_terminals_of_any_width(width: int) -> None:
    lines = UpdateLines(20_000)
    shown = [line for update in (1, 20_000) for line in lines.next(
        {**METRICS, "update": update}, 100_000.0, width)]  # fmt: skip
    heading, first, last = (line.split() for line in shown)
    assert all(len(line) <= width for line in shown)
    assert len(first) == len(last) == len("".join(shown[0]).replace("turn 1", "turn").split())
    assert heading[0] == "update" and "solved" in heading and "100.0" in last
    assert ("expl.var" in heading) == (width == 80) and ("KL" in heading) == (width > 60)
    assert [len(lines.next({"update": 2}, None, other)) for other in (width, 200, 200)] == [
        1, 1 if width == 80 else 2, 1]  # fmt: skip


def test_a_narrow_terminal_has_lines_that_fit_it() -> None:
    text = on_terminal(32, "1.5", "4")
    assert all(len(line) <= 32 for line in text.replace("\r", "").split("\n"))
    assert [line.split() for line in text.splitlines() if "3/3" in line] == [
        ["3/3", "50.0", "0:05"]]  # fmt: skip


def test_what_is_no_terminal_has_lines_whatever_asks_for_colours() -> None:
    process = run("0", "4", stderr=subprocess.PIPE, env={**os.environ, "FORCE_COLOR": "1"})
    _, text = process.communicate(timeout=60)
    assert b"\x1b" not in text and b"3/3" in text
