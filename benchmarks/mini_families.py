"""How likely bodies of first answers are, family by family: exact, so that drift shows.

The chance, in percent at temperature 1, of the reference program's body (all but its last line)
as first answer to validation problems that leave a detail out. No training problem is of these
families. One row per family, the largest first; one column per model.

usage: python benchmarks/mini_families.py MODEL...
"""

import sys
from collections import defaultdict
from statistics import fmean

from mini_skill import chances, dialogue

from rlef.engines.load import load_chat, load_model
from rlef.environment import Episode, Prompts
from rlef.problems.mini.splits import load_specimens

ROWS = 18


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: python benchmarks/mini_families.py MODEL...")
    chat, prompts = load_chat("mini"), Prompts.load("mini")
    hidden = [one for one in load_specimens("valid") if one.disclosure == "hidden"]
    some = []
    for one in hidden:
        episode = Episode(one.problem.public, max_turns=1, prompts=prompts)
        some.append(dialogue([episode.first_message], one, chat))
    table: dict[str, list[list[float]]] = defaultdict(list)
    for name in sys.argv[1:]:
        bodies = (100 * chances(load_model(name, "cpu"), some)[:, 1]).tolist()
        column = defaultdict(list, {"all": bodies})
        for one, chance in zip(hidden, bodies, strict=True):
            column[str(one.problem.family)].append(chance)
        for family, found in column.items():
            table[family].append(found)
    ranked = sorted(table.items(), key=lambda row: -len(row[1][0]))
    for family, columns in ranked[:ROWS]:
        means = " ".join(f"{fmean(found):5.0f}" for found in columns)
        print(f"{family:32} {len(columns[0]):4} {means}")


if __name__ == "__main__":
    main()
