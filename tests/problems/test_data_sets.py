"""Each data set's schema, from small files; what becomes public, private, mode and checker."""

import json
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import rows
from rows import jsonl, parquet

from rlef.curation import expected
from rlef.environment import final_job, public_job
from rlef.problems import Problem, ProblemError, Test, load_problems
from rlef.problems.integers import long_integers
from rlef.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as shared:
        yield shared


def one(spec: str) -> Problem:
    (problem,) = load_problems(spec)
    return problem


def python(value: object) -> str:
    return json.dumps({"__python__": repr(value)})


@pytest.mark.parametrize("write", [jsonl, parquet])
def test_codecontests(tmp_path: Path, write: Callable[..., Path]) -> None:
    suffix = "jsonl" if write is jsonl else "parquet"
    path = write(tmp_path / f"a.{suffix}", rows.CONTEST)
    assert one(f"codecontests:{path}") == Problem(
        name="1_A. Double",
        statement="Read n, print 2n.",
        public_tests=(Test("1\n", "2\n"),),
        private_tests=(Test("3\n", "6\n"), Test("4\n", "8\n"), Test("5\n", "10\n")),
        cpu_s=1.5,
        memory_mb=244,
        solutions=("py a", "py b"),
        incorrect_solutions=("py wrong",),
        cpp_solutions=("c++",),
        incorrect_cpp_solutions=("c++ bad",),
        difficulty="1300",
        source="codeforces",
        tags=("math",),
    )
    assert one(f"codecontests:{path}?solutions=1").solutions == ("py a",)


def test_codecontestsplus_brings_its_checker(tmp_path: Path, sandbox: Sandbox) -> None:
    path = parquet(tmp_path / "ccplus_1x" / "part-00000-of-00020.parquet", rows.PLUS)
    problem = one(f"codecontestsplus:{tmp_path}:train")
    assert problem.name == "Codeforces/1_A"
    assert problem.public_tests == (Test("3", "1 2"), Test("5", "2 3"))
    assert [test.input for test in problem.private_tests] == ["3\n", "9\n"]
    assert (problem.cpu_s, problem.memory_mb, problem.checker) == (2.0, 256, "testlib")
    assert problem.cpp_solutions == ("int main(){}",)
    right, wrong = problem.solutions[0], problem.incorrect_solutions[0]
    assert sandbox.judge_many([final_job(problem, right)])[0].passed
    report = sandbox.judge_many([public_job(problem, wrong)])[0]
    assert [test.verdict for test in report.tests] == ["WA", "WA"]
    assert "1 + 1 is not 3" in report.tests[0].message
    plain = {**rows.PLUS, "description": "No samples.", "checker": ""}
    problem = one(f"codecontestsplus:{jsonl(path.with_name('b.jsonl'), plain)}")
    assert problem.public_tests == (Test("3\n", "1 2\n"),)
    assert (problem.checker, problem.checker_source) == ("tokens", None)


def test_apps(tmp_path: Path, sandbox: Sandbox) -> None:
    path = jsonl(tmp_path / "test.jsonl", rows.APPS, rows.APPS_CALL)
    printed, called = load_problems(f"apps:{path}")
    assert (printed.name, printed.source, printed.difficulty) == (
        "apps/4000",
        "codechef",
        "interview",
    )
    assert printed.public_tests == (Test("1 2\n", "3\n"),)
    assert printed.private_tests == (Test("3 4", "7"),)
    assert printed.checker == "compat:apps"
    assert (called.mode, called.entry_point) == ("function", "add")
    assert called.starter_code.strip() in called.statement
    assert called.public_tests == (Test("[1, 2]", "[3]"),)
    for problem in (printed, called):
        assert sandbox.judge_many([final_job(problem, problem.solutions[0])])[0].passed
    assert not sandbox.judge_many([final_job(called, "def add(a, b): return 4")])[0].passed
    both = load_problems(f"apps:{path}?public=2")
    assert [len(problem.public_tests) for problem in both] == [2, 2]
    assert len(load_problems(f"apps:{path}?difficulty=interview&source=codewars")) == 1


