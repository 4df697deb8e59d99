"""Make problems in Python, check them, write them to a file that trains. Needs no torch.

usage: python examples/own_problems.py OUT.jsonl
"""

import sys
from pathlib import Path

from rlef.curation import check_problems
from rlef.problems import Problem, Test, load_problems
from rlef.problems.jsonl import write_jsonl


def power(exponent: int) -> Problem:
    """Read n, print a power of it. Tests come from a solution, so they are right."""

    def test(n: int) -> Test:
        return Test(f"{n}\n", f"{n**exponent}\n")

    return Problem(
        name=f"power-{exponent}",
        statement=f"Read an integer n. Print n to the power of {exponent}.",
        public_tests=(test(2),),
        private_tests=(test(7), test(-3), test(10)),  # several, so that no constant passes
        solutions=(f"print(int(input()) ** {exponent})",),
        incorrect_solutions=(f"print(int(input()) * {exponent})",),
        family="powers",
    )


def main(out: Path) -> None:
    write_jsonl([power(exponent) for exponent in (3, 4, 5)], out)
    problems = load_problems(f"jsonl:{out}")
    for _, check in sorted(
        check_problems(problems), key=lambda pair: pair[0]
    ):  # they come as they end
        found = ", ".join(finding.kind for finding in check.findings) or "no findings"
        print(f"{check.problem.name}: {found}")
    print(f"next: rlef train RECIPE data.train=jsonl:{out} data.test=...")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
