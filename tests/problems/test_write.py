"""Problems of every data set, written in our own format, come back equal."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import rows
from rows import jsonl

from rlef.problems import Problem, ProblemError, Test, load_problems
from rlef.problems.integers import long_integers
from rlef.problems.literals import literal_text
from rlef.problems.odd import OddRows
from rlef.problems.reference import RESULT, Reference
from rlef.problems.write import FORMS, _schema, write_problems

SETS = {
    "codecontests": [rows.CONTEST],
    "codecontestsplus": [rows.PLUS],
    "apps": [rows.APPS, rows.APPS_CALL],
    "taco": [rows.TACO],
    "livecodebench": [rows.LIVE, rows.LIVE_CALL],
    "mbpp": [rows.MBPP, rows.SANITIZED],
    "mbppplus": [rows.MBPP_PLUS],
    "humaneval": [rows.HUMAN, rows.LOOPED],
    "humanevalplus": [rows.HUMAN_PLUS],
}
ALL = Problem(
    name="all",
    statement="Zahl ⟶ Zahl\u2028\n",
    public_tests=(
        Test("[1]", json.dumps({"__python__": "{'a', 'b', 'ab', (1, frozenset({2}))}"})),
    ),
    private_tests=(
        Test('{"call": "f(x)", "setup": "x = 1"}', '{"__check__": "result > 1"}'),
        Test("[]", "1" * 5000),
    ),
    mode="function",
    entry_point="f",
    starter_code="def f(x):\n",
    prelude="import math\n",
    cpu_s=2.5,
    memory_mb=256,
    checker="float(abs=1e-3)",
    solutions=("def f(x): return 2",),
    incorrect_solutions=("def f(x): return 1", ""),
    cpp_solutions=("int main() {}",),
    incorrect_cpp_solutions=("int main() { return 1; }",),
    family="numbers",
    hidden_detail="none",
    difficulty="easy",
    source="here",
    date="2024-08-31",
    tags=("a", "b"),
)
PRINTED = Problem(
    name="printed",
    statement="Print it.",
    public_tests=(),
    private_tests=(Test("1\r\n", "2"),),
    language="cpp",
    checker="testlib",
    checker_source="int main() {}",
)


def run_here(references: Sequence[Reference], odd: OddRows) -> list[list[Any] | None]:
    """Runs the programs of these rows, which are ours, without a jail."""
    found: list[list[Any] | None] = []
    for reference in references:
        names: dict[str, Any] = {}
        exec(reference.program, names)
        found.append(names[RESULT]())
    return found


def again(problems: list[Problem], folder: Path, form: str) -> list[Problem]:
    path = folder / f"written.{form}"
    write_problems(problems, path, form)
    return load_problems(f"jsonl:{path}")


@pytest.mark.parametrize("form", FORMS)
def test_every_field_comes_back(tmp_path: Path, form: str) -> None:
    assert {field.name for field in fields(Problem)} == set(_schema().names)
    with long_integers():
        text = literal_text({"ab", "b", "a", (1, frozenset({2}))})
    written = replace(ALL, public_tests=(Test("[1]", json.dumps({"__python__": text})),))
    assert again([ALL, PRINTED], tmp_path, form) == [written, PRINTED]


@pytest.mark.parametrize("name", SETS)
def test_every_data_set_comes_back(tmp_path: Path, name: str) -> None:
    spec = f"{name}:{jsonl(tmp_path / 'test.jsonl', *SETS[name])}"
    problems = load_problems(spec, run=run_here)
    assert all(problem.private_tests for problem in problems)
    for form in FORMS:
        assert again(problems, tmp_path, form) == problems


def test_the_mini_problems_come_back(tmp_path: Path) -> None:
    problems = load_problems("mini:valid?first=40")
    assert again(problems, tmp_path, "parquet") == problems


def test_equal_problems_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_problems([ALL], tmp_path / name, "jsonl.gz")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_half_a_character_stays_in_lines_and_is_told_of_in_tables(tmp_path: Path) -> None:
    odd = replace(PRINTED, incorrect_solutions=("\ud800",))
    assert again([odd], tmp_path, "jsonl") == [odd]
    with pytest.raises(
        ProblemError, match=r"problem 'printed', field 'incorrect_solutions': holds"
    ):
        again([odd], tmp_path, "parquet")


def test_datasets_gives_the_same_columns_whatever_is_in_them(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    found = []
    for problem in (ALL, PRINTED):
        path = tmp_path / f"{problem.name}.parquet"
        write_problems([problem], path, "parquet")
        cache = str(tmp_path / "cache")
        loaded = datasets.load_dataset(
            "parquet", data_files=str(path), cache_dir=cache, split="train"
        )
        found.append(loaded.features)
        assert loaded[0]["private_tests"][0]["output"] == problem.private_tests[0].output
    assert found[0] == found[1]