def test_apps_restores_keys_that_are_integers(tmp_path: Path, sandbox: Sandbox) -> None:
    table = {"fn_name": "f", "inputs": [[{"1": 2}]], "outputs": [{"2": 1}]}
    path = jsonl(tmp_path / "a.jsonl", {**rows.APPS, "input_output": json.dumps(table)})
    problem = one(f"apps:{path}")
    program = "def f(d): return {v: k for k, v in d.items()}"
    assert sandbox.judge_many([final_job(problem, program)])[0].passed


INVERSE = "def f(d): return {v: k for k, v in d.items()}"


@pytest.mark.parametrize("scheme", ["apps", "taco"])
@pytest.mark.parametrize(
    ("inputs", "wanted", "program", "verdict"),
    [
        ([{"1": 2}], [{"2": 1}], INVERSE, "AC"),
        ([{"1": 2}], {"2": 1}, INVERSE, "AC"),
        ([{"1": 2}], [{"2": 3}], INVERSE, "WA"),
        ([{"1": 2, "-3": 4}], [{"2": 1, "4": -3}], INVERSE, "AC"),
        ([{"a": 2}], [{"2": "a"}], INVERSE, "AC"),
        ([{"1": "a"}], [{"a": 1}], INVERSE, "AC"),
        ([{"1": 2, "b": 3}], {"2": "1", "3": "b"}, "def f(d): return {'2': '1', '3': 'b'}", "WA"),
        ([{"1": 2}], [[{"2": 1}]], "def f(d): return [{'2': d[1] - 1}]", "AC"),
        ([{"1": 2}, 5], [7], "def f(d, n): return d[1] + n", "AC"),
        ([5, {"1": 2}], [7], "def f(n, d): return d['1'] + n", "AC"),
        ([{}], [{}], INVERSE, "AC"),
        ([3], [[1, 2]], "def f(n): return (1, 2)", "AC"),
        ([3], [[[1, 2]]], "def f(n): return [(1, 2)]", "AC"),
        ([3], [1, 2], "def f(n): return 1", "WA"),
        ([3], [True], "def f(n): return 1", "AC"),
        ([10**5000], [10**5000], "def f(n): return n", "AC"),
        ([{"1": 10**5000}], [{"1": 10**5000}], "def f(d): return d", "AC"),
        ([10**5000], [10**5000 + 1], "def f(n): return n", "WA"),
        ([[1, 5]], 5, "class Solution:\n    def f(self, a: List[int]): return max(a)", "AC"),
        ([4], 2.0, "def f(n): return np.sqrt(n).item()", "AC"),
        ([4], [2, 3], "def f(n): return list(OrderedDict.fromkeys([int(sqrt(n)), 3]))", "AC"),
        ([[3, 1]], 1, "class Solution:\n    def f(self, a): return nsmallest(1, a)[0]", "AC"),
        ([[[1], [3]]], [1, 3], "def f(a): return list(itertools.chain(*a))", "AC"),
    ],
)  # fmt: skip
def test_functions_of_apps_and_taco_are_judged_as_their_scripts_do(
    tmp_path: Path,
    sandbox: Sandbox,
    scheme: str,
    inputs: list[object],
    wanted: object,
    program: str,
    verdict: str,
) -> None:
    with long_integers():
        table = json.dumps({"fn_name": "f", "inputs": [inputs], "outputs": [wanted]})
    row = {**(rows.APPS if scheme == "apps" else rows.TACO), "input_output": table}
    problem = one(f"{scheme}:{jsonl(tmp_path / 'a.jsonl', row)}")
    assert sandbox.judge_many([final_job(problem, program)])[0].verdict == verdict


@pytest.mark.parametrize("scheme", ["apps", "taco"])
@pytest.mark.parametrize(
    "program",
    [
        "print(floor(sqrt(16)) + len(Counter(input().split())) * 0 - 1)",
        "a, b = map(int, stdin.readline().split())\nstdout.write(str(a + b))",
        "input()\nh = [3, 5]\nheapify(h)\nprint(heappop(h))",
        "input()\nprint(int(np.array([3]).sum()))",
        "a, np = map(int, input().split())\nprint(a + np)",
        "input()\n@lru_cache(None)\ndef f(n: List): return n\nprint(f(3), file=sys.stdout)",
        "input()\nfrom random import choice as random\nprint(random([3]))",
    ],
)
def test_programs_of_apps_and_taco_have_the_names_of_the_scripts(
    tmp_path: Path, sandbox: Sandbox, scheme: str, program: str
) -> None:
    table = json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]})
    row = {**(rows.APPS if scheme == "apps" else rows.TACO), "input_output": table}
    problem = one(f"{scheme}:{jsonl(tmp_path / 'a.jsonl', row)}")
    job = final_job(problem, program)
    assert sandbox.judge_many([job])[0].verdict == "AC"
    assert ("numpy" in job.prelude) == ("np" in re.findall(r"\w+", program))
    wrong = sandbox.judge_many([final_job(problem, "input()\n\nprint(1 / 0)")])[0]
    assert 'File "solution.py", line 3, in <module>' in wrong.tests[0].message


