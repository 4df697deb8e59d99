"""Small rows in the schema of each data set, and files of them."""

import base64
import gzip
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

Row = dict[str, Any]
PAIR = {"input": ["1\n"], "output": ["2\n"]}
CONTEST: Row = {
    "name": "1_A. Double",
    "description": "Read n, print 2n.",
    "public_tests": PAIR,
    "private_tests": {"input": ["3\n"], "output": ["6\n"]},
    "generated_tests": {"input": ["4\n", "5\n"], "output": ["8\n", "10\n"]},
    "source": 2,
    "difficulty": 7,
    "solutions": {"language": [2, 3, 3, 1], "solution": ["c++", "py a", "py b", "py2"]},
    "incorrect_solutions": {"language": [3, 4, 2], "solution": ["py wrong", "java", "c++ bad"]},
    "cf_contest_id": 1,
    "cf_index": "A",
    "cf_points": 0.0,
    "cf_rating": 1300,
    "cf_tags": ["math", ""],
    "is_description_translated": False,
    "untranslated_description": "",
    "time_limit": {"seconds": 1, "nanos": 500_000_000},
    "memory_limit_bytes": 256_000_000,
    "input_file": "",
    "output_file": "",
}
CHECKER = """#include "testlib.h"
int main(int argc, char* argv[]) {
    registerTestlibCmd(argc, argv);
    int n = inf.readInt(), a = ouf.readInt(), b = ouf.readInt();
    if (a + b != n) quitf(_wa, "%d + %d is not %d", a, b, n);
    quitf(_ok, "right");
}
"""
PLUS: Row = {
    "source": "Codeforces",
    "id": "1_A",
    "title": "Sum",
    "description": "Read n, print two numbers whose sum is n.\n\nExamples\n\n"
    "Input\n\n3\n\nOutput\n\n1 2\n\nInput\n\n5\n\nOutput\n\n2 3\n",
    "time_limit": 2000,
    "memory_limit": 268_435_456,
    "validator": "",
    "generator": "",
    "generator_cmd": "",
    "checker": CHECKER,
    "test_cases": [{"input": "3\n", "output": "1 2\n"}, {"input": "9\n", "output": "4 5\n"}],
    "correct_submissions": [
        {"code": "n = int(input())\nprint(n, 0)", "language": "py3"},
        {"code": "int main(){}", "language": "cpp"},
        {"code": "class Main {}", "language": "java"},
    ],
    "incorrect_submissions": [{"code": "print(1, 1)", "language": "py3"}],
    "true_positive_rate": 1.0,
    "true_negative_rate": 0.95,
}
APPS: Row = {
    "problem_id": 4000,
    "question": "Print the sum.",
    "solutions": json.dumps(["print(sum(map(int, input().split())))"]),
    "input_output": json.dumps({"inputs": ["1 2\n", ["3 4"]], "outputs": ["3\n", ["7"]]}),
    "difficulty": "interview",
    "url": "https://www.codechef.com/problems/X",
    "starter_code": "",
}
APPS_CALL: Row = {
    **APPS,
    "problem_id": 4001,
    "question": "Sum of two.",
    "solutions": json.dumps(["def add(a, b): return a + b"]),
    "input_output": json.dumps(
        {"fn_name": "add", "inputs": [[1, 2], [[1], [2]]], "outputs": [[3], [[1, 2]]]}
    ),
    "url": "https://www.codewars.com/kata/1",
    "starter_code": "\ndef add(a, b):\n\t",
}
TACO: Row = {
    "question": "Print the sum.",
    "solutions": APPS["solutions"],
    "starter_code": "",
    "input_output": APPS["input_output"],
    "difficulty": "MEDIUM_HARD",
    "raw_tags": "['greedy']",
    "name": None,
    "source": "codechef",
    "tags": "['Greedy algorithms', 'Sorting']",
    "skill_types": "['Sorting']",
    "url": "https://www.codechef.com/problems/X",
    "Expected Auxiliary Space": None,
    "time_limit": "2.0 seconds",
    "date": "2019-12-31",
    "picture_num": "0",
    "memory_limit": "256.0 megabytes",
    "Expected Time Complexity": None,
}


