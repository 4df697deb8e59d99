import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlef.problems import Problem, ProblemError, Test, load_problems
from rlef.problems.jsonl import write_jsonl
from rlef.sandbox.values import read_literal

SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "codecontests_sample.jsonl"
PAIR = {"input": ["1"], "output": ["2"]}
CONTEST: dict[str, Any] = {
    "name": "double",
    "description": "Read n, print 2n.",
    "public_tests": PAIR,
    "private_tests": {"input": ["3"], "output": ["6"]},
    "generated_tests": {"input": ["4", "5"], "output": ["8", "10"]},
    "solutions": {"language": [2, 3, 3], "solution": ["c++", "py a", "py b"]},
    "incorrect_solutions": {"language": [3, 4], "solution": ["py wrong", "java"]},
    "time_limit": {"seconds": 1, "nanos": 500_000_000},
    "memory_limit_bytes": 256_000_000,
}
OWN: dict[str, Any] = {
    "name": "double",
    "statement": "Return 2n.",
    "public_tests": [{"input": "[1]", "output": "2"}],
    "private_tests": [],
    "mode": "function",
    "entry_point": "double",
    "cpu_s": 2,
    "memory_mb": 64,
    "checker": "float(abs=1e-3)",
    "solutions": ["def double(n): return 2 * n"],
    "incorrect_solutions": ["def double(n): return n"],
    "family": "arithmetic",
}


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_codecontests_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", CONTEST, {**CONTEST, "name": "b", "time_limit": None})
    first, second = load_problems(f"codecontests:{path}")
    assert first == Problem(
        name="double",
        statement="Read n, print 2n.",
        public_tests=(Test("1", "2"),),
        private_tests=(Test("3", "6"), Test("4", "8"), Test("5", "10")),
        cpu_s=1.5,
        memory_mb=244,
        solutions=("py a", "py b"),
        incorrect_solutions=("py wrong",),
        cpp_solutions=("c++",),
    )
    assert second.cpu_s is None


def test_codecontests_optional_fields(tmp_path: Path) -> None:
    fields = ("name", "description", "public_tests")
    path = write(tmp_path / "a.jsonl", {field: CONTEST[field] for field in fields})
    (problem,) = load_problems(f"codecontests:{path}")
    assert problem.private_tests == problem.solutions == ()
    assert problem.cpu_s is problem.memory_mb is None


def test_splits_of_a_folder_and_colons_in_paths(tmp_path: Path) -> None:
    folder = tmp_path / "a:b"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        write(folder / f"{split}.jsonl", {**CONTEST, "name": split})
    for split, name in (("train", "train"), ("validation", "valid"), ("valid", "valid")):
        assert [p.name for p in load_problems(f"codecontests:{folder}:{split}")] == [name]
    assert [p.name for p in load_problems(f"codecontests:{folder}/test.jsonl")] == ["test"]
    with pytest.raises(ProblemError, match="several splits; add one of :test, :train, :valid"):
        load_problems(f"codecontests:{folder}")
    with pytest.raises(ProblemError, match="leave out :train"):
        load_problems(f"codecontests:{folder}/test.jsonl:train")
    with pytest.raises(ProblemError, match="has no split 'dev'; there is :test, :train, :valid"):
        load_problems(f"codecontests:{folder}:dev")