def test_problems_without_tests_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    empty = {**rows.APPS, "problem_id": 1, "input_output": ""}
    path = jsonl(tmp_path / "a.jsonl", rows.APPS, empty)
    assert one(f"apps:{path}").name == "apps/4000"
    assert "left out 1 problems that have no tests" in caplog.text
    with pytest.raises(ProblemError, match=r"line 2, .* no public and no private test"):
        load_problems(f"apps:{path}?untested=error")


def test_taco(tmp_path: Path) -> None:
    parquet(tmp_path / "ALL" / "test-00000-of-00001.parquet", rows.TACO)
    problem = one(f"taco:{tmp_path}:test")
    assert (problem.name, problem.date, problem.source) == ("taco/test/0", "2019-12-31", "codechef")
    assert (problem.cpu_s, problem.memory_mb) == (2.0, 256)
    assert problem.tags == ("Greedy algorithms", "Sorting")
    assert one(f"taco:{tmp_path}:test?tag=sorting") == problem


def test_livecodebench(tmp_path: Path, sandbox: Sandbox) -> None:
    jsonl(tmp_path / "test.jsonl", rows.LIVE)
    jsonl(tmp_path / "test6.jsonl", rows.LIVE_CALL)
    printed, called = load_problems(f"livecodebench:{tmp_path}")
    assert (printed.mode, printed.date, printed.source) == ("stdin", "2023-05-13", "atcoder")
    assert printed.private_tests == (Test("3\n", "6\n"),)
    assert sandbox.judge_many([final_job(printed, "print(2.0 * int(input()))")])[0].passed
    assert called.public_tests == (Test("[[1, 2], 3]", "[1, 3]"),)
    answer = "class Solution:\n    def pair(self, xs: List[int], k):\n        return (xs[0], k)\n"
    assert sandbox.judge_many([final_job(called, answer)])[0].passed  # List is imported for it
    bare = "def pair(xs, k): return [xs[0], float(k)]"
    assert sandbox.judge_many([final_job(called, bare)])[0].passed
    assert not sandbox.judge_many([final_job(called, "def pair(xs, k): return xs")])[0].passed
    spec = f"livecodebench:{tmp_path}"
    assert one(f"{spec}?release=v5").name == "abc301_a"
    assert one(f"{spec}?start_date=2024-01-01").name == "2824"
    assert one(f"{spec}?end_date=2023-05-13").name == "abc301_a"
    assert one(f"{spec}:test?difficulty=hard,medium").name == "2824"
    with pytest.raises(ProblemError, match="none of its 2 problems passes the filters"):
        load_problems(f"{spec}?source=codeforces")


def test_livecodebench_has_its_own_limit_of_digits(tmp_path: Path, sandbox: Sandbox) -> None:
    cases = [{"input": "4999\n", "output": f"1{'0' * 4999}\n", "testtype": "stdin"}]
    row = {**rows.LIVE, "public_test_cases": json.dumps(cases), "private_test_cases": "[]"}
    problem = one(f"livecodebench:{jsonl(tmp_path / 'a.jsonl', row)}")
    literal = f"input()\nprint({'1' + '0' * 4999})"
    for program in ("print(10 ** int(input()))", literal):
        assert sandbox.judge_many([final_job(problem, program)])[0].passed
    too_many = sandbox.judge_many([final_job(problem, "input()\nprint(10 ** 50000)")])[0]
    assert "Exceeds the limit (50000 digits)" in too_many.tests[0].message
    plain = replace(problem, prelude="")
    assert sandbox.judge_many([final_job(plain, "print(10 ** int(input()))")])[0].verdict == "RE"
    assert sandbox.judge_many([final_job(plain, literal)])[0].verdict == "CE"  # as in CPython
    long = "1" + "0" * 4999
    cases = [{"input": long, "output": long, "testtype": "functional"}]
    row = {**rows.LIVE_CALL, "public_test_cases": json.dumps(cases), "private_test_cases": "[]"}
    problem = one(f"livecodebench:{jsonl(tmp_path / 'a.jsonl', row)}")
    answers = ("        return nums", "def pair(n): return n", "def pair(n): return n + 1")
    reports = sandbox.judge_many([final_job(problem, answer) for answer in answers])
    assert [report.verdict for report in reports] == ["RE", "AC", "WA"]


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("unpickled",))


