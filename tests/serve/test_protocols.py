"""What other trainers send and read, by the words of their own sources."""

import base64
import json
import pickle
import zlib
from typing import Any

import pytest
from serving import ask, real

from rlef.sandbox import Sandbox, TestReport, Verdict
from rlef.serve.errors import NotJudgedError, RefusedError
from rlef.serve.protocols import codeforces, open_instruct, piston, sandbox_fusion
from rlef.serve.protocols.fusion_compare import same_stdout
from rlef.serve.schema import MOST_TESTS
from rlef.serve.settings import ServeSettings

SETTINGS = ServeSettings()


# --- SandboxFusion ---


@pytest.mark.parametrize(
    ("fields", "status", "command", "expected"),
    [
        ({"code": "print(input())", "stdin": "hi"}, "Success", "run", ("Finished", 0, "hi\n")),
        ({"code": "print(1); exit(3)"}, "Failed", "run", ("Finished", 3, "1\n")),
        ({"code": "import os; os.abort()"}, "Failed", "run", ("Finished", -6, "")),
        ({"code": "print("}, "Failed", "run", ("Finished", 1, "")),
        (
            {"code": "print(1, flush=True)\nwhile 1: pass", "run_timeout": 0.3},
            *("Failed", "run", ("TimeLimitExceeded", None, "1\n")),
        ),
        ({"code": "int main() {", "language": "cpp"}, "Failed", "compile", ("Finished", 1, "")),
        (
            {"code": "int main() { return 4; }", "language": "cpp"},
            *("Failed", "run", ("Finished", 4, "")),
        ),
    ],
)
def test_run_code(
    where: str, fields: dict[str, Any], status: str, command: str, expected: tuple[Any, ...]
) -> None:
    """verl's client sends these fields; ``files`` and ``fetch_files`` empty."""
    sent = {"language": "python", "compile_timeout": 10, "run_timeout": 5, "memory_limit_MB": 1024}
    found, value, _ = ask(where, "/run_code", sent | {"files": {}, "fetch_files": []} | fields)
    assert found == 200 and value["status"] == status and value["message"] == ""
    result = value[f"{command}_result"]
    assert (result["status"], result["return_code"], result["stdout"]) == expected
    if command == "compile":
        assert value["run_result"] is None and "error" in result["stderr"]
    if "print(" in fields["code"] and expected[1] == 1:
        assert "SyntaxError" in result["stderr"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"language": "go"}, "language 'go' is not served; allowed: python, cpp, rust, nodejs"),
        ({"files": {"a": "eA=="}}, "files and fetch_files are not served"),
        ({"fetch_files": ["a"]}, "files and fetch_files are not served"),
        ({"run_timeout": 1000}, "field 'limits.cpu_s' is 1000; allowed here: up to 60"),
    ],
)
def test_run_code_says_what_it_does_not_do(where: str, fields: dict[str, Any], line: str) -> None:
    status, value, _ = ask(where, "/run_code", {"code": "1"} | fields)
    assert status == 422 and value["detail"].startswith(line)


def test_nothing_known_is_an_error_of_the_sandbox() -> None:
    """Which verl counts apart (-1, sandbox_error), and the SDK asks again."""
    from rlef.sandbox import JudgeReport

    lost = TestReport(verdict=Verdict.IE, message="the jail failed")
    report = JudgeReport(verdict=Verdict.IE, tests=(lost,))
    value = sandbox_fusion.run_result(report, 0, "python")
    assert (value["status"], value["run_result"]) == ("SandboxError", None)
    cut = TestReport(verdict=Verdict.OLE, stdout="x", message="printed more", exit_status=0)
    value = sandbox_fusion.run_result(JudgeReport(verdict=Verdict.OLE, tests=(cut,)), 0, "python")
    assert value["status"] == "Failed" and value["run_result"]["return_code"] == 1
    with pytest.raises(NotJudgedError):
        open_instruct.result(report)


def submission(completion: str, tests: Any, **config: Any) -> dict[str, Any]:
    config = {"language": "python", "provided_data": {"test": tests}} | config
    return {"dataset": "any", "id": 7, "completion": completion, "config": config}


