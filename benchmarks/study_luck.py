"""Of simulated studies, how many call a difference real: where there is none, and where there is.

usage: python benchmarks/study_luck.py [STUDIES]

Two ways to train are compared on the same problems, with some seeds each. "Luck" is the standard
deviation of the solve rate, in points, between trainings that differ by their seed only. Problems
differ in difficulty (1.5 logits), each way to train finds others easy (1 logit), and each training
too (0.7). "None": percent of studies that say that the second is better, and that it is worse,
where both are alike; each should be 2.5 at most. "5 points": percent that find it better, where it
solves 5 points more. Rules: an interval over problems alone; a bootstrap that draws seeds and
problems; the same, and every seed agrees; `rlef.evaluation.certainty.half_width`, as `rlef study`
and `rlef compare` use it, and the same where every seed has to agree too.
"""

import sys
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rlef.evaluation.certainty import half_width

SEEDS, LUCK = (2, 3, 5, 8), (1.0, 2.5, 5.0, 9.0)
EXAMS = ((50, 1), (50, 5), (280, 1), (280, 5))
"""Problems, and episodes of each."""
EFFECT = 5.0
DRAWS = 400
_SLOPE = 15.5
"""Points that one logit more solves, on average over these problems."""

Floats = NDArray[np.float64]
Ends = tuple[float, float]


def studies(
    count: int, seeds: int, problems: int, episodes: int, luck: float, effect: float
) -> Iterator[Floats]:
    """Yields (seeds, problems): what the second way solves less what the first does."""
    rng = np.random.default_rng([seeds, problems, episodes, round(10 * luck), round(effect)])
    for _ in range(count):
        easy = rng.normal(-0.5, 1.5, problems) + rng.normal(0, 1, (2, 1, problems))
        trainings = rng.normal(0, luck / _SLOPE, (2, seeds, 1))
        logits = easy + trainings + rng.normal(0, 0.7, (2, seeds, problems))
        logits[1] += effect / _SLOPE
        solved = rng.binomial(episodes, 1 / (1 + np.exp(-logits))) / episodes
        yield solved[1] - solved[0]


def over_problems(table: Floats) -> Ends:
    half = half_width(table.mean(axis=0, keepdims=True))
    return float(table.mean()) - half, float(table.mean()) + half


@lru_cache(maxsize=8)
def _weights(count: int) -> Floats:
    """(DRAWS, count): how often each is drawn, of as many; the same draws for every study."""
    return np.random.default_rng(count).multinomial(count, [1 / count] * count, DRAWS) / count


def bootstrap(table: Floats) -> Ends:
    """Seeds are drawn with replacement, problems too, the same ones for all seeds."""
    seeds, problems = map(_weights, table.shape)
    low, high = np.percentile(((seeds @ table) * problems).sum(axis=1), (2.5, 97.5))
    return float(low), float(high)


def ours(table: Floats) -> Ends:
    half = half_width(table)
    return float(table.mean()) - half, float(table.mean()) + half


INTERVALS: dict[str, Callable[[Floats], Ends]] = {
    "problems only": over_problems,
    "bootstrap": bootstrap,
    "ours": ours,
}
RULES = {
    "problems only": ("problems only", False),
    "bootstrap": ("bootstrap", False),
    "bootstrap, all agree": ("bootstrap", True),
    "ours": ("ours", False),
    "ours, all agree": ("ours", True),
}
"""The interval, and whether every seed's own difference has to agree."""


def verdicts(table: Floats) -> list[int]:
    """By each rule 1: the second is better, -1: worse, 0: open."""
    ends = {name: interval(table) for name, interval in INTERVALS.items()}
    by_seed = table.mean(axis=1)
    found = []
    for name, must_agree in RULES.values():
        low, high = ends[name]
        better = low > 0 and (by_seed.min() > 0 or not must_agree)
        worse = high < 0 and (by_seed.max() < 0 or not must_agree)
        found.append(int(better) - int(worse))
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"| seeds | problems x episodes | luck | {' | '.join(RULES)} |")
    print("|---" * (3 + len(RULES)) + "|")
    for seeds in SEEDS:
        for problems, episodes in EXAMS:
            for luck in LUCK:
                setting = (count, seeds, problems, episodes, luck)
                none, some = (
                    np.array([verdicts(table) for table in studies(*setting, effect)])
                    for effect in (0.0, EFFECT)
                )
                shares = (np.mean(none == 1, 0), np.mean(none == -1, 0), np.mean(some == 1, 0))
                rows = zip(*(100 * each for each in shares), strict=True)
                cells = [f"{better:.1f} {worse:.1f}, {power:.0f}" for better, worse, power in rows]
                where = f"{seeds} | {problems} x {episodes} | {luck:g}"
                print(f"| {where} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