def test_livecodebench_unpickles_texts_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import base64
    import zlib

    for value, words in ((Evil(), "is not allowed"), (["a"], "holds a pickled a list")):
        text = base64.b64encode(zlib.compress(pickle.dumps(value))).decode()
        path = jsonl(tmp_path / "a.jsonl", {**rows.LIVE, "private_test_cases": text})
        with pytest.raises(ProblemError, match=words):
            load_problems(f"livecodebench:{path}")
    assert "unpickled" not in capsys.readouterr().out
    path = jsonl(tmp_path / "a.jsonl", {**rows.LIVE, "private_test_cases": "!!"})
    with pytest.raises(
        ProblemError, match="line 1, field 'private_test_cases': cannot be unpacked"
    ):
        load_problems(f"livecodebench:{path}")


def test_mbpp(tmp_path: Path, sandbox: Sandbox) -> None:
    train = {**rows.MBPP, "task_id": 601}
    path = jsonl(tmp_path / "mbpp.jsonl", {**rows.MBPP, "task_id": 1}, rows.MBPP, train)
    problem = one(f"mbpp:{path}:test")
    assert (problem.name, problem.entry_point, problem.mode) == ("mbpp/11", "swap", "function")
    assert problem.statement.endswith(
        "Your code should pass this test:\n\nassert swap((1, 2)) == (2, 1)"
    )
    assert problem.public_tests == (Test(json.dumps({"call": "swap((1, 2))"}), python((2, 1))),)
    assert len(problem.private_tests) == 2
    assert [p.name for p in load_problems(f"mbpp:{path}")] == ["mbpp/1", "mbpp/11", "mbpp/601"]
    assert one(f"mbpp:{path}:train").name == "mbpp/601"
    assert sandbox.judge_many([final_job(problem, problem.solutions[0])])[0].passed
    program = "def swap(pair): return [pair[1], pair[0]]"
    report = sandbox.judge_many([public_job(problem, program)])[0]
    assert report.tests[0].message == "expected '(2, 1)', got '[2, 1]'"


def test_mbpp_by_task_ids(tmp_path: Path) -> None:
    found = [{**rows.MBPP, "task_id": number} for number in (2, 10, 11, 510, 511, 601, 974)]
    path = jsonl(tmp_path / "mbpp.jsonl", *found)

    def ids(spec: str) -> list[int]:
        return [int(problem.name.partition("/")[2]) for problem in load_problems(spec)]

    assert ids(f"mbpp:{path}:601-974") == ids(f"mbpp:{path}:train") == [601, 974]
    assert ids(f"mbpp:{path}:11-510") == ids(f"mbpp:{path}:test") == [11, 510]
    assert ids(f"mbpp:{path}:10-511?first=3") == [10, 11, 510]
    assert ids(f"mbpp:{path}:510-510") == [510]
    for split, lines in {"prompt": found[:2], "test": found[2:4], "train": found[5:]}.items():
        jsonl(tmp_path / "mbpp" / f"{split}.jsonl", *lines)
    assert ids(f"mbpp:{tmp_path / 'mbpp'}:10-500") == [10, 11]
    assert ids(f"mbpp:{tmp_path / 'mbpp'}:700-974") == [974]
    for wrong in ("0-5", "974-601", "601-975", "601-", "5", "1-2-3", "9-99999999999"):
        with pytest.raises(ProblemError, match=rf"no split '{wrong}'; allowed: .*such as 601-974$"):
            load_problems(f"mbpp:{path}:{wrong}")