def test_submit(where: str) -> None:
    tests = [
        {"input": {"stdin": "1"}, "output": {"stdout": "ONE 0.3333333\n"}},
        {"input": {"stdin": "2"}, "output": {"stdout": "x"}},
        {"input": {"stdin": "3"}, "output": {"stdout": "one 0.3333333"}},
    ]
    answer = "So:\n```text\nno\n```\n```python\nprint('one', end=' ')\nprint(0.3333333)\n```\n"
    status, value, _ = ask(where, "/submit", submission(answer, json.dumps(tests)))
    assert status == 200 and not value["accepted"] and value["id"] == 7
    assert value["extracted_code"].startswith("print('one'")
    assert [test["passed"] for test in value["tests"]] == [True, False]
    every = submission(answer, tests, extra={"run_all_cases": True})
    assert [t["passed"] for t in ask(where, "/submit", every)[1]["tests"]] == [True, False, True]
    assert ask(where, "/submit", submission(answer, tests[:1]))[1]["accepted"]
    assert ask(where, "/submit", submission(answer, [0] * (MOST_TESTS + 1)))[0] == 422
    asked = sandbox_fusion.Submit.model_validate
    for sent, stops in ((submission(answer, tests), True), (every, False)):
        made = sandbox_fusion.submit_job(asked(sent), ServeSettings())
        assert made.stop_at_first_failure is stops
    for wrong in ({"dataset_type": "HumanEvalDataset"}, {"provided_data": None}):
        assert ask(where, "/submit", submission(answer, tests, **wrong))[0] == 400


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("a b\n", "A B", True),
        (" a\nb ", "a\nb", True),
        ("a\nb", "a", False),
        ("1.0", "1.000001", True),
        ("1.0", "1.001", False),
        ("0", "0.0", True),
        ("a  b", "a b", False),
        ("nan", "1", False),
    ],
)
def test_the_comparison_of_submit(expected: str, actual: str, same: bool) -> None:
    assert same_stdout(expected, actual) == same


# --- open-instruct ---


def packed(tests: Any, protocol: int | None = None) -> str:
    """As ``encode_tests`` there."""
    return packed_bytes(pickle.dumps(tests, protocol))