def test_own_fields(tmp_path: Path) -> None:
    minimal: dict[str, object] = {"name": "m", "statement": "s", "public_tests": []}
    minimal["private_tests"] = [{"input": "", "output": "x"}]
    first, second = load_problems(f"jsonl:{write(tmp_path / 'a.jsonl', OWN, minimal)}")
    assert first == Problem(
        name="double",
        statement="Return 2n.",
        public_tests=(Test("[1]", "2"),),
        private_tests=(),
        mode="function",
        entry_point="double",
        cpu_s=2,
        memory_mb=64,
        checker="float(abs=1e-3)",
        solutions=("def double(n): return 2 * n",),
        incorrect_solutions=("def double(n): return n",),
        family="arithmetic",
    )
    assert (second.mode, second.checker, second.cpu_s, second.family) == (
        "stdin",
        "tokens",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"name": 3}, "name", "is an integer; allowed: a string"),
        ({"name": None}, "name", "is null; allowed: a string"),
        ({"public_tests": {}}, "public_tests", "is an object; allowed: a list"),
        ({"public_tests": [["1", "2"]]}, "public_tests", "allowed: a list of objects"),
        ({"public_tests": [{"input": "1"}]}, "public_tests", "allowed: a list of objects"),
        ({"public_tests": [{"input": 1, "output": "2"}]}, "public_tests", "than strings"),
        ({"public_tests": []}, "public_tests", "no public and no private test"),
        ({"mode": "call"}, "mode", "is 'call'; allowed: stdin, function"),
        (
            {"language": "cpp", "mode": "function", "entry_point": "f"},
            "language",
            "is 'cpp'; allowed with mode function: python",
        ),
        ({"mode": "stdin"}, "entry_point", "needed with mode function"),
        ({"entry_point": None}, "entry_point", "needed with mode function"),
        ({"cpu_s": 0}, "cpu_s", "is 0; allowed: a number above 0"),
        ({"cpu_s": "2"}, "cpu_s", "is a string; allowed: an integer or a number"),
        ({"cpu_s": True}, "cpu_s", "is true or false"),
        ({"memory_mb": 1.5}, "memory_mb", "is a number; allowed: an integer"),
        ({"solutions": [1]}, "solutions", "a list of strings"),
        ({"solution": "x"}, "solution", "unknown; allowed: name, statement"),
    ],
)
def test_wrong_own_fields_are_named(
    tmp_path: Path, change: dict[str, object], field: str, words: str
) -> None:
    path = write(tmp_path / "a.jsonl", {**OWN, "name": "first"}, {**OWN, **change})
    with pytest.raises(ProblemError) as caught:
        load_problems(f"jsonl:{path}")
    message = str(caught.value)
    assert message.startswith(f"{path}, line 2, field {field!r}: ")
    assert words in message and "\n" not in message


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"description": 1}, "description", "is an integer"),
        ({"public_tests": []}, "public_tests", "is a list; allowed: an object"),
        ({"public_tests": {"input": []}}, "public_tests", "'output' is not a list"),
        ({"private_tests": {"input": ["1"], "output": []}}, "private_tests", "1 inputs but 0"),
        ({"generated_tests": {"input": [1], "output": ["1"]}}, "generated_tests", "than strings"),
        ({"solutions": {"language": [3], "solution": []}}, "solutions", "1 languages, 0"),
        ({"solutions": {"language": [3], "solution": [3]}}, "solutions", "not a string"),
        ({"time_limit": 2}, "time_limit", "is an integer; allowed: an object"),
        ({"time_limit": {"seconds": "2"}}, "time_limit", "integer 'seconds'"),
        ({"memory_limit_bytes": "1"}, "memory_limit_bytes", "is a string"),
    ],
)
def test_wrong_codecontests_fields_are_named(
    tmp_path: Path, change: dict[str, object], field: str, words: str
) -> None:
    path = write(tmp_path / "a.jsonl", {**CONTEST, "name": "first"}, {**CONTEST, **change})
    with pytest.raises(ProblemError) as caught:
        load_problems(f"codecontests:{path}")
    message = str(caught.value)
    assert message.startswith(f"{path}, line 2, field {field!r}: ")
    assert words in message and "\n" not in message


def test_missing_fields_and_equal_names_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {key: OWN[key] for key in OWN if key != "statement"})
    with pytest.raises(ProblemError, match="line 1, field 'statement': missing; needed: a string"):
        load_problems(f"jsonl:{path}")
    write(path, OWN, {**OWN, "name": "b"}, OWN)
    with pytest.raises(ProblemError, match=r"line 3, field 'name': 'double' is already .* line 1"):
        load_problems(f"jsonl:{path}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"name": "a"\n', "line 1: broken JSON"),
        (b"\n[1]\n", "line 2: is a list; allowed: a JSON object"),
        (b"", "holds no problem"),
        (b"\xff\n", "cannot be read"),
        (b"[" * 100_000, "broken JSON"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(ProblemError) as caught:
        load_problems(f"jsonl:{path}")
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("codecontest:x", "(did you mean 'codecontests'?); allowed: codecontests:PATH"),
        ("josnl:x", "did you mean 'jsonl'?"),
        ("zzz:x", "unknown data set 'zzz' in 'zzz:x'; allowed"),
        ("", "unknown data set ''"),
        ("jsonl", "no path in 'jsonl'; allowed"),
        ("codecontests:", "no path"),
        ("mini", "unknown split '' in 'mini'; allowed: train, valid, dev, test"),
        ("mini:exam", "unknown split 'exam'"),
        ("jsonl:/nowhere.jsonl", "/nowhere.jsonl: no such file"),
    ],
)
def test_wrong_specifications_are_named(spec: str, words: str) -> None:
    with pytest.raises(ProblemError) as caught:
        load_problems(spec)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample is not there")