def test_sanitized_mbpp(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "sanitized-mbpp.json"
    path.write_text(json.dumps([rows.SANITIZED]))
    problem = one(f"mbpp:{path}:train")
    assert problem.entry_point == "third"
    given = json.loads(problem.public_tests[0].input)
    assert given == {"call": "third(1)", "setup": "import math"}
    wanted = json.loads(problem.public_tests[0].output)
    assert wanted["__check__"] == "math.isclose(result[0], 1.0472, rel_tol=0.001)"
    assert sandbox.judge_many([final_job(problem, problem.solutions[0])])[0].passed
    assert not sandbox.judge_many([final_job(problem, "def third(r): return [0.0]")])[0].passed


def test_humaneval(tmp_path: Path, sandbox: Sandbox) -> None:
    path = jsonl(tmp_path / "HumanEval.jsonl.gz", rows.HUMAN, rows.LOOPED)
    flat, looped = load_problems(f"humaneval:{path}")
    assert flat.public_tests == (Test("[[1]]", python([2])),)  # the example in the docstring
    assert [test.output for test in flat.private_tests] == [
        python([]),
        json.dumps({"__check__": "sum(result) > 4"}),
    ]
    assert flat.starter_code == rows.HUMAN["prompt"]
    assert flat.prelude == "from typing import List\n\ndef one():\n    return 1\n\n"
    assert len(looped.all_tests) == 3
    answers = {
        "the whole": flat.solutions[0],
        "the function": "def grow(xs: List[int]): return [x + one() for x in xs]",
        "the rest": rows.HUMAN["canonical_solution"],
        "from the future": "from __future__ import annotations\n"
        "def grow(xs: List[int]): return [x + one() for x in xs]",
    }
    for answer in answers.values():
        for problem in (flat, looped):
            assert sandbox.judge_many([final_job(problem, answer)])[0].passed, answer
    assert not sandbox.judge_many([final_job(looped, "def grow(xs): return xs")])[0].passed


def test_humanevalplus(tmp_path: Path, sandbox: Sandbox) -> None:
    own = one(f"humanevalplus:{jsonl(tmp_path / 'HumanEvalPlus.jsonl', rows.HUMAN_PLUS)}")
    assert own.public_tests == (Test("[[1]]", python([2])), Test("[[]]", python([])))
    assert own.private_tests == (Test("[[5, 6]]", python([6, 7])),)
    hub = one(f"humanevalplus:{parquet(tmp_path / 'test.parquet', rows.HUMAN_HUB)}")
    assert hub.public_tests == (Test("[[1]]", python([2])),)
    assert hub.private_tests == (Test("[[]]", python([])), Test("[[5, 6]]", python([6, 7])))
    assert (own.checker, hub.checker) == ("tokens", "tokens")


def test_any_root_is_right(tmp_path: Path, sandbox: Sandbox) -> None:
    row = {
        **rows.HUMAN_PLUS,
        "prompt": "def find_zero(xs: list):\n",
        "canonical_solution": "    return -xs[0] / xs[1]\n",
        "entry_point": "find_zero",
        "base_input": [[[1, 2]]],
        "plus_input": [[[-4, 0, 1]]],
        "atol": 0.0001,
    }
    row["canonical_solution"] = "    return 2.0 if len(xs) == 3 else -xs[0] / xs[1]\n"
    problem = one(f"humanevalplus:{jsonl(tmp_path / 'a.jsonl', row)}")
    other = "def find_zero(xs): return -2.0 if len(xs) == 3 else -0.5"
    wrong = "def find_zero(xs): return -2.1 if len(xs) == 3 else -0.5"
    verdicts = sandbox.judge_many([final_job(problem, other), final_job(problem, wrong)])
    assert [report.passed for report in verdicts] == [True, False]


def test_mbppplus(tmp_path: Path, sandbox: Sandbox) -> None:
    own = one(f"mbppplus:{jsonl(tmp_path / 'MbppPlus.jsonl', rows.MBPP_PLUS)}")
    assert own.statement.startswith("Find the shared elements.\nassert set(similar")
    assert json.loads(own.public_tests[0].input) == {"call": "similar_elements((3, 4), (4, 7))"}
    as_list = "def similar_elements(a, b): return [x for x in a if x in b]"
    assert sandbox.judge_many([final_job(own, as_list)])[0].passed  # compared as sets
    hub = one(f"mbppplus:{parquet(tmp_path / 'test.parquet', rows.MBPP_HUB)}")
    assert (hub.name, hub.entry_point) == ("Mbpp/3", "halve")
    assert hub.public_tests == (Test("[2]", python(1.0)), Test("[3]", python(1.5)))
    assert hub.private_tests == (Test("[5]", python(2.5)), Test("[9]", '{"__python__": "inf"}'))
    assert hub.checker == "float(abs=1e-06,rel=1e-07)"
    assert sandbox.judge_many([final_job(hub, hub.solutions[0])])[0].passed


def test_oracles_of_mbppplus_in_the_form_of_the_hub(tmp_path: Path, sandbox: Sandbox) -> None:
    path = jsonl(tmp_path / "plus.jsonl", *rows.MBPP_ORACLES)
    area, distance = load_problems(f"mbppplus:{path}")
    assert (area.entry_point, distance.entry_point) == ("surface_Area", "digit_distance_nums")
    assert [json.loads(test.input) for test in area.private_tests] == [[3, 4], [4, 5]]
    assert area.checker == "float(abs=0.5,rel=1e-07)" and distance.checker == "tokens"
    jobs = [final_job(problem, problem.solutions[0]) for problem in (area, distance)]
    assert all(report.passed for report in sandbox.judge_many(jobs))


def test_a_solution_in_a_test_of_the_hub_says_nothing_of_it(tmp_path: Path) -> None:
    solution = "def ref_func(n):\n    results = []\n    while len(results) <= n:\n"
    solution += "        results.append(assertion(n))\n    return results\n\n"
    text = rows.HUMAN_HUB["test"].replace("def check", f"{solution}def check")
    path = jsonl(tmp_path / "plus.jsonl", {**rows.HUMAN_HUB, "test": text})
    assert load_problems(f"humanevalplus:{path}") == load_problems(
        f"humanevalplus:{jsonl(tmp_path / 'b.jsonl', rows.HUMAN_HUB)}"
    )


def test_a_clone_of_the_hub_holds_several_sets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for size, output in (("1x", "3\n"), ("2x", "4\n")):
        cases = [{"input": "9\n", "output": output}]
        folder = tmp_path / f"ccplus_{size}"
        parquet(folder / "part-00000-of-00020.parquet", {**rows.PLUS, "test_cases": cases})
    for more, output in (("", "3\n"), ("?size=2x", "4\n")):
        problem = one(f"codecontestsplus:{tmp_path}{more}")
        assert problem.private_tests[0].output == output
    for form, text in (("full", "Double it."), ("sanitized", "Halve it.")):
        name = "text" if form == "full" else "prompt"
        row = {key: value for key, value in rows.MBPP.items() if key not in ("text", "prompt")}
        parquet(tmp_path / "mbpp" / form / "test-00000-of-00001.parquet", {**row, name: text})
    assert one(f"mbpp:{tmp_path / 'mbpp'}:test").statement.startswith("Double it.")
    sanitized = one(f"mbpp:{tmp_path / 'mbpp'}:test?form=sanitized")
    assert sanitized.statement.startswith("Halve it.")
    assert not caplog.records


def test_programs_that_read_files_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"
    odd = [{**rows.CONTEST, "name": key, key: "x.txt"} for key in ("input_file", "output_file")]
    assert one(f"codecontests:{jsonl(path, *odd, rows.CONTEST)}").name == rows.CONTEST["name"]
    assert "left out 2 problems whose programs read or write files" in caplog.text


@pytest.mark.parametrize(
    ("limit", "seconds"), [("500 ms", 0.5), ("2.0 seconds", 2.0), ("1 s", 1.0), ("1 hour", None)]
)
def test_units_of_taco(tmp_path: Path, limit: str, seconds: float | None) -> None:
    path = jsonl(tmp_path / "a.jsonl", {**rows.TACO, "time_limit": limit})
    assert one(f"taco:{path}").cpu_s == seconds


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://open.kattis.com/problems/a", "kattis"),
        ("https://www.codewars.com/kata/a", "codewars"),
        ("https://codeforces.com", "codeforces"),
        ("", None),
    ],
)
def test_sites_of_apps(tmp_path: Path, url: str, site: str | None) -> None:
    path = jsonl(tmp_path / "a.jsonl", {**rows.APPS, "url": url})
    assert one(f"apps:{path}").source == site


