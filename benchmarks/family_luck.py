"""How much of the difference of two policies is whole families of problems, won or lost as one.

Episodes of two evaluations of the same problems. Prints the difference in solved problems, its
standard error if problems stood alone and if families do (Miller, arXiv 2411.00640, clustered
standard errors), and the families that differ most.

usage: python benchmarks/family_luck.py RUN RUN [STAGE]
    RUN: an evaluation, or a training; STAGE: of trainings, as ``rlef compare --stage``
"""

import sys
from collections import defaultdict
from math import sqrt
from pathlib import Path
from statistics import fmean

from rlef.evaluation.results import last_evaluation
from rlef.evaluation.statistics import solved_by_problem

MOST = 5
"""Families that are printed on either side."""


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python benchmarks/family_luck.py RUN RUN [STAGE]")
    stage = sys.argv[3] if len(sys.argv) == 4 else None
    (_, first), (_, second) = (last_evaluation(Path(path), stage) for path in sys.argv[1:3])
    before, after = (solved_by_problem(run.records) for run in (first, second))
    families = {one.problem: one.family or one.problem for one in first.records}
    changes = defaultdict(list)
    for problem, rates in before.items():
        if rates and after.get(problem):
            changes[families[problem]].append(fmean(after[problem]) - fmean(rates))
    each = [change for some in changes.values() for change in some]
    if not each:
        sys.exit("no problem is in both; allowed: evaluations on the same data")
    middle = fmean(each)
    alone = sqrt(sum((change - middle) ** 2 for change in each)) / len(each)
    as_one = sqrt(sum((sum(x) - len(x) * middle) ** 2 for x in changes.values())) / len(each)
    print(
        f"{len(each)} problems of {len(changes)} families: {100 * middle:+.1f} points, "
        f"standard error {100 * alone:.1f} by problems, {100 * as_one:.1f} by families"
    )
    ranked = sorted(((sum(x), len(x), name) for name, x in changes.items() if sum(x)), reverse=True)
    for gain, count, name in ranked[:MOST] + ranked[max(MOST, len(ranked) - MOST) :]:
        print(f"  {name}: {gain:+.3g} of {count}")


if __name__ == "__main__":
    main()
