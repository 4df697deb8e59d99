"""The page of a study as blocks: text, tables and figures, for HTML and Markdown alike."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from rlef.study.analysis import (
    TRAINED_TURNS,
    ClaimResult,
    Rate,
    Results,
    against,
    behaviour,
    calibration_points,
    claim_results,
    costs,
    curve,
    rates_by_turn,
    repair_rate,
    solve_rate,
    tail,
)
from rlef.study.arms import EXAMS, RLEF, Arm, ExamName, Side

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#7f8c8d", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000")
_CAUSES = ("WA", "RE", "TLE", "MLE", "OLE", "CE", "invalid", "private")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the second level."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows; the first column is text, the others numbers unless ``is_text``."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """Axes side by side, each drawn by a function."""

    name: str
    alt: str
    draw: "Sequence[Callable[[Axes], None]]"


Block = Heading | Text | Table | Figure


def study_blocks(results: Results) -> list[Block]:
    """Everything that can be said of what is on disk."""
    parts = (
        _claims,
        _main_table,
        _by_turn,
        _errors,
        _changes,
        _budget,
        _curves,
        _critic,
    )
    return [block for part in parts for block in part(results)]


def _claims(results: Results) -> Iterator[Block]:
    found = claim_results(results)
    if not found:
        return
    yield Heading("What the paper found, and what is found here")
    rows = [_claim_row(each) for each in found]
    yield Table(
        ["claim", "paper", "here, 1@3", "difference", "p", "seeds", "verdict"], rows, is_text=True
    )
    yield Text(
        "Paper: 1@3 on CodeContests valid / test of Llama 3.1 8B. Here: solve rates in %, "
        "difference in points with its 95 % bootstrap interval over problems (each with the "
        "results of all seeds on both sides), p of a paired permutation test over problems, seeds "
        "whose own difference has the claimed sign. A claim holds, or is reversed, where the "
        "interval is on one side of 0; else it is open: this study cannot tell."
    )


def _claim_row(each: ClaimResult) -> list[str]:
    d = each.difference
    agreeing = sum(value > 0 for value in each.by_seed)
    return [
        each.claim.text,
        each.claim.paper,
        f"{100 * d.a:.1f} → {100 * d.b:.1f}",
        f"{100 * d.difference:+.1f} ({100 * d.low:+.1f} to {100 * d.high:+.1f})",
        f"{d.p_value:.2g}",
        f"{agreeing} of {len(each.by_seed)}",
        each.verdict,
    ]


def _main_table(results: Results) -> Iterator[Block]:
    yield Heading("All arms")
    rows = []
    for arm in results.arms:
        one, three = (solve_rate(results, Side(arm=arm.name, turns=n)) for n in (1, TRAINED_TURNS))
        difference = against(results, arm.name, RLEF)
        rows.append(
            [
                arm.title,
                str(len(results.seeds(arm.name))),
                _rate(one),
                _rate(three),
                _points(three.spread) if three else "-",
                _percent(repair_rate(results, arm.name)),
                "-"
                if difference is None
                else f"{100 * difference.difference:+.1f} "
                f"({100 * difference.low:+.1f} to {100 * difference.high:+.1f})",
            ]
        )
    headings = ["arm", "seeds", "1@1", f"1@{TRAINED_TURNS}", "± seeds", "repair", "less RLEF"]
    yield Table(headings, rows)
    random_rows = [
        [arm.title, _rate(solve_rate(results, Side(arm=arm.name, exam="random")))]
        for arm in results.arms
        if results.seeds(arm.name, "random")
    ]
    if random_rows:
        yield Table(["with random feedback", f"1@{TRAINED_TURNS}"], random_rows)
    yield Text(
        f"In %, ± half a 95 % bootstrap interval over problems; ± seeds: standard deviation over "
        f"seeds; repair: share of turns 2 to {TRAINED_TURNS} that solved their problem; less RLEF: "
        "paired difference in points."
    )


def _shown(results: Results, exam: ExamName = "feedback") -> list[Arm]:
    """The main arms, of which curves are drawn."""
    return [arm for arm in results.arms if arm.main and results.seeds(arm.name, exam)]


def _by_turn(results: Results) -> Iterator[Block]:
    limit = EXAMS["feedback"].turn_limit
    yield Heading(f"Solve rate by turn, up to {limit}")

    def draw(ax: "Axes") -> None:
        for colour, arm in zip(_COLOURS, _shown(results), strict=False):
            rates = [100 * r.interval.estimate for r in rates_by_turn(results, arm.name)]
            ax.plot(range(1, len(rates) + 1), rates, marker="o", color=colour, label=arm.title)
        if results.seeds(RLEF, "random"):
            rates = [100 * r.interval.estimate for r in rates_by_turn(results, RLEF, "random")]
            label = "RLEF, random feedback"
            ax.plot(range(1, len(rates) + 1), rates, "--", color=_COLOURS[1], label=label)
        ax.axvline(TRAINED_TURNS, color="#8a939c", linewidth=0.8, linestyle=":")
        ax.set_xlabel("turns")
        ax.set_title("solved, %")
        ax.legend(fontsize=8)

    yield Figure("by_turn", "solve rate by turn of the main arms", [draw])
    turns = [1, 2, 3, 5, limit]
    rows = []
    for arm in results.arms:
        rates = rates_by_turn(results, arm.name)
        rows.append([arm.title, *(_rate(rates[turn - 1]) for turn in turns)])
    yield Table(["arm", *(f"{turn} turns" if turn > 1 else "1 turn" for turn in turns)], rows)
    yield Text(
        f"Trained with {TRAINED_TURNS} turns (dotted line), evaluated with up to {limit}; an "
        "episode also ends where the model's context is full."
    )


def _errors(results: Results) -> Iterator[Block]:
    yield Heading("Errors at turn 1, and how many are mended")
    rows = []
    exams: list[tuple[str, str, ExamName]] = [
        (arm.title, arm.name, "feedback") for arm in _shown(results)
    ]
    if results.seeds(RLEF, "random"):
        exams.append(("RLEF, random feedback", RLEF, "random"))
    for title, name, exam in exams:
        fixed = behaviour(results, name, exam).fixed
        for cause in _CAUSES:
            if cause in fixed:
                each = fixed[cause]
                by_turn = each.by_turn[: TRAINED_TURNS - 1]
                shares = [_percent(count / each.episodes) for count in by_turn]
                shares += ["-"] * (TRAINED_TURNS - 1 - len(shares))
                rows.append([title, cause, str(each.episodes), *shares])
    headings = [f"solved by turn {turn}, %" for turn in range(2, TRAINED_TURNS + 1)]
    yield Table(["arm", "error at turn 1", "episodes", *headings], rows)
    yield Text(
        "WA wrong answer, RE run-time error, TLE time, MLE memory, OLE output, CE does not "
        "compile, invalid: no program, private: public tests passed and others not (the episode "
        "ends)."
    )


def _changes(results: Results) -> Iterator[Block]:
    yield Heading("How much programs change between turns")
    rows = []
    for arm in results.arms:
        each = behaviour(results, arm.name)
        rows.append(
            [
                arm.title,
                *(_number(x) for x in each.code_change[: TRAINED_TURNS - 1]),
                *(_percent(x) for x in each.repeated_rate[: TRAINED_TURNS - 1]),
                *(_percent(x) for x in each.invalid_rate[:1]),
            ]
        )
    pairs = [f"{turn} → {turn + 1}" for turn in range(1, TRAINED_TURNS)]
    yield Table(
        [
            "arm",
            *(f"change {pair}" for pair in pairs),
            *(f"same {pair}, %" for pair in pairs),
            "invalid at turn 1, %",
        ],
        rows,
    )
    yield Text("Change: mean of 1 - chrF of a program and the next; same: identical programs.")


def _budget(results: Results) -> Iterator[Block]:
    arms = [arm for arm in results.arms if results.seeds(arm.name, "independent")]
    if not arms:
        return
    yield Heading("Feedback against independent answers at equal cost")

    def draw(ax: "Axes") -> None:
        for colour, arm in zip(_COLOURS, arms, strict=False):
            rates = [100 * rate.interval.estimate for rate in rates_by_turn(results, arm.name)]
            turns = range(1, len(rates) + 1)
            ax.plot(turns, rates, color=colour, marker=".", label=arm.title)
            points = costs(results, arm.name, "independent")
            xs = [point.budget for point in points]
            ys = [100 * point.estimate for point in points]
            ax.plot(xs, ys, "--", color=colour, marker=".", label=f"{arm.title}, independent")
        ax.set_xlabel("answers per problem")
        ax.set_title("solved by one of the answers, %")
        ax.legend(fontsize=8)

    yield Figure("budget", "solve rate against the number of answers", [draw])
    yield Text(
        "Solid: one dialogue with feedback, an answer per turn (fewer where it ends). Dashed: as "
        "many independent answers, solved if any is right (an upper bound: nobody tells which)."
    )


def _curves(results: Results) -> Iterator[Block]:
    trained = [arm for arm in _shown(results) if arm.is_trained]
    if not trained:
        return
    yield Heading("Learning curves")

    def drawer(key: str, title: str, scale: float) -> "Callable[[Axes], None]":
        def draw(ax: "Axes") -> None:
            for colour, arm in zip(_COLOURS[1:], trained, strict=False):
                points = curve(results, arm.name, key)
                if points:
                    xs, ys = zip(*points, strict=True)
                    ax.plot(xs, [scale * y for y in _smooth(ys)], color=colour, label=arm.title)
            ax.set_xlabel("share of training")
            ax.set_title(title)
            ax.legend(fontsize=8)

        return draw

    yield Figure(
        "curves",
        "solve rate in training, KL and entropy",
        [
            drawer("solve_rate", "solved in training, %", 100),
            drawer("kl", "KL to the first policy, nats", 1),
            drawer("entropy", "entropy, nats", 1),
        ],
    )
    yield Text("Mean over seeds, running mean. Single-turn training has one turn only.")


def _critic(results: Results) -> Iterator[Block]:
    keys = [f"explained_variance/turn_{turn}" for turn in range(1, TRAINED_TURNS + 1)]
    rows = []
    for arm in results.arms:
        tails = [_mean_of_tail([y for _, y in curve(results, arm.name, key)]) for key in keys]
        if not all(map(math.isnan, tails)):
            rows.append([arm.title, *(_number(tail) for tail in tails)])
    if not rows:
        return
    yield Heading("The critic")
    yield Table(["arm", *(f"turn {turn}" for turn in range(1, TRAINED_TURNS + 1))], rows)
    yield Text(
        "Explained variance of the return by the critic's value, by turn, mean over the last fifth "
        "of training and over seeds; 1 is perfect, 0 no better than a constant. A critic of tokens "
        "is read before a turn's first token."
    )
    yield from _calibration(results)


def _calibration(results: Results) -> Iterator[Block]:
    points = {arm.title: calibration_points(results, arm.name) for arm in _shown(results)}
    points = {title: found for title, found in points.items() if found}
    if not points:
        return

    def draw(ax: "Axes") -> None:
        ax.plot([0, 1], [0, 1], color="#b0b7be", linewidth=1)
        for colour, (title, found) in zip(_COLOURS[1:], points.items(), strict=False):
            expected = [(each.value + 1) / 2 for each in found]
            ax.plot(expected, [each.solved for each in found], color=colour, label=title)
            sizes = [4 + 120 * each.turns / sum(e.turns for e in found) for each in found]
            ax.scatter(expected, [each.solved for each in found], s=sizes, color=colour)
        ax.set_xlabel("(value + 1) / 2")
        ax.set_title("share of turns whose episode is solved")
        ax.legend(fontsize=8)

    yield Figure("calibration", "the critic's values against the true solve rate", [draw])
    yield Text(
        "Values before each turn, in the last fifth of training, of rollouts that the critic has "
        "not learnt from yet, over all seeds; on the line a value is the solve rate. Larger dots: "
        "more turns. Values count the KL penalty too, which lowers them a little."
    )


def _smooth(values: Sequence[float]) -> list[float]:
    width = max(1, len(values) // 12)
    windows = (values[max(0, i - width) : i + width + 1] for i in range(len(values)))
    return [fmean(window) for window in windows]


def _mean_of_tail(values: Sequence[float]) -> float:
    return fmean(tail(values)) if values else math.nan


def _rate(rate: Rate | None) -> str:
    if rate is None or math.isnan(rate.interval.estimate):
        return "-"
    half = (rate.interval.high - rate.interval.low) / 2
    return f"{100 * rate.interval.estimate:.1f} ±{100 * half:.1f}"


def _points(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
