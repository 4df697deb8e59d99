import io
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rlef.cli.common import say
from rlef.languages import LANGUAGES
from rlef.sandbox import JudgeJob, JudgeReport, Sandbox
from rlef.sandbox.build import can_run

DOUBLE = "print(2 * int(input()))\n"


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of a program that ends says nothing meanwhile, however busy the machine is."""
    monkeypatch.setattr("rlef.cli.judge._SILENT_S", 600.0)


def piped(data: bytes) -> io.TextIOWrapper:
    """What a process has as its standard input."""
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="surrogateescape")


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "program.py"
        path.write_text(text)
        return path

    return write


def test_accepted_program_exits_with_0(
    rlef: Any, problems: str, program: Callable[[str], Path]
) -> None:
    code, out, err = rlef("judge", program(DOUBLE), "--data", problems, "--problem", "double")
    assert code == 0
    rows = [line.split()[:3] for line in out.splitlines()[1:4]]
    assert rows == [["1", "public", "AC"], ["2", "private", "AC"], ["3", "private", "AC"]]
    assert out.endswith("double: AC, 3 of 3 tests\n")
    assert err == ""


def test_wrong_program_exits_with_1(
    rlef: Any, problems: str, program: Callable[[str], Path]
) -> None:
    path = program("print(4)")
    code, out, _ = rlef("judge", path, "--data", problems, "--problem", "double")
    assert code == 1
    assert out.endswith("double: WA, 1 of 3 tests\n")
    assert "14" in out


def test_json_has_every_test(rlef: Any, problems: str, program: Callable[[str], Path]) -> None:
    path = program("print(4)")
    code, out, _ = rlef("judge", path, "--data", problems, "--problem", "double", "--json")
    assert code == 1
    report = json.loads(out)
    assert (report["problem"], report["verdict"]) == ("double", "WA")
    tests = [(test["set"], test["verdict"]) for test in report["tests"]]
    assert tests == [("public", "AC"), ("private", "WA"), ("private", "WA")]
    assert {"cpu_s", "wall_s", "memory_mb", "message"} < report["tests"][0].keys()


def test_program_from_standard_input(
    rlef: Any, problems: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", piped(b"def add(a, b):\n    return a + b\n"))
    code, out, _ = rlef("judge", "-", "--data", problems, "--problem", "add")
    assert (code, out.splitlines()[-1]) == (0, "add: AC, 2 of 2 tests")


def test_standard_input_is_read_once(rlef: Any, program: Callable[[str], Path]) -> None:
    code, _, err = rlef("judge", "-", "--input", "-", "--expected", program(""))
    assert code == 2 and "- is given twice" in err


def test_unknown_problem_is_one_line_and_2(
    rlef: Any, problems: str, program: Callable[[str], Path]
) -> None:
    code, out, err = rlef("judge", program(DOUBLE), "--data", problems, "--problem", "doubel")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("rlef: no problem 'doubel' in ")
    assert "did you mean 'double'?" in err


@pytest.mark.parametrize("data", ["nothing:x", "jsonl:/nowhere/x.jsonl", "jsonl:"])
def test_unknown_data_is_one_line_and_2(
    rlef: Any, data: str, program: Callable[[str], Path]
) -> None:
    code, out, err = rlef("judge", program(DOUBLE), "--data", data, "--problem", "x")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_program_that_cannot_be_read(rlef: Any, problems: str, tmp_path: Path) -> None:
    missing = tmp_path / "none.py"
    code, _, err = rlef("judge", missing, "--data", problems, "--problem", "double")
    assert (code, err) == (2, f"rlef: {missing}: No such file or directory\n")
    code, _, err = rlef("judge", tmp_path, "--data", problems, "--problem", "double")
    assert code == 2
    assert "is a folder; allowed: a file or -" in err
    (tmp_path / "latin.py").write_bytes(b"# \xe4\n")
    code, _, err = rlef("judge", tmp_path / "latin.py", "--data", problems, "--problem", "double")
    assert code == 2
    assert "is not UTF-8" in err


def test_standard_input_that_is_not_utf_8(
    rlef: Any, problems: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", piped(b"# \xe4\n"))
    code, out, err = rlef("judge", "-", "--data", problems, "--problem", "double")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("rlef: - is not UTF-8: ")


@pytest.mark.parametrize("is_piped", [False, True])
def test_ends_of_lines_are_read_as_they_are(
    rlef: Any,
    program: Callable[[str], Path],
    tmp_path: Path,
    is_piped: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = program("import sys\nprint(sys.stdin.buffer.read())\n")
    given, expected = tmp_path / "in.txt", tmp_path / "out.txt"
    given.write_bytes(b"1\r\n2\r3\n")
    expected.write_bytes(b"b'1\\r\\n2\\r3\\n'\r\n")
    monkeypatch.setattr("sys.stdin", piped(given.read_bytes()))
    words = ["--input", "-" if is_piped else given, "--expected", expected]
    code, out, _ = rlef("judge", path, *words)
    assert code == 0, out


def test_two_files_stand_for_a_problem(rlef: Any, program: Callable[[str], Path]) -> None:
    path = program(DOUBLE)
    given, expected = path.with_name("in.txt"), path.with_name("out.txt")
    given.write_text("21\n")
    expected.write_text("42\n")
    code, out, err = rlef("judge", path, "--input", given, "--expected", expected)
    assert (code, out.splitlines()[-1], err) == (0, "in.txt: AC, 1 of 1 tests", "")
    expected.write_text("43\n")
    assert rlef("judge", path, "--input", given, "--expected", expected).code == 1


CPP = "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << 2 * n; }\n"


@pytest.mark.parametrize(
    ("name", "words", "verdict", "is_said"),
    [
        ("a.cpp", [], "AC", True),
        ("a.cc", ["--language", "cpp"], "AC", False),
        ("a.txt", ["--language", "cpp"], "AC", False),
        ("a.txt", [], "CE", False),
        ("a.cpp", ["--language", "python"], "CE", False),
    ],
)
def test_the_language_is_told_or_the_files_or_the_problems(
    rlef: Any,
    problems: str,
    tmp_path: Path,
    name: str,
    words: list[str],
    verdict: str,
    is_said: bool,
) -> None:
    path = tmp_path / name
    path.write_text(CPP)
    _, out, err = rlef("judge", path, "--data", problems, "--problem", "double", *words)
    assert out.splitlines()[-1].startswith(f"double: {verdict}, ")
    assert ("judged as C++, by its name; double is a problem in Python" in err) == is_said


@pytest.mark.skipif(not can_run(LANGUAGES["rust"]), reason="needs rustc and cc")
def test_a_rust_file_is_judged(rlef: Any, problems: str, tmp_path: Path) -> None:
    path = tmp_path / "main.rs"
    path.write_text(
        "fn main() {\n    let mut s = String::new();\n"
        "    std::io::stdin().read_line(&mut s).unwrap();\n"
        '    println!("{}", 2 * s.trim().parse::<i64>().unwrap());\n}\n'
    )
    code, _, err = rlef("judge", path, "--data", problems, "--problem", "double")
    assert code == 0 and "judged as Rust, by its name; double is a problem in Python" in err


@pytest.mark.skipif(not can_run(LANGUAGES["javascript"]), reason="needs node")
def test_a_javascript_file_is_judged(rlef: Any, problems: str, tmp_path: Path) -> None:
    path = tmp_path / "main.js"
    path.write_text("console.log(2 * require('fs').readFileSync(0, 'utf8'))\n")
    code, _, err = rlef("judge", path, "--data", problems, "--problem", "double")
    assert code == 0 and "judged as JavaScript, by its name" in err


def test_an_error_of_compiling_stands_once(
    rlef: Any, problems: str, program: Callable[[str], Path]
) -> None:
    words = ["--data", problems, "--problem", "double"]
    code, out, _ = rlef("judge", program("print("), *words)
    assert code == 1
    assert out.count("SyntaxError") == 1
    assert [line.split()[2] for line in out.splitlines() if line[:4].strip().isdigit()] == [
        *("CE", "CE", "CE")
    ]
    _, out, _ = rlef("judge", program("print("), *words, "--json")
    assert len(json.loads(out)["tests"]) == 3


def test_a_slow_test_is_named(
    rlef: Any, problems: str, program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said, judge_many = threading.Event(), Sandbox.judge_many

    def telling(text: str) -> None:
        say(text)
        said.set()

    def judged(self: Sandbox, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
        assert said.wait(20)
        said.clear()
        return judge_many(self, jobs)

    monkeypatch.setattr("rlef.cli.judge._SILENT_S", 0.0)
    monkeypatch.setattr("rlef.cli.judge.say", telling)
    monkeypatch.setattr(Sandbox, "judge_many", judged)
    path = program(DOUBLE)
    code, _, err = rlef("judge", path, "--data", problems, "--problem", "double")
    assert code == 0
    assert "test 2 of 3 runs, for at most 10 s" in err


def test_an_interrupt_says_that_nothing_is_kept(
    rlef: Any, problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    program = tmp_path / "p.py"
    program.write_text("print(1)\n")
    monkeypatch.setattr("rlef.serve.client.Sandbox", interrupted)
    code, out, err = rlef("judge", program, "--data", problems, "--problem", "double")
    assert (code, out) == (130, "")
    assert err == "\nstopped; nothing of this call is kept\n"