def packed_bytes(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


ASSERTS = ["assert add(1, 2) == 3", "assert add(0, 0) == 1", "x = add(1, 1)\nassert x == 2"]


@pytest.mark.parametrize(
    "tests", [ASSERTS, json.dumps(ASSERTS), packed(ASSERTS), packed(ASSERTS, 2), packed(ASSERTS, 5)]
)
def test_asserts(where: str, tests: Any) -> None:
    asked = {"program": "def add(a, b): return a + b", "tests": tests, "max_execution_time": 1.0}
    status, value, _ = ask(where, "/test_program", asked)
    assert (status, value["results"]) == (200, [1, 0, 1])
    assert value["runtimes"][0] > 0 and value["runtimes"][1] == -1.0


@pytest.mark.parametrize(
    "program",
    ["raise SystemExit(0)", "import os; os._exit(0)", "print(", "while True: pass", "1 / 0"],
)
def test_a_program_that_ends_early_has_passed_nothing(where: str, program: str) -> None:
    asked = {"program": program, "tests": ["pass"], "max_execution_time": 0.3}
    assert ask(where, "/test_program", asked)[1] == {"results": [0], "runtimes": [-1.0]}


def test_inputs_and_outputs(where: str) -> None:
    """With the imports that LiveCodeBench puts before programs, and its comparison."""
    program = "count = defaultdict(int)\na, b = map(int, input().split())\nprint(a + b)"
    tests = [
        {"input": "5 3", "output": "8"},
        {"input": ["10 -2"], "output": "8.0\n"},
        {"input": "0 0", "output": "1"},
    ]
    value = ask(where, "/test_program_stdio", {"program": program, "tests": tests})[1]
    assert value["results"] == [1, 1, 0]
    assert ask(where, "/test_program_stdio", {"program": "1", "tests": []})[1]["results"] == []


class Hostile:
    def __reduce__(self) -> Any:
        return print, ("ran",)


@pytest.mark.parametrize(
    "tests",
    [
        packed([Hostile()]),
        packed_bytes(b"\x80\x04]r\xff\xff\xff\xff."),  # a place in the memory far away
        packed_bytes(b"\x80\x05\x96" + b"\0\0\0\0\0\x01\0\0."),  # a terabyte
        packed({"a": 1}),
        base64.b64encode(b"no zlib").decode(),
        "no base64 \N{SNOWMAN}",
        "[" * 100_000,
        3,
        '{"a": 1}',
    ],
)
def test_tests_that_are_none_are_refused(tests: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RefusedError) as caught:
        open_instruct.decoded(tests, 1 << 20)
    assert caught.value.status == 422 and capsys.readouterr().out == ""


LONG = "x" * (1 << 16)


@pytest.mark.parametrize(
    "tests", [["x" * (4 << 20)], [LONG] * 100, [{"input": [LONG] * 100, "output": ""}]]
)
def test_tests_that_grow_when_unpacked_are_refused(tests: Any) -> None:
    """A pickle has a text that comes again only once."""
    assert len(packed(tests)) < 10_000
    with pytest.raises(RefusedError) as caught:
        open_instruct.decoded(packed(tests), 1 << 20)
    assert caught.value.status == 413


@pytest.mark.parametrize("steps", [b"]" * (2 << 20), b"]\x94" * (1 << 20)])
def test_pickles_of_endless_steps_are_refused(steps: bytes) -> None:
    with pytest.raises(RefusedError, match="is a pickle of over 1,600,000 steps") as caught:
        open_instruct.decoded(packed_bytes(b"\x80\x04" + steps + b"."), 32 << 20)
    assert caught.value.status == 413


def test_as_many_tests_as_are_allowed_may_be_pickled() -> None:
    tests = [{"input": f"{i}", "output": f"{-i}"} for i in range(MOST_TESTS)]
    assert open_instruct.decoded(packed(tests), 32 << 20) == tests


# --- Piston ---


def execute(where: str, program: str, language: str = "python", **fields: Any) -> Any:
    files = [{"name": "main", "content": program}, *fields.pop("more", [])]
    sent = {"language": language, "version": "*", "files": files} | fields
    return ask(where, "/api/v2/execute", sent)[:2]


@pytest.mark.parametrize(
    ("program", "fields", "run"),
    [
        ("print(input())", {"stdin": "hi"}, {"stdout": "hi\n", "code": 0, "signal": None}),
        ("exit(2)", {}, {"code": 2, "status": "RE"}),
        (
            "print(repr(input()))",
            dict.fromkeys(("stdin", "args", "run_timeout", "run_memory_limit")),
            {"stdout": "''\n"},
        ),
        ("import os; os.abort()", {}, {"code": None, "signal": "SIGABRT", "status": "SG"}),
        (
            "while 1: pass",
            {"run_timeout": 300},
            {"code": None, "signal": "SIGKILL", "status": "TO"},
        ),
    ],
)
def test_execute(where: str, program: str, fields: dict[str, Any], run: dict[str, Any]) -> None:
    status, value = execute(where, program, **fields)
    assert status == 200 and value["language"] == "python" and "compile" not in value
    assert value["run"] | run == value["run"]
    assert value["run"]["output"] == value["run"]["stdout"] + value["run"]["stderr"]


def test_execute_compiles(where: str) -> None:
    status, value = execute(where, "int main() { return 5; }", "c++")
    assert (status, value["compile"]["code"], value["run"]["code"]) == (200, 0, 5)
    status, value = execute(where, "int main() {", "c++")
    assert value["compile"]["code"] == 1 and value["run"] == value["compile"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"language": "cms_ioi"}, "cms_ioi-* runtime is unknown"),
        ({"version": "2.7"}, "python-2.7 runtime is unknown"),
        ({"args": ["a"]}, "args are not served"),
        ({"more": [{"name": "b.py", "content": ""}]}, "more than one file is not served"),
        ({"run_timeout": 61_000}, "run_timeout cannot exceed the configured limit of 60000"),
        ({"files": []}, "field 'files' is []"),
    ],
)
def test_execute_says_what_it_does_not_do(where: str, fields: dict[str, Any], line: str) -> None:
    fields = {"language": "python"} | fields
    status, value = execute(where, "1", fields.pop("language"), **fields)
    assert status == 400 and value["message"].startswith(line)


