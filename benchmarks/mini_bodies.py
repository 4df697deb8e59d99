"""Mini problems that leave a detail out: what is solved where the program is known, and where not.

A program of the mini problems is a body, which computes, and an ending, which prints. The statement
says what to compute; the detail that is left out is about the ending. So a first program with a
right body lacks the detail only.

usage: python benchmarks/mini_bodies.py RUN ...      # finished runs of rlef train mini
"""

import sys

from rlef.config import load_config
from rlef.problems.mini.splits import load_specimens
from rlef.run import RunFolder
from rlef.train.recipe import TrainConfig


def body(program: str | None) -> tuple[str, ...]:
    return tuple((program or "").splitlines()[1:-1])


def main() -> None:
    print("solved, of problems whose detail is left out | first body right | other body")
    for path in sys.argv[1:]:
        run = RunFolder.open(path)
        split = load_config(TrainConfig, run.config_path, []).data.test.removeprefix("mini:")
        specimens = {specimen.problem.name: specimen for specimen in load_specimens(split)}
        for name in ("eval-before", "eval-after", "eval-random"):
            counts = {True: [0, 0], False: [0, 0]}
            for record in run.read_rollouts(name):
                specimen = specimens[record["problem"]]
                if specimen.disclosure == "hidden":
                    known = {body(program) for program in specimen.programs}
                    count = counts[body(record["turns"][0]["program"]) in known]
                    count[0] += record["solved"]
                    count[1] += 1
            shown = [f"{solved} of {total}" for solved, total in counts.values()]
            print(f"{path}, {name} | {' | '.join(shown)}")


if __name__ == "__main__":
    main()
