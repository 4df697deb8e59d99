"""More mini problems that leave nothing out: a split has too few of them to tell policies apart.

New problems of the split's families, two in three state their detail and one shows it, for
``rlef eval … --data jsonl:FILE``.

usage: python benchmarks/mini_told.py SPLIT COUNT FILE
"""

import sys
from itertools import count
from pathlib import Path
from random import Random

from rlef.problems.jsonl import write_jsonl
from rlef.problems.mini.generate import Specimen, make_specimen
from rlef.problems.mini.splits import families_of

FIRST_INDEX = 2000
"""Beyond those of any split."""


def told(split: str, wanted: int) -> list[Specimen]:
    """Goes through the families in turn until there are enough; no statement comes twice."""
    families = [family for topic in families_of(split).values() for family in topic]
    found: dict[tuple[str, str], Specimen] = {}
    for index in count(FIRST_INDEX):
        for family in families:
            specimen = make_specimen(family, index, ("stated", "stated", "shown"))
            if specimen is not None and specimen.problem.private_tests:
                problem = specimen.problem
                found.setdefault((problem.statement, problem.solutions[0]), specimen)
            if len(found) == wanted:
                return list(found.values())
    raise AssertionError


def main() -> None:
    split, wanted, path = sys.argv[1:]
    specimens = told(split, int(wanted))
    Random(f"mini/told/{split}").shuffle(specimens)
    Path(path).touch(exist_ok=False)
    write_jsonl([specimen.problem for specimen in specimens], Path(path))


if __name__ == "__main__":
    main()
