"""The first sections of a study's page: the claims, and all arms in one table."""

import math
from collections.abc import Iterator

from rlef.evaluation import Interval
from rlef.report.tables import percent
from rlef.study.analysis import (
    ClaimResult,
    Rate,
    Results,
    against,
    claim_results,
    lost_gain,
    repair_rate,
    solve_rate,
    trained_tokens,
    untrained_answers,
)
from rlef.study.arms import BASE, RLEF, TRAINED_TURNS, Arm, Side
from rlef.study.blocks import Block, Heading, Table, Text


def claims_section(results: Results) -> Iterator[Block]:
    """The paper's claims, and what became of them."""
    found = claim_results(results)
    if not found:
        return
    yield Heading("What the paper found, and what is found here")
    headings = ["claim", "verdict", "here, 1@3", "difference", "seeds", "p", "paper"]
    yield Table(headings, [_claim_row(each) for each in found], is_text=True)
    second = claim_results(results, also=True)
    if second:
        yield Text(f"That was at {results.settings[0]}. At {results.settings[1]}:")
        yield Table(headings, [_claim_row(each) for each in second], is_text=True)
    yield Text(
        "Paper: 1@3 on CodeContests valid / test of Llama 3.1 8B. Here: solve rates in %, "
        "difference in points with its 95 % interval over problems and seeds, p of a paired "
        "permutation test over problems (these policies, other problems), seeds whose own "
        "difference has the claimed sign. A claim holds, or is reversed, where the interval is on "
        "one side of 0; else it is open: this study cannot tell. With one seed the interval is "
        "over problems only, and every claim is open: of other trainings nothing is known. Of arms "
        "that are alike about 2.5 % seem better at most, and as many worse. There is no correction "
        "for the number of claims."
    )


def _claim_row(each: ClaimResult) -> list[str]:
    d = each.difference
    agreeing = sum(value > 0 for value in each.by_seed)
    return [
        each.claim.text,
        each.verdict,
        f"{100 * d.a:.1f} → {100 * d.b:.1f}",
        f"{100 * d.difference:+.1f} ({100 * d.low:+.1f} to {100 * d.high:+.1f})",
        f"{agreeing} of {len(each.by_seed)}",
        f"{d.p_value:.2g}",
        each.claim.paper,
    ]


def arms_section(results: Results) -> Iterator[Block]:
    """All arms in one table."""
    yield Heading("All arms")
    headings = ["arm", "in figures", "seeds", "1@1", f"1@{TRAINED_TURNS}", "± seeds", "repair"]
    headings += ["tokens", "less RLEF", "untrained answers"]
    second = results.settings[1] if len(results.settings) > 1 else None
    headings += [f"1@{TRAINED_TURNS}, {second}"] if second else []
    yield Table(headings, [_arm_row(results, arm, second) for arm in results.arms])
    random_rows = [
        [arm.title, rate_text(solve_rate(results, Side(arm=arm.name, exam="random")))]
        for arm in results.arms
        if results.seeds(arm.name, "random")
    ]
    if random_rows:
        yield Table(["with random feedback", f"1@{TRAINED_TURNS}"], random_rows)
    yield Text(
        f"In %, ± half a 95 % bootstrap interval over problems; ± seeds: standard deviation over "
        f"seeds; repair: share of turns 2 to {TRAINED_TURNS} that solved their problem; tokens: "
        "those of answers sampled to train the arm, in thousands; less RLEF: paired difference in "
        "points, with its interval over problems and, where there are several, seeds (*: one seed, "
        "so over problems only); untrained answers: how many independent answers of the untrained "
        f"model solve as much as 1@{TRAINED_TURNS}, if any right one counts (> N: more than were "
        f"drawn); by {TRAINED_TURNS} it is the sample ratio."
    )
    lost = lost_gain(results)
    if lost is not None:
        bounds = f"{100 * lost.low:.0f} to {100 * lost.high:.0f}"
        if math.isnan(lost.low):
            bounds = "no interval: in some draws later turns add nothing"
        yield Text(
            f"Random feedback takes {100 * lost.estimate:.0f} % ({bounds}) of what "
            f"turns 2 to {TRAINED_TURNS} add to RLEF's solve rate with true feedback (interval: "
            "these policies, other problems). Paper: a large part (figure)."
        )


def _arm_row(results: Results, arm: Arm, second: str | None) -> list[str]:
    one, three = (solve_rate(results, Side(arm=arm.name, turns=n)) for n in (1, TRAINED_TURNS))
    difference = against(results, arm.name, RLEF)
    answers = untrained_answers(results, arm.name) if arm.name != BASE else None
    seeds = set(results.seeds(RLEF))
    mark = "*" if len(seeds if arm.is_fixed else seeds & set(results.seeds(arm.name))) < 2 else ""
    row = [
        arm.title,
        arm.name,
        str(len(results.seeds(arm.name))),
        rate_text(one),
        rate_text(three),
        percent(three.spread) if three else "-",
        interval_text(repair_rate(results, arm.name)),
        _thousands(trained_tokens(results, arm.name)),
        "-"
        if difference is None
        else f"{100 * difference.difference:+.1f} "
        f"({100 * difference.low:+.1f} to {100 * difference.high:+.1f}){mark}",
        "-" if answers is None else answers.text(),
    ]
    if second:
        row.append(rate_text(solve_rate(results, Side(arm=arm.name, exam="also"))))
    return row


def _thousands(value: float) -> str:
    return "-" if math.isnan(value) else f"{value / 1000:.0f}"


def rate_text(rate: Rate | None) -> str:
    """In percent, ± half of its interval."""
    if rate is None or math.isnan(rate.interval.estimate):
        return "-"
    return interval_text(rate.interval)


def interval_text(interval: Interval) -> str:
    """In percent, ± half of it."""
    half = (interval.high - interval.low) / 2
    return "-" if math.isnan(half) else f"{100 * interval.estimate:.1f} ±{100 * half:.1f}"