def packed(cases: object) -> str:
    """Private tests as LiveCodeBench keeps them."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


LIVE: Row = {
    "question_title": "Double",
    "question_content": "Print 2n.",
    "platform": "atcoder",
    "question_id": "abc301_a",
    "contest_id": "abc301",
    "contest_date": "2023-05-13T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": json.dumps([{"input": "2\n", "output": "4\n", "testtype": "stdin"}]),
    "private_test_cases": packed([{"input": "3\n", "output": "6\n", "testtype": "stdin"}]),
    "metadata": "{}",
}
LIVE_CALL: Row = {
    **LIVE,
    "platform": "leetcode",
    "question_id": "2824",
    "contest_date": "2024-09-01T00:00:00",
    "difficulty": "hard",
    "starter_code": "class Solution:\n    def pair(self, xs: List[int], k: int):\n        ",
    "public_test_cases": json.dumps(
        [{"input": "[1, 2]\n3", "output": "[1, 3]", "testtype": "functional"}]
    ),
    "private_test_cases": packed(
        [{"input": "[5]\n1", "output": "[5, 1]", "testtype": "functional"}]
    ),
    "metadata": json.dumps({"func_name": "pair"}),
}
MBPP: Row = {
    "text": "Write a function to swap a pair.",
    "code": "def swap(pair):\r\n  return pair[1], pair[0]",
    "task_id": 11,
    "test_setup_code": "",
    "test_list": ["assert swap((1, 2)) == (2, 1)", "assert swap((3, 4)) == (4, 3)"],
    "challenge_test_list": ["assert swap((5, 5)) == (5, 5)"],
}
SANITIZED: Row = {
    "source_file": "x.ipynb",
    "task_id": 602,
    "prompt": "Write a function for a third of a circle.",
    "code": "import math\ndef third(r): return [math.pi * r * r / 3]",
    "test_imports": ["import math"],
    "test_list": [
        "assert math.isclose(third(1)[0], 1.0472, rel_tol=0.001)",
        "assert set(third(0)) == set([0.0])",
    ],
}
HUMAN: Row = {
    "task_id": "HumanEval/200",
    "prompt": "from typing import List\n\ndef one():\n    return 1\n\n"
    'def grow(xs: List[int]) -> List[int]:\n    """Add one() to each.\n    >>> grow([1])\n    [2]\n'
    '    """\n',
    "entry_point": "grow",
    "canonical_solution": "    return [x + one() for x in xs]\n",
    "test": "METADATA = {}\n\ndef check(candidate):\n    assert candidate([]) == [], 'empty'\n"
    "    assert candidate([1]) == [2]\n    assert True\n    assert sum(candidate([1, 2])) > 4\n",
}
LOOPED: Row = {
    **HUMAN,
    "task_id": "HumanEval/201",
    "test": "def check(candidate):\n    import random\n    for _ in range(3):\n"
    "        n = random.randint(0, 99)\n        assert candidate([n]) == [n + 1]\n",
}
HUMAN_PLUS: Row = {
    **{key: HUMAN[key] for key in HUMAN if key != "test"},
    "contract": "",
    "base_input": [[[1]], [[]]],
    "plus_input": [[[1]], [[5, 6]]],
    "atol": 0,
}
ASSERTION = """
import numpy as np
from math import inf
def is_floats(x) -> bool:
    return isinstance(x, float)
def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match
"""
HUMAN_HUB: Row = {
    **{key: HUMAN[key] for key in HUMAN if key != "test"},
    "test": ASSERTION + "def check(candidate):\n    inputs = [[[1]], [[]], [[5, 6]]]\n"
    "    results = [[2], [], [6, 7]]\n    for i, (inp, exp) in enumerate(zip(inputs, results)):\n"
    "        assertion(candidate(*inp), exp, 0)\n",
}
MBPP_PLUS: Row = {
    "task_id": "Mbpp/2",
    "prompt": '"""\nFind the shared elements.\n'
    'assert set(similar_elements((3, 4),(4, 7))) == set((4,))\n"""\n',
    "entry_point": "similar_elements",
    "canonical_solution": "\ndef similar_elements(a, b):\n    return tuple(set(a) & set(b))\n",
    "base_input": [[[3, 4], [4, 7]]],
    "plus_input": [[[1, 2], [1, 2]]],
    "atol": 0,
    "contract": "",
}
MBPP_HUB: Row = {
    "task_id": 3,
    "code": "def halve(n):\n    return n / 2 if n < 9 else float('inf')",
    "prompt": "Write a function to halve a number.",
    "source_file": "x.ipynb",
    "test_imports": [],
    "test_list": ["assert halve(2) == 1.0", "assert halve(3) == 1.5"],
    "test": ASSERTION + "inputs = [[2], [5], [9]]\nresults = [1.0, 2.5, inf]\n"
    "for i, (inp, exp) in enumerate(zip(inputs, results)):\n    assertion(halve(*inp), exp, 0)\n",
}
MBPP_ORACLES: tuple[Row, ...] = (
    {
        **MBPP_HUB,
        "task_id": 581,
        "code": "def surface_Area(b, s):\n    return 2 * b * s + b ** 2",
        "test_list": ["assert surface_Area(3, 4) == 33"],
        "test": "import math\n\ndef _surface_Area(base_edge, height):\n"
        "    inputs = base_edge <= height\n"
        "    return round(base_edge**2 + 2 * base_edge * height)\n\n"
        "def assertion(out, exp_0, exp_1, atol):\n"
        "    assert abs(out - exp_0) <= atol or abs(out - exp_1) <= atol\n\n"
        "inputs = [[3, 4], [4, 5]]\nresults = [33, 56]\n"
        "for i, (inp, exp) in enumerate(zip(inputs, results)):\n"
        "    assertion(surface_Area(*inp), exp, _surface_Area(*inp), 0.5)\n",
    },
    {
        **MBPP_HUB,
        "task_id": 558,
        "code": "def digit_distance_nums(a, b):\n    return sum(map(int, str(abs(a - b))))",
        "test_list": ["assert digit_distance_nums(1, 2) == 1"],
        "test": "def _digit_distance_nums(num1, num2):\n    return 0\n\n"
        "def assertion(out, exp_0, exp_1, atol):\n    assert out == exp_0 or out == exp_1\n\n"
        "inputs = [[1, 2], [23, 56]]\nresults = [1, 6]\n"
        "for i, (inp, exp) in enumerate(zip(inputs, results)):\n"
        "    assertion(digit_distance_nums(*inp), exp, _digit_distance_nums(*inp), 0)\n",
    },
)
"""In the Hub's form, with oracles of their own, as EvalPlus's ``to_original_fmt.py`` has it."""


def jsonl(path: Path, *rows: object) -> Path:
    """Writes one row a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def parquet(path: Path, *rows: Row) -> Path:
    """Writes a parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path
