"""Problem sets that cannot be used are one line: file, line, field. What can be used is used."""

import json
from pathlib import Path
from typing import Any

import pytest

TWO = [{"input": "2\n", "output": "4\n"}]
GOOD = {
    "name": "double",
    "statement": "Print 2n.",
    "public_tests": TWO,
    "private_tests": [{"input": "3\n", "output": "6\n"}],
}
NO_STATEMENT = {key: value for key, value in GOOD.items() if key != "statement"}
NO_TESTS = {**GOOD, "name": "none", "public_tests": [], "private_tests": []}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.parametrize("judging", [True, False])
@pytest.mark.parametrize(
    ("text", "split", "message"),
    [
        (f"{json.dumps(GOOD)}\n{{", "", "p.jsonl, line 2: broken JSON"),
        (f"{json.dumps(NO_STATEMENT)}\n", "", "p.jsonl, line 1, field 'statement': missing"),
        (f"{json.dumps(GOOD)}\n{json.dumps(NO_TESTS)}\n", "", "p.jsonl, line 2, field 'public_te"),
        (f"{json.dumps(GOOD)}\n", ":test", "p.jsonl: is one file without splits; leave out :test"),
        ("", "", "p.jsonl"),
    ],
)
def test_broken_sets_are_one_line(
    rlef: Any, tmp_path: Path, judging: bool, text: str, split: str, message: str
) -> None:
    (tmp_path / "p.jsonl").write_text(text)
    samples = write(tmp_path / "s.jsonl", {"task_id": "double", "solution": "print(4)"})
    what = ["--samples-file", samples] if judging else ["mini"]
    words = ["--data", f"jsonl:{tmp_path}/p.jsonl{split}", "--out", tmp_path / "e"]
    code, out, err = rlef("eval", *what, *words)
    assert (code, out) == (2, "")
    assert err.startswith("rlef: ") and err.count("\n") == 1 and message in err
    assert not (tmp_path / "e").exists()


def test_unknown_splits_are_one_line(rlef: Any, tmp_path: Path) -> None:
    code, _, err = rlef("eval", "mini", "--data", "mini:tests", "--out", tmp_path / "e")
    assert (code, err) == (
        2,
        "rlef: unknown split 'tests' in 'mini:tests'; allowed: train, valid, dev, test\n",
    )


def test_lines_of_ten_megabytes(rlef: Any, tmp_path: Path) -> None:
    count = 5_000_000
    tests = [{"input": "7 " * count, "output": f"{count}\n"}]
    data = write(tmp_path / "p.jsonl", {**GOOD, "public_tests": tests, "private_tests": tests})
    samples = write(
        tmp_path / "s.jsonl",
        {"task_id": "double", "solution": "print(len(input().split()))"},
        {"task_id": "double", "solution": "print(len(input()))"},
    )
    words = ["--data", f"jsonl:{data}", "--out", tmp_path / "e", "--json"]
    code, out, _ = rlef("eval", "--samples-file", samples, *words)
    assert code == 0
    assert json.loads(out)["metrics"]["pass@1"]["estimate"] == 0.5


def test_problems_that_no_episode_can_use_are_left_out(rlef: Any, tmp_path: Path) -> None:
    data = write(tmp_path / "p.jsonl", GOOD, {**GOOD, "name": "open", "private_tests": []})
    words = ["--prompts", "mini", "--turns", 1, "--max-new-tokens", 8, "--out", tmp_path / "e"]
    code, out, err = rlef("eval", "mini", "--data", f"jsonl:{data}", *words, "--json")
    assert code == 0
    assert "1 of 2 problems has no public or no private tests and is left out" in err
    assert json.loads(out)["statistics"]["problems"] == 1


@pytest.mark.parametrize("kind", ["public_tests", "private_tests"])
def test_problems_of_which_no_episode_can_use_one_are_refused_at_once(
    rlef: Any, tmp_path: Path, kind: str
) -> None:
    spec = f"jsonl:{write(tmp_path / 'p.jsonl', {**GOOD, kind: []})}"
    why = "no problem has both public and private tests, so no episode can be run; allowed: "
    words = ["mini", "--data", spec, "--prompts", "mini", "--out", tmp_path / "e"]
    code, out, err = rlef("eval", *words)
    assert (code, out) == (2, "") and f"rlef: {spec}: {why}" in err and err.count("\n") == 1
    words = [f"data.test={spec}", "eval.random_feedback=false", "--out", tmp_path / "e"]
    code, out, err = rlef("train", "mini", *words)
    assert (code, out) == (2, "") and f"rlef: data.test ({spec}): {why}" in err
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ({"name": "other"}, "is of problem 'double', which is not number 0 of these 1; allowed: "),
        (
            {"private_tests": [{"input": "3\n", "output": "7\n"}]},
            "problem 'double' had another statement, other tests or limits then; allowed: ",
        ),
        ({"cpu_s": 1.5}, "had another statement, other tests or limits then"),
        ({"statement": "Print 3n."}, "had another statement, other tests or limits then"),
    ],
)
def test_a_problem_that_has_changed_is_named(
    rlef: Any, tmp_path: Path, then: dict[str, Any], message: str
) -> None:
    data = write(tmp_path / "p.jsonl", GOOD)
    words = ["eval", "mini", "--data", f"jsonl:{data}", "--prompts", "mini", "--turns", 1]
    words += ["--max-new-tokens", 8, "--out", tmp_path / "e"]
    assert rlef(*words).code == 0
    write(data, {**GOOD, **then})
    code, out, err = rlef(*words)
    assert (code, out) == (1, "")
    (line,) = [line for line in err.splitlines() if line.startswith("rlef: ")]
    assert "eval.jsonl:1" in line and message in line
