"""How much of the variance of returns a critic could explain: by what is known before an answer.

Returns of turns of the last batches of a training on ``mini:train``, and the share of their
variance between groups of like turns: by number of the turn, by what the statement leaves out, and
by whether the program before has a right body. Each group's own mean is taken without the turn that
it is compared with, so small groups earn nothing by chance. What is left is luck: of like turns
some answers are right and some wrong, and no value function of what was before can tell.

usage: python benchmarks/critic_ceiling.py RUN [BATCHES]
"""

import sys
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from mini_repair import body

from rlef.problems.mini import Specimen
from rlef.problems.mini.splits import load_specimens
from rlef.run.training import batch_paths

Known = tuple[Hashable, ...]
"""What is known before an answer, as groups of like turns, coarse to fine."""


def known_before(specimen: Specimen, programs: Sequence[str | None]) -> Iterator[Known]:
    """Yields what is known before each of an episode's answers, of these programs."""
    known = {body(program) for program in specimen.programs}
    left_out = specimen.disclosure == "hidden"
    detail = specimen.problem.hidden_detail if left_out else specimen.disclosure
    for turn in range(len(programs)):
        right = body(programs[turn - 1]) in known if turn else None
        yield (turn,), (turn, left_out), (turn, detail), (turn, detail, right)


def turns(run: Path, batches: int) -> Iterator[tuple[Known, float]]:
    """Yields what is known before each answer, and the rewards to go."""
    specimens = {specimen.problem.name: specimen for specimen in load_specimens("train")}
    for path in batch_paths(run / "rollouts/train")[-batches:]:
        for episode in pq.read_table(path).to_pylist():
            programs = [turn["program"] for turn in episode["turns"]]
            found = known_before(specimens[episode["problem"]], programs)
            for turn, known in enumerate(found):
                yield known, float(sum(episode["rewards"][turn:]))


def less_like_turns(groups: Sequence[Hashable], returns: np.ndarray) -> np.ndarray:
    """Returns what is left of returns without the mean of the others in their groups."""
    places = defaultdict(list)
    for place, group in enumerate(groups):
        places[group].append(place)
    left = np.zeros(len(returns))
    for group in places.values():
        values, count = returns[group], len(group)
        others = (values.sum() - values) / (count - 1) if count > 1 else returns.mean()
        left[group] = values - others
    return left


def explained(groups: Sequence[Hashable], returns: np.ndarray) -> float:
    """Returns the share of the variance that leave-one-out means of groups explain."""
    left = less_like_turns(groups, returns)
    return 1 - float((left**2).sum()) / float(((returns - returns.mean()) ** 2).sum())


def main() -> None:
    found = list(turns(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5))
    if not found:
        sys.exit(f"{sys.argv[1]}: no batch in rollouts/train; allowed: a run that has trained")
    returns = np.array([value for _, value in found])
    print(f"{len(found)} turns, mean return {returns.mean():.2f}")
    names = ("number of the turn", "and left out or not", "and which detail", "and body before")
    for level, name in enumerate(names):
        groups: list[Hashable] = [known[level] for known, _ in found]
        print(f"{name} | {len(set(groups))} groups | {100 * explained(groups, returns):.0f} %")


if __name__ == "__main__":
    main()