def test_runtimes(where: str) -> None:
    found = ask(where, "/api/v2/runtimes")[1]
    assert {"python", "c++"} <= {one["language"] for one in found}
    runtimes = piston.served(["python"])
    asked = {"language": "py3", "files": [{"content": ""}]}
    version = runtimes[0].version
    for wanted in ("*", version, f"^{version}", version.rpartition(".")[0], "3.x"):
        request = piston.Execute.model_validate(asked | {"version": wanted})
        assert piston.runtime_of(request, runtimes) == runtimes[0]


def contest(expected: str | None, checker: str | None = None, **config: Any) -> dict[str, Any]:
    """The files that open-r1 sends for a test of a Codeforces problem."""
    lines = {"TIME_LIMIT": 0.5, "MEMORY_LIMIT": 256.0, "INPUT_MODE": "stdio"} | config
    files = {"input.txt": "4\r\n", "grader_config": "\n".join(f"{k}={v}" for k, v in lines.items())}
    files |= {} if expected is None else {"correct_output.txt": expected}
    files |= {} if checker is None else {"checker.py": checker}
    more = [{"name": name, "content": content} for name, content in files.items()]
    return {"more": more, "run_timeout": 12_000}


CHECKER = """\
import sys
given, want, got = (open(name).read().split() for name in sys.argv[1:])
print(100 if sorted(want) == sorted(got) and given == ["4"] else 0)
"""


@pytest.mark.parametrize(
    ("program", "fields", "printed", "said"),
    [
        ("print('yes', int(input()))", contest("YES   4\n\n"), "1\n", "is correct (diff)"),
        ("print('yes')", contest("NO"), "0\n", "isn't correct (diff)"),
        ("print(2, 1)", contest("1 2", CHECKER), "1\n", "is correct (checker)"),
        ("print(2, 2)", contest("1 2", CHECKER), "0\n", "isn't correct (checker)"),
        ("print(2)", contest("2", "1 / 0"), "0\n", "isn't correct (checker)"),
        ("while 1: pass", contest("2"), "0\n", "Time limit exceeded (0.5s)"),
        ("1 / 0", contest("2"), "0\n", "Runtime error"),
        ("x = [0] * 10**9", contest("2"), "0\n", "Memory limit exceeded (256MB)"),
        ("print(3)\nprint()", contest(None), "3\n", ""),
    ],
)
def test_a_contest(
    where: str, program: str, fields: dict[str, Any], printed: str, said: str
) -> None:
    status, value = execute(where, program, "cf_python3", **fields)
    assert status == 200 and value["compile"]["code"] == 0
    assert value["run"]["code"] == 0 and value["run"]["stdout"] == printed
    assert said in value["run"]["stderr"]


def test_a_contest_of_a_small_service_has_its_checker(sandbox: Sandbox) -> None:
    small = ServeSettings(workers=2, max_memory_mb=512, max_output_kb=512)
    with real(sandbox, small) as where:
        status, value = execute(where, "print(2, 1)", "cf_python3", **contest("1 2", CHECKER))
    assert (status, value["run"]["stdout"]) == (200, "1\n")


def test_a_contest_in_files_is_not_served(where: str) -> None:
    status, value = execute(where, "1", "cf_python3", **contest("1", INPUT_MODE="file"))
    assert status == 400 and value["message"].startswith("INPUT_MODE=file is not served")
    status, value = execute(where, "1", "cf_python3", **contest("1", TIME_LIMIT="soon"))
    assert status == 400 and value["message"] == "grader_config: TIME_LIMIT is no number"
    status, value = execute(where, "1", "cf_python3", **contest("1", MEMORY_LIMIT="-inf"))
    assert (status, value["message"][:37]) == (400, "grader_config: MEMORY_LIMIT is -inf; ")


def test_the_comparison_of_contests() -> None:
    assert codeforces._normal("a  b\n\nNo\t1 \n") == "a b NO 1"
