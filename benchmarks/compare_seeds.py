"""Two ways to train, some seeds each: what the policies solve, and how fast the runs learnt.

usage: python benchmarks/compare_seeds.py RUN ... --with RUN ...

Finished runs of ``rlef train``, the same seeds in the same order on both sides. Intervals are over
problems and seeds, as those of ``rlef compare``; learning curves show each batch's solve rate.
"""

import sys
from statistics import fmean, stdev

from rlef.evaluation.compare import difference_over_seeds
from rlef.run import RunFolder

STAGES = ("eval-before", "eval-before-also", "eval-after", "eval-after-also")
PARTS = 5
"""Of a run, in each of which the solve rate is averaged."""


def solved(run: RunFolder, stage: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for record in run.read_rollouts(stage):
        found.setdefault(record["problem"], []).append(float(record["solved"]))
    return found


def curve(run: RunFolder) -> list[float]:
    rates = [line["solve_rate"] for line in run.read_metrics()]
    size = len(rates) // PARTS
    return [100 * fmean(rates[part * size : (part + 1) * size]) for part in range(PARTS)]


def main() -> None:
    words = sys.argv[1:]
    if words.count("--with") != 1:
        raise SystemExit(__doc__)
    place = words.index("--with")
    sides = [
        [RunFolder.open(path) for path in side] for side in (words[:place], words[place + 1 :])
    ]
    if len(sides[0]) != len(sides[1]) or not sides[0]:
        raise SystemExit("as many runs on both sides, please: the same seeds")
    print("1@n in % | first | second | difference, 95 % interval | by seed")
    for stage in STAGES:
        first, second = (
            {seed: solved(run, stage) for seed, run in enumerate(side)} for side in sides
        )
        found, by_seed = difference_over_seeds(stage, first, second)
        each = ", ".join(f"{100 * difference:+.1f}" for difference in by_seed)
        print(
            f"{stage} | {100 * found.a:.1f} | {100 * found.b:.1f} | {100 * found.difference:+.1f}, "
            f"{100 * found.low:+.1f} to {100 * found.high:+.1f} | {each}"
        )
    print(f"solve rate of training batches in %, mean ± sd over seeds, by {PARTS} parts of a run")
    for name, side in zip(("first", "second"), sides, strict=True):
        parts = zip(*map(curve, side), strict=True)
        shown = [f"{fmean(p):.1f} ±{stdev(p) if len(p) > 1 else 0:.1f}" for p in parts]
        print(f"{name} | {' | '.join(shown)}")


if __name__ == "__main__":
    main()
