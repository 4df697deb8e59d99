"""What the page of a study says, part by part."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rlef.evaluation.statistics import mean
from rlef.report.figures import running_mean
from rlef.report.tables import percent
from rlef.study.analysis import (
    Results,
    behaviour,
    calibration_points,
    costs,
    curve,
    error_shares,
    long_exam,
    rates_by_turn,
)
from rlef.study.arms import ARMS, BASE, EXAMS, RLEF, TRAINED_TURNS, Arm, ExamName
from rlef.study.blocks import Block, Figure, Heading, Table, Text
from rlef.study.headline import arms_section, claims_section, rate_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {
    BASE: "#7f8c8d",
    RLEF: "#0072b2",
    "sft": "#e69f00",
    "sft-iterated": "#d55e00",
    "single-turn": "#009e73",
    "token-critic": "#cc79a7",
}
_OTHER_COLOURS = ("#56b4e9", "#f0c808", "#000000", "#0b7a75", "#7b2d26", "#8e7dbe", "#6b8f23")
_LAST_FIFTH = 0.8
_CAUSES = ("WA", "RE", "TLE", "MLE", "OLE", "CE", "invalid", "private", "unjudged")


def study_blocks(results: Results) -> list[Block]:
    """Everything that can be said of what is on disk."""
    parts = (
        claims_section,
        arms_section,
        _by_turn,
        _errors,
        _changes,
        _budget,
        _curves,
        _critic,
    )
    return [block for part in parts for block in part(results)]


def _shown(results: Results, exam: ExamName = "feedback") -> list[Arm]:
    """The main arms, of which curves are drawn; where there is none, all."""
    found = [arm for arm in results.arms if results.seeds(arm.name, exam)]
    return [arm for arm in found if arm.main] or found[: len(_OTHER_COLOURS)]


def _colour(arm: Arm) -> str:
    """The same in every figure."""
    names = list(ARMS)
    return _COLOURS.get(arm.name) or _OTHER_COLOURS[names.index(arm.name) % len(_OTHER_COLOURS)]


def _by_turn(results: Results) -> Iterator[Block]:
    limit = max(EXAMS[long_exam(results, arm.name)].turn_limit for arm in results.arms)
    yield Heading(f"Solve rate by turn, up to {limit}")

    def draw(ax: "Axes") -> None:
        for arm in _shown(results):
            rates = [100 * r.interval.estimate for r in rates_by_turn(results, arm.name)]
            turns = range(1, len(rates) + 1)
            ax.plot(turns, rates, marker="o", color=_colour(arm), label=arm.name)
            if results.seeds(arm.name, "long"):  # of the first seed, so that it begins elsewhere
                more = [100 * r.interval.estimate for r in rates_by_turn(results, arm.name, "long")]
                ax.plot(range(1, len(more) + 1), more, linewidth=0.8, color=_colour(arm))
        if results.seeds(RLEF, "random"):
            rates = [100 * r.interval.estimate for r in rates_by_turn(results, RLEF, "random")]
            label = f"{RLEF}, random feedback"
            ax.plot(range(1, len(rates) + 1), rates, "--", color=_COLOURS[RLEF], label=label)
        ax.axvline(TRAINED_TURNS, color="#8a939c", linewidth=0.8, linestyle=":")
        ax.set_xlabel("turns")
        ax.set_title("solved, %")
        ax.legend(fontsize=8)

    yield Figure("by_turn", "solve rate by turn of the main arms", [draw])
    turns = sorted({turn for turn in (1, 2, 3, 5, limit) if turn <= limit})
    rows = []
    for arm in results.arms:
        known = dict(enumerate(rates_by_turn(results, arm.name), start=1))
        if results.seeds(arm.name, "long"):
            known |= dict(
                list(enumerate(rates_by_turn(results, arm.name, "long"), start=1))[TRAINED_TURNS:]
            )
        rows.append([arm.title, *(rate_text(known.get(turn)) for turn in turns)])
    yield Table(["arm", *(f"{turn} turns" if turn > 1 else "1 turn" for turn in turns)], rows)
    yield Text(
        f"Training has {TRAINED_TURNS} turns (dotted line), that of single-turn RL one. Some arms "
        "are evaluated with more, with the first seed only: thin lines, and what stands beyond "
        "three turns, are of it. Dashed: random feedback. An episode also ends where the model's "
        "context is full. Paper, up to 10 turns: with random feedback the solve rate falls, the "
        "more so the more turns there are (figure)."
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
                shares = [percent(count / each.episodes) for count in by_turn]
                shares += ["-"] * (TRAINED_TURNS - 1 - len(shares))
                rows.append([title, cause, str(each.episodes), *shares])
    headings = [f"solved by turn {turn}, %" for turn in range(2, TRAINED_TURNS + 1)]
    yield Table(["arm", "error at turn 1", "episodes", *headings], rows)
    by_arm = {arm.title: error_shares(results, arm.name) for arm in _shown(results)}
    yield Table(
        ["arm", "error", *(f"at turn {turn}, %" for turn in range(1, TRAINED_TURNS + 1))],
        [
            [title, cause, *(percent(share) for share in found[cause])]
            for title, found in by_arm.items()
            for cause in _CAUSES
            if cause in found
        ],
    )
    yield Text(
        "WA wrong answer, RE run-time error, TLE time, MLE memory, OLE output, CE does not "
        "compile, invalid: no program, private: public tests passed and others not (the episode "
        "ends), unjudged: public tests passed and others not run, since the arm is told nothing "
        "and goes on. First table: of the episodes with that error. Second table: of all episodes. "
        "Paper: the same in a figure, without numbers."
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
                *(percent(x) for x in each.repeated_rate[: TRAINED_TURNS - 1]),
                *(percent(x) for x in each.invalid_rate[:1]),
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
    yield Text(
        "Change: mean of 1 - chrF of a program and the next; same: identical programs. Paper: "
        "untrained models repeat themselves (figure)."
    )


def _budget(results: Results) -> Iterator[Block]:
    arms = [arm for arm in results.arms if results.seeds(arm.name, "long")]
    independent = [arm for arm in results.arms if results.seeds(arm.name, "independent")]
    if not independent:
        return
    yield Heading("Feedback against independent answers at equal cost")

    def draw(ax: "Axes") -> None:
        for arm in arms:
            rates = [100 * r.interval.estimate for r in rates_by_turn(results, arm.name, "long")]
            turns = range(1, len(rates) + 1)
            ax.plot(turns, rates, color=_colour(arm), marker=".", label=arm.name)
        for arm in independent:
            points = costs(results, arm.name, "independent")
            xs = [point.budget for point in points]
            ys = [100 * point.estimate for point in points]
            label = f"{arm.name}, independent"
            ax.plot(xs, ys, "--", color=_colour(arm), marker=".", label=label)
        ax.set_xlabel("answers per problem")
        ax.set_title("solved by one of the answers, %")
        ax.legend(fontsize=8)

    yield Figure("budget", "solve rate against the number of answers", [draw])
    yield Text(
        "Solid: one dialogue with feedback, an answer per turn (fewer where it ends). Dashed: as "
        "many independent answers, solved if any is right (an upper bound: nobody tells which). "
        "Of the first seed. "
        "Paper, 8B: before training independent answers win at equal cost; of turn limits 5 is "
        "best (figure)."
    )


def _curves(results: Results) -> Iterator[Block]:
    trained = [arm for arm in _shown(results) if arm.is_trained]
    if not trained:
        return
    yield Heading("Learning curves")

    def drawer(key: str, title: str, scale: float) -> "Callable[[Axes], None]":
        def draw(ax: "Axes") -> None:
            for arm in trained:
                colour = _colour(arm)
                points = curve(results, arm.name, key)
                if points and not (key == "solve_rate" and arm.frozen):
                    xs, ys = zip(*points, strict=True)
                    ax.plot(
                        xs,
                        [scale * y for y in running_mean(ys, max(1, len(ys) // 12))],
                        color=colour,
                        label=arm.name,
                    )
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
    yield Text(
        "Mean over seeds, running mean. Single-turn training has one turn only; rollouts of the "
        "untrained model tell nothing of the policy, and their solve rate is left out. KL: mean of "
        "the penalty over turns, of arms that pay one; fine-tuning does not."
    )


def _critic(results: Results) -> Iterator[Block]:
    keys = [f"explained_variance/turn_{turn}" for turn in range(1, TRAINED_TURNS + 1)]
    rows = []
    for arm in results.arms:
        curves = (curve(results, arm.name, key) for key in keys)
        tails = [mean([y for x, y in points if x > _LAST_FIFTH]) for points in curves]
        if not all(map(math.isnan, tails)):
            rows.append([arm.title, *(_explained(tail) for tail in tails)])
    if not rows:
        return
    yield Heading("The critic")
    yield Table(["arm", *(f"turn {turn}" for turn in range(1, TRAINED_TURNS + 1))], rows)
    yield Text(
        "Explained variance of the return by the critic's value, by turn, mean over the last fifth "
        "of training and over seeds; 1 is perfect, 0 no better than a constant, below 0 worse than "
        "one: how far below says nothing. A critic of tokens is read before a turn's first token."
    )
    yield from _calibration(results)


def _calibration(results: Results) -> Iterator[Block]:
    points = {arm: calibration_points(results, arm.name) for arm in _shown(results)}
    points = {arm: found for arm, found in points.items() if found}
    if not points:
        return

    def draw(ax: "Axes") -> None:
        ax.plot([0, 1], [0, 1], color="#b0b7be", linewidth=1)
        for arm, found in points.items():
            colour = _colour(arm)
            expected = [(each.value + 1) / 2 for each in found]
            ax.plot(expected, [each.solved for each in found], color=colour, label=arm.name)
            sizes = [4 + 120 * each.turns / sum(e.turns for e in found) for each in found]
            ax.scatter(expected, [each.solved for each in found], s=sizes, color=colour)
        ax.set_xlabel("(value + 1) / 2")
        ax.set_title("share of turns whose episode is solved")
        ax.legend(fontsize=8)

    yield Figure("calibration", "the critic's values against the true solve rate", [draw])
    yield Text(
        "Values before each turn, in the last fifth of training, of rollouts that the critic has "
        "not learnt from yet, over all seeds; on the line a value is the solve rate. Larger dots: "
        "more turns; bins of at least 20. Values count the KL penalty and the -0.2 of an invalid "
        "answer too, which lowers them."
    )


def _explained(value: float) -> str:
    """Explained variance; a critic that is worse than any constant is not worth a number."""
    return "below -1" if value < -1 else _number(value)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
