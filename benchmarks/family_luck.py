"""How much of the difference of two policies is whole families of problems, won or lost as one.

Episodes of two evaluations of the same problems. Prints the difference in solved problems, its
standard error if problems stood alone and if families do (Miller, arXiv 2411.00640, clustered
standard errors), and the families that differ most.

usage: python benchmarks/family_luck.py EVALUATION EVALUATION [NAME]
    EVALUATION: a run folder; NAME: of its episodes, by default eval (of a training: eval-after)
"""

import sys
from collections import Counter, defaultdict
from math import sqrt
from statistics import fmean

from rlef.run import RunFolder

MOST = 5
"""Families that are printed on either side."""


def solved(path: str, name: str) -> dict[str, tuple[str, float]]:
    """Returns family and solve rate by problem."""
    found: dict[str, list[float]] = defaultdict(list)
    families = {}
    for episode in RunFolder.open(path).read_rollouts(name):
        found[episode["problem"]].append(float(episode["solved"]))
        families[episode["problem"]] = episode["family"] or episode["problem"]
    return {problem: (families[problem], fmean(rates)) for problem, rates in found.items()}


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python benchmarks/family_luck.py EVALUATION EVALUATION [NAME]")
    first, second = (solved(path, (*sys.argv[3:], "eval")[0]) for path in sys.argv[1:3])
    both = [(*first[problem], second[problem][1]) for problem in first if problem in second]
    if not both:
        sys.exit("no problem is in both; allowed: evaluations on the same data")
    middle = fmean(b - a for _, a, b in both)
    by_family, away = Counter[str](), Counter[str]()
    for family, a, b in both:
        by_family[family] += b - a  # type: ignore[assignment]
        away[family] += b - a - middle  # type: ignore[assignment]
    alone = sqrt(sum((b - a - middle) ** 2 for _, a, b in both)) / len(both)
    as_one = sqrt(sum(x * x for x in away.values())) / len(both)
    print(
        f"{len(both)} problems of {len(by_family)} families: {100 * middle:+.1f} points, "
        f"standard error {100 * alone:.1f} by problems, {100 * as_one:.1f} by families"
    )
    ranked = [(family, gain) for family, gain in by_family.most_common() if gain]
    for family, gain in ranked[:MOST] + ranked[max(MOST, len(ranked) - MOST) :]:
        print(f"  {family}: {gain:+.3g} of {sum(each == family for each, _, _ in both)}")


if __name__ == "__main__":
    main()
