import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlef.curation import ProblemCheck
from rlef.problems import Problem, Test, load_problems
from rlef.problems.jsonl import write_jsonl

CLEAN = Problem(
    name="double",
    statement="Read n, print 2n.",
    public_tests=(Test("2", "4"),),
    private_tests=(Test("7", "14"), Test("1", "2")),
    solutions=("print(2 * int(input()))",),
)
PROBLEMS = [
    CLEAN,
    replace(CLEAN, name="again"),
    replace(CLEAN, name="broken", statement="Nobody solves this.", solutions=("print(4)",)),
    replace(CLEAN, name="twice", statement="A test twice.", private_tests=(Test("7", "14"),) * 2),
    replace(
        CLEAN,
        name="float",
        statement="Divide by three.",
        solutions=("print(int(input()) / 3)",),
        public_tests=(Test("2", "0.66666667"),),
        private_tests=(Test("7", "2.33333333"), Test("1", "0.33333333")),
    ),
]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def run(*problems: Problem, name: str = "problems.jsonl") -> str:
        write_jsonl(problems, tmp_path / name)
        return f"jsonl:{tmp_path / name}"

    return run


def test_clean_set_exits_with_0(rlef: Any, write: Any) -> None:
    assert rlef("data", "check", write(CLEAN)) == (
        0,
        "1 problem, 1 program run: 0 errors, 0 warnings in 0 problems\n",
        "",
    )


def test_findings_are_counted_and_listed_errors_first(rlef: Any, write: Any) -> None:
    code, out, err = rlef("data", "check", write(*PROBLEMS))
    assert (code, err) == (1, "")
    table, lines, last = out.split("\n\n")
    rows = [line.split()[:3] for line in table.splitlines()[1:]]
    assert [row for row in rows if row[0] == "1"] == [
        ["1", "reference-fails", "error"],
        ["1", "needs-checker", "error"],
        ["1", "duplicate-problem", "error"],
        ["1", "duplicate-tests", "warning"],
    ]
    assert [line.split(": ")[:2] for line in lines.splitlines()] == [
        ["again", "duplicate-problem"],
        ["broken", "reference-fails"],
        ["float", "needs-checker"],
        ["twice", "duplicate-tests"],
    ]
    assert last == "5 problems, 5 programs run: 3 errors, 1 warning in 4 problems\n"


def test_warnings_alone_exit_with_0(rlef: Any, write: Any) -> None:
    code, out, _ = rlef("data", "check", write(PROBLEMS[3]))
    assert code == 0
    assert "twice: duplicate-tests: private test 2 is private test 1\n" in out


def test_json_has_everything(rlef: Any, write: Any, tmp_path: Path) -> None:
    spec, out = write(*PROBLEMS), tmp_path / "check.json"
    code, printed, err = rlef("data", "check", spec, "--json", "--out", out)
    assert (code, err) == (1, "")
    result = json.loads(printed)
    stored = json.loads(out.read_text())
    assert result == stored
    assert (result["spec"], result["complete"], result["problems"]) == (spec, True, 5)
    assert (result["errors"], result["warnings"]) == (3, 1)
    assert result["counts"]["needs-checker"] == 1
    (finding,) = [f for f in result["findings"] if f["problem"] == "float"]
    assert (finding["severity"], finding["programs"]) == ("error", ["solutions[0]"])
    assert finding["repair"]["checker"] == "float"
    runs = {run["problem"]: run for run in result["programs"]}
    assert (runs["broken"]["verdict"], runs["broken"]["test"]) == ("WA", "private test 1")
    assert runs["double"]["cpu_s"] > 0
    assert result["fix"] is None


def test_fix_writes_a_set_that_is_clean(rlef: Any, write: Any, tmp_path: Path) -> None:
    fixed = tmp_path / "fixed.jsonl"
    code, out, _ = rlef("data", "check", write(*PROBLEMS), "--fix", fixed)
    assert code == 0  # nothing is left
    assert "kept 3, dropped 2, left to say: nothing\n" in out
    assert f"written: {fixed}\n" in out
    assert "float: needs-checker: checker tokens -> float\n" in out
    kept = load_problems(f"jsonl:{fixed}")
    assert kept == [
        CLEAN,
        replace(PROBLEMS[3], private_tests=PROBLEMS[3].private_tests[:1]),
        replace(PROBLEMS[4], checker="float"),
    ]
    assert rlef("data", "check", f"jsonl:{fixed}").out == (
        "3 problems, 3 programs run: 0 errors, 0 warnings in 0 problems\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fixed.jsonl", "problems.jsonl"]


def test_fix_with_another_set_drops_what_is_in_it(rlef: Any, write: Any, tmp_path: Path) -> None:
    spec, other = write(CLEAN, PROBLEMS[3]), write(CLEAN, name="other.jsonl")
    code, out, _ = rlef("data", "check", spec, "--against", other, "--json")
    assert code == 1
    (found,) = [f for f in json.loads(out)["findings"] if f["kind"] == "in-other-set"]
    assert (found["problem"], found["other"]) == ("double", "double")
    fixed = tmp_path / "fixed.jsonl"
    code, out, _ = rlef("data", "check", spec, "--against", other, "--fix", fixed, "--json")
    fix = json.loads(out)["fix"]
    assert (code, fix["kept"], fix["dropped"], fix["left"]) == (0, 1, ["double"], [])
    assert [p.name for p in load_problems(f"jsonl:{fixed}")] == ["twice"]