def test_expected_values_are_kept_where_that_is_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = jsonl(tmp_path / "HumanEval.jsonl", rows.LOOPED)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = load_problems(f"humaneval:{path}")
    assert len(list((tmp_path / "cache" / "rlef" / "expected").iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(expected, "_judged", None)  # would fail if it were called
        assert load_problems(f"humaneval:{path}") == first
    [kept] = (tmp_path / "cache" / "rlef" / "expected").iterdir()
    whole = kept.read_bytes()
    for torn in (b"", whole[:-1]):  # as a loss of power leaves it
        kept.write_bytes(torn)
        assert load_problems(f"humaneval:{path}") == first
        assert kept.read_bytes() == whole
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_problems(f"humaneval:{path}") == first


def test_who_loads_may_run_the_solutions_in_another_way(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", rows.HUMAN_PLUS)
    (problem,) = load_problems(
        f"humanevalplus:{path}", run=lambda references, _: [[[2], [], [2], [7]]]
    )
    assert problem.private_tests == (Test("[[5, 6]]", python([7])),)


def test_a_failing_reference_is_named(tmp_path: Path) -> None:
    row = {**rows.HUMAN_PLUS, "canonical_solution": "    return 1 / 0\n"}
    path = jsonl(tmp_path / "a.jsonl", row)
    with pytest.raises(ProblemError) as caught:
        load_problems(f"humanevalplus:{path}")
    assert str(caught.value) == (
        f"{path}, line 1, field 'canonical_solution': the reference solution fails: "
        "ZeroDivisionError: division by zero; broken=skip leaves such rows out"
    )


@pytest.mark.parametrize(
    ("scheme", "row", "change", "words"),
    [
        ("apps", rows.APPS, {"input_output": "{"}, "'input_output': broken JSON"),
        ("apps", rows.APPS, {"input_output": "[]"}, "'input_output': is a list"),
        ("apps", rows.APPS, {"question": None}, "'question': is null; allowed: a string"),
        ("apps", rows.APPS, {"problem_id": None}, "'problem_id': missing"),
        ("taco", rows.TACO, {"solutions": "3"}, "'solutions': allowed: a list of strings"),
        ("codecontestsplus", rows.PLUS, {"test_cases": [1]}, "'test_cases': holds something else"),
        ("codecontestsplus", rows.PLUS, {"id": 3}, "'id': is an integer; allowed: a string"),
        ("livecodebench", rows.LIVE_CALL, {"metadata": "{}"}, "'metadata': func_name is None"),
        ("livecodebench", rows.LIVE, {"public_test_cases": "[1]"}, "'public_test_cases': allowed"),
        ("mbpp", rows.MBPP, {"test_list": []}, "'test_list': holds no assert"),
        ("mbpp", rows.MBPP, {"test_list": ["swap("]}, "'test_list': does not parse"),
        ("mbpp", rows.MBPP, {"test_list": ["x = 1"]}, "'test_list': is no single assert"),
        ("mbpp", rows.MBPP, {"code": "x"}, "'test_list': calls no function of the solution"),
        ("mbpp", rows.MBPP, {"task_id": "a"}, "'task_id': is a string; allowed: an integer"),
        ("humaneval", rows.HUMAN, {"test": "x = 1"}, "'test': defines no function check"),
        ("humaneval", rows.HUMAN, {"test": "def"}, "'test': does not parse"),
        ("humanevalplus", rows.HUMAN_PLUS, {"base_input": 3}, "'base_input': is an integer"),
        ("humanevalplus", rows.HUMAN_HUB, {"test": "a = 1"}, "'test': inputs is null"),
        ("mbppplus", rows.MBPP_PLUS, {"task_id": "Mbpp/x"}, "'task_id': is 'Mbpp/x'"),
    ],
)
def test_wrong_fields_are_named(
    tmp_path: Path, scheme: str, row: rows.Row, change: rows.Row, words: str
) -> None:
    path = jsonl(tmp_path / "a.jsonl", {**row, **change})
    with pytest.raises(ProblemError) as caught:
        load_problems(f"{scheme}:{path}")
    message = str(caught.value)
    assert message.startswith(f"{path}, line 1, field ") and "\n" not in message
    assert words in message
