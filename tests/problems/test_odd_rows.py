"""Rows that no problem can be made of: an error that names the option, or left out and counted."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import rows
from rows import jsonl, parquet

from rlef.curation import find_duplicates
from rlef.problems import ProblemError, load_problems
from rlef.problems.integers import MOST_DIGITS, long_integers

OWN = {
    "name": "a",
    "statement": "s",
    "public_tests": [{"input": "1", "output": "2"}],
    "private_tests": [],
}
CALL = {"mode": "function", "entry_point": "f"}


def table(**change: object) -> dict[str, Any]:
    whole = {"inputs": ["1\n", "2\n"], "outputs": ["1\n", "2\n"], **change}
    return {"input_output": json.dumps(whole)}


def _deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


ODD = {
    "apps": (
        rows.APPS,
        "problem_id",
        [
            table(outputs=["1\n"]),
            table(outputs=["1\n", 2]),
            table(outputs="1\n"),
            table(fn_name="f", inputs=["1", "2"]),
            table(fn_name=3, inputs=[[1], [2]]),
            {"input_output": "not JSON"},
            {"input_output": "[" * 100_000},
            {"question": None},
            {"problem_id": None},
            {"solutions": 3},
        ],
    ),
    "codecontests": (
        rows.CONTEST,
        "name",
        [{"public_tests": {"input": ["1"], "output": []}}, {"time_limit": 3}, {"name": None}],
    ),
    "codecontestsplus": (
        rows.PLUS,
        "id",
        [{"test_cases": [3]}, {"description": 1}, {"correct_submissions": [{"code": 1}]}],
    ),
    "livecodebench": (
        rows.LIVE,
        "question_id",
        [{"public_test_cases": "{"}, {"private_test_cases": "!"}, {"question_content": None}],
    ),
    "mbpp": (rows.MBPP, "task_id", [{"test_list": []}, {"code": "x"}, {"test_list": ["x"]}]),
    "mbppplus": (
        rows.MBPP_HUB,
        "task_id",
        [
            {"test": "a = 1"},
            {"test": "inputs = [1]\nresults = [2]\nassertion(halve(*inp), exp, 0)"},
            {"test": "inputs = [[1]]\nresults = 2\nassertion(halve(*inp), exp, 0)"},
            {"test": "inputs = [[1]]\nassertion(halve(*inp), exp, x)"},
            {"test": "inputs = [[1]]\nassertion()"},
            {"test_list": ["x = 1"]},
            {"code": None},
        ],
    ),
    "humaneval": (
        rows.HUMAN,
        "task_id",
        [
            {"test": "x = 1"},
            {"test": "def check(candidate):\n    for _ in (1,):\n        assert candidate(1)"},
            {"test": "def check(candidate):\n    assert 1 < 2"},
        ],
    ),
    "humanevalplus": (
        rows.HUMAN_PLUS,
        "task_id",
        [{"base_input": 3}, {"canonical_solution": "    return 1 / 0\n"}, {"prompt": None}],
    ),
    "jsonl": (
        OWN,
        "name",
        [
            {"statement": 1},
            {"public_tests": []},
            {"public_tests": [{"input": "[1]", "output": "NaN"}], **CALL},
            {"more": 1},
            {"name": "kept"},
        ],
    ),
}


@pytest.mark.parametrize("scheme", ODD)
def test_odd_rows_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    good, key, changes = ODD[scheme]
    first: Any = {"name": "kept", "id": "kept", "question_id": "kept"}.get(key, good[key])
    other = 3 if type(good[key]) is int else "other"
    odd = [{**good, key: other, **change} for change in changes]
    path = jsonl(tmp_path / "a.jsonl", {**good, key: first}, *odd)
    with path.open("a") as file:
        file.write('[1]\n{"half": \n{"x": 1, "x": 2}\n')
    spec = f"{scheme}:{path}"
    (problem,) = load_problems(f"{spec}?broken=skip")
    assert problem.all_tests
    assert f"left out {len(odd) + 3} rows: {path}, line " in caplog.text
    assert f"; and {len(odd)} more" in caplog.text
    for field in changes[0]:
        assert f"line 2, field {field!r}: " in caplog.text
    for row in odd:
        with pytest.raises(ProblemError) as caught:
            load_problems(f"{scheme}:{jsonl(path, {**good, key: first}, row)}")
        words = str(caught.value)
        assert words.startswith(f"{path}, line 2, field ") and "\n" not in words
        assert words.endswith("; broken=skip leaves such rows out")


@pytest.mark.parametrize(
    "line", [b"{", b"[1]", b'{"a": 1, "a": 2}', b"\xff", b'"\xe2\x80\xa8"', b'{"a": 1} {"b": 2}']
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_lines_that_are_no_objects(tmp_path: Path, line: bytes, name: str) -> None:
    good = [json.dumps({**OWN, "name": name}).encode() for name in "ab"]
    content = b"\xef\xbb\xbf" + good[0] + b"\r\n\r\n" + line + b"\n" + good[1]
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert [p.name for p in load_problems(f"jsonl:{path}?broken=skip")] == ["a", "b"]
    with pytest.raises(ProblemError, match=r"line 3: .*; broken=skip leaves such rows out$"):
        load_problems(f"jsonl:{path}")


def test_what_is_left_when_all_rows_are_odd(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{\n")
    with pytest.raises(ProblemError, match=r"holds no problem; left out 1 row: .*, line 1: broken"):
        load_problems(f"jsonl:{path}?broken=skip")
    for content in ("", "\n\n", "\ufeff", "\ufeff\n"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ProblemError, match=r"a\.jsonl: holds no problem$"):
            load_problems(f"jsonl:{path}")
    with pytest.raises(ProblemError, match="broken is 'no'; allowed: error, skip"):
        load_problems(f"jsonl:{path}?broken=no")


def test_lists_of_json_are_named_where_they_break(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([OWN, 3, {**OWN, "name": "b"}]))
    assert [p.name for p in load_problems(f"jsonl:{path}?broken=skip")] == ["a", "b"]
    path.write_text(json.dumps([OWN], indent=1)[:-3])
    with pytest.raises(ProblemError, match=r"a\.json: broken JSON \(Expecting .* line 1\d column"):
        load_problems(f"jsonl:{path}")


def test_numbers_of_taco_do_not_change_where_rows_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [json.dumps(rows.TACO), "[1]", json.dumps({**rows.TACO, "question": 1})]
    path.write_text("\n".join([*lines, "{", json.dumps(rows.TACO)]))
    assert [p.name for p in load_problems(f"taco:{path}?broken=skip")] == [
        "taco/row/0",
        "taco/row/4",
    ]


def test_a_name_that_stands_twice_gets_a_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("double", "double", "half", "double#2", "double")
    contests = [{**rows.CONTEST, "name": name, "source": i} for i, name in enumerate(names)]
    wanted = ["double", "double#2", "half", "double#2#2", "double#3"]
    for path in (
        jsonl(tmp_path / "a.jsonl", *contests),
        parquet(tmp_path / "a.parquet", *contests),
    ):
        problems = load_problems(f"codecontests:{path}")
        assert [problem.name for problem in problems] == wanted
        assert [problem.source for problem in problems][1] == "codechef"
        assert "names that stand twice get a number: 'double#2' (" in caplog.text
        first = load_problems(f"codecontests:{path}?source=codechef")
        assert [problem.name for problem in first] == ["double#2"]
    found = [[f.message for f in one if f.kind == "same-name"] for one in find_duplicates(problems)]
    words = "its name in the set is {}, as that of an earlier problem"
    assert found == [[], [words.format("double")], [], [words.format("double#2")], [
        words.format("double")
    ]]  # fmt: skip


@pytest.mark.parametrize("levels", range(60, 960, 100))
def test_values_that_are_nested_deeply(tmp_path: Path, levels: int) -> None:
    deep = {"test_list": [f"assert double({'not ' * levels}True)"]}
    call = table(fn_name="f", inputs=[[1], [_deep(levels)]])
    for scheme, good, change in (("mbpp", rows.MBPP, deep), ("apps", rows.APPS, call)):
        path = jsonl(tmp_path / f"{scheme}.jsonl", good, {**good, **change})
        try:
            load_problems(f"{scheme}:{path}")
        except ProblemError as error:
            assert str(error).startswith(f"{path}, line 2") and "\n" not in str(error)
        assert load_problems(f"{scheme}:{path}?broken=skip")


def test_many_rows_of_one_name(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", *[{**rows.CONTEST, "name": "a"}] * 300)
    found = [problem.name for problem in load_problems(f"codecontests:{path}")]
    assert found == ["a", *(f"a#{number}" for number in range(2, 301))]


def test_integers_of_many_digits_load_everywhere(tmp_path: Path) -> None:
    before, digits = sys.get_int_max_str_digits(), "9" * 5000
    number = int(digits[:4000]) * 10**1000 + int(digits[:1000])
    tests = [{"input": f"[{digits}]", "output": digits}]
    tests += [{"input": "[1]", "output": json.dumps({"__python__": f"({digits},)"})}]
    path = jsonl(tmp_path / "own.jsonl", {**OWN, **CALL, "public_tests": tests})
    (own,) = load_problems(f"jsonl:{path}")
    assert own.public_tests[0].output == digits and digits in own.public_tests[1].output
    assert_ = f"assert swap((1, {digits})) == ({digits}, 1)"
    path = jsonl(tmp_path / "mbpp.jsonl", {**rows.MBPP, "test_list": [assert_]})
    assert digits in load_problems(f"mbpp:{path}")[0].public_tests[0].output
    test = f"def check(candidate):\n    assert candidate([{digits}]) == [{digits[:-1]}0]\n"
    path = jsonl(tmp_path / "human.jsonl", {**rows.HUMAN, "test": test})
    assert digits in load_problems(f"humaneval:{path}")[0].public_tests[0].input
    with long_integers():
        path = jsonl(tmp_path / "plus.jsonl", {**rows.HUMAN_PLUS, "plus_input": [[[number]]]})
    (plus,) = load_problems(f"humanevalplus:{path}")
    assert f"[1{'0' * 5000}]" in plus.private_tests[0].output
    assert sys.get_int_max_str_digits() == before
    long = "1" * (MOST_DIGITS + 1)
    path = jsonl(
        tmp_path / "a.jsonl",
        {**OWN, **CALL, "public_tests": [{"input": f"[{long}]", "output": "1"}]},
    )
    with pytest.raises(ProblemError, match=r"test 1: .*Exceeds the limit \(100000 digits\)"):
        load_problems(f"jsonl:{path}")


@pytest.mark.parametrize("output", ["NaN", "[Infinity]", "1e400", '{"a": 1, "a": 2}'])
def test_outputs_that_nothing_equals_are_named(tmp_path: Path, output: str) -> None:
    row = {**OWN, **CALL, "public_tests": [{"input": "[1]", "output": output}]}
    with pytest.raises(ProblemError, match=r"field 'public_tests': test 1: .*allowed as outputs"):
        load_problems(f"jsonl:{jsonl(tmp_path / 'a.jsonl', row)}")


def test_options_of_the_mini_problems() -> None:
    whole = load_problems("mini:test")
    assert load_problems("mini:test?first=3") == whole[:3]
    assert {p.checker for p in load_problems("mini:test?first=2&checker=lines")} == {"lines"}
    with pytest.raises(ProblemError, match="unknown option 'frist'; allowed: difficulty"):
        load_problems("mini:test?frist=3")
    with pytest.raises(ProblemError, match="unknown split 'tset' in 'mini:tset"):
        load_problems("mini:tset?first=3")