def test_fix_that_leaves_nothing_writes_nothing(rlef: Any, write: Any, tmp_path: Path) -> None:
    fixed = tmp_path / "fixed.jsonl"
    code, out, _ = rlef("data", "check", write(PROBLEMS[2]), "--fix", fixed)
    assert code == 1
    assert "written: nowhere: no problem is left\n" in out
    assert not fixed.exists()


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_standard_output_that_gets_the_json_has_nothing_else(
    rlef: Any, write: Any, more: list[str]
) -> None:
    words = ["data", "check", write(*PROBLEMS), "--out", "/dev/stdout"]
    code, out, err = rlef(*words, *more)
    assert (code, err) == (1, "")
    assert json.loads(out)["problems"] == len(PROBLEMS)


def test_limit_and_progress(rlef: Any, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlef.cli.data_check._SAY_EVERY_S", 0.0)
    code, out, err = rlef("data", "check", write(*PROBLEMS), "--limit", 1, "--workers", 1)
    assert (code, out.split(",")[0]) == (0, "1 problem")
    assert err == "1/1 problems, 0 with findings, 0:00 left\n"


def test_many_lines_are_cut_with_a_note(
    rlef: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlef.cli.data_check._LINES", 2)
    _, out, _ = rlef("data", "check", write(*PROBLEMS))
    assert "... and 2 more findings: see --json or --out\n" in out


def test_ctrl_c_keeps_what_was_found(
    rlef: Any, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlef.curation import check_problems

    def interrupted(*args: Any, **options: Any) -> Iterator[tuple[int, ProblemCheck]]:
        for place, check in check_problems(*args, **options):
            if place == 3:
                yield place, check
                raise KeyboardInterrupt

    monkeypatch.setattr("rlef.curation.check_problems", interrupted)
    out, fixed = tmp_path / "check.json", tmp_path / "fixed.jsonl"
    words = ("data", "check", write(*PROBLEMS), "--out", out, "--fix", fixed)
    code, printed, err = rlef(*words)
    assert code == 130
    assert err == f"interrupted: 1 problem done\n{fixed} is not written\n"
    assert "twice: duplicate-tests: private test 2 is private test 1\n" in printed
    result = json.loads(out.read_text())
    assert (result["complete"], result["problems"], result["fix"]) == (False, 1, None)
    assert not fixed.exists()


def test_a_judge_that_goes_leaves_what_was_found(
    rlef: Any, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlef.curation import check_problems
    from rlef.sandbox import SandboxError

    def gone(*args: Any, **options: Any) -> Iterator[tuple[int, ProblemCheck]]:
        yield next(iter(check_problems(*args, **options)))
        raise SandboxError("no judge answers")

    monkeypatch.setattr("rlef.curation.check_problems", gone)
    out = tmp_path / "check.json"
    code, _, err = rlef("data", "check", write(*PROBLEMS), "--out", out)
    assert (code, err) == (1, "stopped: 1 problem done\nrlef: no judge answers\n")
    assert json.loads(out.read_text())["complete"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nosuch:x"], "unknown data set 'nosuch' in 'nosuch:x'; allowed: "),
        (["{spec}", "--against", "jsonl:/nowhere.jsonl"], "/nowhere.jsonl"),
        (["{empty}"], "empty.jsonl: holds no problem"),
        (["{spec}", "--limit", "0"], "Invalid value for '--limit'"),
        (["{spec}", "--fix", "{folder}/problems.jsonl"], "problems.jsonl exists; allowed: a new"),
        (["{spec}", "--fix", "{folder}/fixed.json"], "allowed: a name that ends with .jsonl"),
        (["{spec}", "--fix", "/nowhere/fixed.jsonl"], "there is no folder /nowhere"),
        (["{spec}", "--out", "{folder}"], "is a folder; allowed: a file in an existing folder"),
    ],
)
def test_wrong_words_exit_with_2(
    rlef: Any, write: Any, tmp_path: Path, words: list[str], message: str
) -> None:
    spec, empty = write(CLEAN), write(name="empty.jsonl")
    names = {"spec": spec, "empty": empty, "folder": tmp_path}
    code, out, err = rlef("data", "check", *(word.format(**names) for word in words))
    assert (code, out) == (2, "")
    assert message in err


SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "codecontests_sample.jsonl"


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample is not there")
def test_the_codecontests_sample_is_clean_but_for_known_reasons(rlef: Any) -> None:
    """The findings that ``docs/data-check.md`` explains, each looked at by hand."""
    code, out, _ = rlef("data", "check", f"codecontests:{SAMPLE}", "--json")
    result = json.loads(out)
    assert (code, result["problems"], len(result["programs"])) == (1, 115, 115)
    limits = {"tight-limit", "limit-exceeded"}  # of a busy machine there may be more than one
    slow = [f["message"] for f in result["findings"] if f["kind"] in limits]
    assert any("MB, limit 244 MB" in message for message in slow)
    counts = {kind: count for kind, count in result["counts"].items() if kind not in limits}
    assert counts == {"duplicate-problem": 10, "near-duplicate": 2, "duplicate-tests": 1}