def test_the_codecontests_sample_loads() -> None:
    problems = load_problems(f"codecontests:{SAMPLE}")
    assert len(problems) == len({problem.name for problem in problems}) == 115
    assert all(p.public_tests and p.private_tests and len(p.solutions) == 1 for p in problems)
    assert {problem.cpu_s for problem in problems} == {2.0}


def test_importing_problems_stays_light() -> None:
    code = "import sys, rlef.problems; sys.exit('rlef.problems.mini' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


FORMS = [
    ('{"call": "double(Pair(1))", "setup": "x = 1"}', '{"__python__": "(1, {2})"}'),
    ("[1]", '{"__check__": "g(result) > args[0]", "setup": "def g(n): return n"}'),
    ("[1]", '{"a": [1, null]}'),
]


def test_own_problems_keep_every_field(tmp_path: Path) -> None:
    tests = tuple(Test(given, wanted) for given, wanted in FORMS)
    whole = Problem(
        name="p",
        statement="é",
        public_tests=tests,
        private_tests=(),
        mode="function",
        entry_point="double",
        starter_code="def double(n):\n",
        prelude="import math\n",
        cpu_s=1.5,
        memory_mb=64,
        checker="float(abs=1e-3)",
        solutions=("a",),
        incorrect_solutions=("b",),
        family="f",
        hidden_detail="d",
        difficulty="easy",
        source="here",
        date="2024-01-02",
        tags=("x", "y"),
    )
    printed = Problem(
        name="q",
        statement="s",
        public_tests=(Test("1", "2"),),
        private_tests=(),
        language="cpp",
        checker="testlib",
        checker_source="int main() {}",
        cpp_solutions=("c",),
        incorrect_cpp_solutions=("d",),
    )
    path = tmp_path / "own.jsonl"
    write_jsonl([whole, printed], path)
    assert load_problems(f"jsonl:{path}") == [whole, printed]
    assert "memory_mb" not in path.read_text().splitlines()[1]


@pytest.mark.parametrize(
    ("given", "wanted", "words"),
    [
        ('{"call": 1}', "1", "test 2: allowed: a list of arguments, or"),
        ('{"setup": "x"}', "1", "test 2: allowed: a list of arguments, or"),
        ('{"call": "f(", "setup": ""}', "1", "test 2: call does not parse: '(' was never closed"),
        ('{"call": "f()", "setup": "x ="}', "1", "test 2: setup does not parse: invalid syntax"),
        ('{"call": "f()", "args": "1"}', "1", "test 2: allowed: a list of arguments"),
        ("3", "1", "test 2: allowed with mode function: inputs that are JSON lists"),
        ("[1]", "one", "test 2: allowed with mode function: inputs that are JSON lists"),
        ("[1]", '{"__python__": "f(1)"}', "test 2: __python__ is no literal of plain values: f(1)"),
        ("[1]", '{"__python__": 1.5, "x": 1}', ""),
        ("[1]", '{"__check__": "result >"}', "test 2: __check__ does not parse: invalid syntax"),
        ("[1]", '{"__check__": "1", "more": "x"}', 'allowed: {"__check__": EXPRESSION'),
    ],
)
def test_wrong_tests_of_functions_are_named(
    tmp_path: Path, given: str, wanted: str, words: str
) -> None:
    tests = [{"input": "[1]", "output": "1"}, {"input": given, "output": wanted}]
    path = write(tmp_path / "a.jsonl", {**OWN, "public_tests": tests})
    if not words:
        assert load_problems(f"jsonl:{path}")[0].public_tests[1].output == wanted
        return
    with pytest.raises(ProblemError) as caught:
        load_problems(f"jsonl:{path}")
    assert str(caught.value).startswith(f"{path}, line 1, field 'public_tests': ")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_literals_are_kept_as_repr_writes_them(tmp_path: Path) -> None:
    tests = [{"input": "[1]", "output": '{"__python__": "set([3, 1+1, -float(\'inf\')])"}'}]
    path = write(tmp_path / "a.jsonl", {**OWN, "public_tests": tests})
    output = load_problems(f"jsonl:{path}")[0].public_tests[0].output
    assert read_literal(json.loads(output)["__python__"]) == {3, 2, float("-inf")}


@pytest.mark.parametrize("checker", ["testlib", "tokens"])
def test_checker_programs_need_their_checker(tmp_path: Path, checker: str) -> None:
    source = {} if checker == "testlib" else {"checker_source": "int main() {}"}
    path = write(tmp_path / "a.jsonl", {**OWN, "checker": checker, **source})
    with pytest.raises(ProblemError, match="'checker_source': needed with checker testlib, allow"):
        load_problems(f"jsonl:{path}")
