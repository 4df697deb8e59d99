"""A name that loading lets through is one that the judge takes, and the other way round."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rlef.problems import ProblemError, load_problems
from rlef.problems.checker_names import BOTH, FUNCTION, TEXT, wrong_checker
from rlef.sandbox.checkers import ALLOWED, make_checker, make_json_checker

FLOATS = ["float", "float()", "float(abs=1e-6)", "float(rel=0)", "float(abs=.5,rel=1.)"]
WRONG = ["", "Tokens", "token", "float(", "float(abs)", "float(abs=-1)", "float(abs=nan)"]
WRONG += ["float(abs=1e)", "float(eps=1)", "float\n", "set()", "compat:", "tokens "]


def is_taken(make: Callable[[str], object], name: str) -> bool:
    try:
        make(name)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", [*BOTH, *FUNCTION, *TEXT, *FLOATS, *WRONG])
def test_loading_and_judging_agree(name: str) -> None:
    assert (wrong_checker(name, "stdin") is None) == is_taken(make_checker, name)
    assert (wrong_checker(name, "function") is None) == is_taken(make_json_checker, name)


def test_none_is_forgotten() -> None:
    names = {name for name in ALLOWED.split(", ") if not name.startswith(("float", "rel="))}
    assert names == {*BOTH, *TEXT}


def test_no_problem_may_accept_whatever_is_printed() -> None:
    assert is_taken(make_checker, "any") and not is_taken(make_json_checker, "any")
    assert wrong_checker("any", "stdin") is not None


GOOD = {"name": "a", "statement": "x", "public_tests": [{"input": "", "output": ""}]}
CALL = {"mode": "function", "entry_point": "f", "public_tests": [{"input": "[]", "output": "1"}]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"checker": "fuzzy"}, "field 'checker': is 'fuzzy'; allowed with mode stdin: float, "),
        ({**CALL, "checker": "set"}, "field 'checker': is 'set'; allowed with mode function: "),
        ({"cpu_s": 1e300}, "field 'cpu_s': is 1e+300; allowed: a number above 0, at most 100000"),
        ({"cpu_s": -1}, "field 'cpu_s': is -1; allowed: a number above 0"),
        ({"cpu_s": float("nan")}, "field 'cpu_s': is nan; allowed: a number above 0"),
        ({"cpu_s": float("inf")}, "field 'cpu_s': is "),
        ({"cpu_s": 10**400}, "field 'cpu_s': is a number of 401 digits; allowed: "),
        ({"memory_mb": 10**9}, "field 'memory_mb': is 1000000000; allowed: "),
        ({**CALL, "language": "cpp"}, "field 'language': is 'cpp'; allowed with mode function"),
        ({"language": "cpp", "prelude": "x"}, "field 'prelude': allowed with language python"),
    ],
)
def test_what_the_judge_would_refuse_is_refused_with_its_line(
    tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    path = tmp_path / "p.jsonl"
    record = {**GOOD, "private_tests": [], **fields}
    path.write_text(f"{json.dumps(record)}\n")
    with pytest.raises(ProblemError) as caught:
        load_problems(f"jsonl:{path}")
    assert str(caught.value).startswith(f"{path}, line 1, {message}")
