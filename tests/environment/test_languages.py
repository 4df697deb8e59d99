"""Prompts, programs and feedback of problems in other languages; those in Python as ever."""

import shutil
from dataclasses import replace

import pytest
from reports import ADD, DOUBLE, code, failure, make_report

from rlef.environment import (
    Episode,
    FeedbackOptions,
    Prompts,
    RandomFeedbackPool,
    StopReason,
    extract_program,
    final_job,
    public_job,
)
from rlef.environment.feedback import first_message, write_feedback
from rlef.languages import LANGUAGES
from rlef.problems import Problem, Test
from rlef.sandbox import Sandbox, Verdict
from rlef.sandbox.build import can_run

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
FENCE = (
    "one fenced block that starts with ```{tag} and ends with ```. Use such fences for code only."
)
STDIN = (
    "Write a {name} program that solves the following programming problem. It reads from standard "
    "input and prints to standard output.\n\nRead n, print 2n.\n\nPut the complete program into "
) + FENCE
NO_CODE = (
    "Your answer has no complete code block.\n\nTry again. Put the complete code into " + FENCE
)
DEFAULT, MINI = Prompts.load("default"), Prompts.load("mini")
PROBLEM = Problem(
    name="double",
    statement="Read n, print 2n.",
    language="cpp",
    public_tests=DOUBLE.public_tests,
    private_tests=(Test("7", "14"),),
)
PROGRAM = '#include <cstdio>\nint main() { int n; scanf("%d", &n); printf("%d", 2 * n); }\n'


@pytest.mark.parametrize(
    ("language", "name", "tag"),
    [
        ("python", "Python", "python"),
        ("cpp", "C++", "cpp"),
        ("rust", "Rust", "rust"),
        ("javascript", "JavaScript", "javascript"),
    ],
)
def test_the_default_prompts_name_the_language(language: str, name: str, tag: str) -> None:
    problem = replace(DOUBLE, language=language)
    episode = Episode(problem, feedback_options=FeedbackOptions(kind="none"))
    assert episode.first_message == STDIN.replace("{name}", name).replace("{tag}", tag)
    assert episode.answer("No.") is None
    assert episode.next_message == NO_CODE.replace("{tag}", tag)
    assert episode.answer(f"```{tag}\nx\n```") == "x\n"
    again = episode.observe(make_report(failure(Verdict.WA)))
    assert again is not None and f"starts with ```{tag} and ends" in again
    told = write_feedback(problem, make_report(failure(Verdict.WA)), DEFAULT, FeedbackOptions())
    assert f"starts with ```{tag} and ends" in told


def test_function_prompts_are_as_ever() -> None:
    text = first_message(ADD, DEFAULT)
    assert text.startswith("Write Python code that solves the following programming problem. It ")


def test_prompts_that_do_not_name_the_language() -> None:
    assert first_message(DOUBLE, MINI) == "Read n, print 2n."
    assert first_message(PROBLEM.public, MINI) == "Write C++.\nRead n, print 2n."
    mine = replace(MINI, other_language="({tag})")
    assert first_message(PROBLEM.public, mine) == "(cpp)\nRead n, print 2n."
    mine = replace(MINI, first_stdin="{statement} Use {language}.")
    assert first_message(PROBLEM.public, mine) == "Read n, print 2n. Use C++."


def test_literal_braces_are_single_in_every_section() -> None:
    plain = dict.fromkeys(("no_code", "try_again", "test_failed", "not_shown", "empty"), "{{x}}")
    mine = replace(MINI, **plain)
    blind = Episode(DOUBLE, prompts=mine, feedback_options=FeedbackOptions(kind="none"))
    blind.answer("No.")
    assert blind.next_message == "{x}"
    blind.answer(code("x"))
    assert blind.observe(make_report(failure(Verdict.WA))) == "{x}"
    report = make_report(failure(Verdict.RE, message="{y}"))
    for kind in ("pass_fail", "no_traceback"):
        assert "{x}" in write_feedback(DOUBLE, report, mine, FeedbackOptions(kind=kind))
        assert "{{" not in write_feedback(DOUBLE, report, mine, FeedbackOptions(kind=kind))
    empty = write_feedback(DOUBLE, make_report(failure(Verdict.WA)), mine, FeedbackOptions())
    assert empty.splitlines()[-2] == "{x}"


@needs_compiler
def test_a_cpp_problem_from_prompt_to_verdict() -> None:
    broken = PROGRAM.replace("; scanf", " scanf")
    with Sandbox(workers=1) as sandbox:
        episode = Episode(PROBLEM.public, prompts=MINI)
        told = []
        for answer in (broken, PROGRAM):
            program = episode.answer(f"Here.\n```cpp\n{answer}```\nIt prints\n```\n4\n```")
            assert program == answer
            told.append(episode.observe(sandbox.judge_many([public_job(PROBLEM, program)])[0]))
        final = sandbox.judge_many([final_job(PROBLEM, PROGRAM)])[0]
        other = replace(PROBLEM, name="other")
        pool = RandomFeedbackPool.build([PROBLEM, other], sandbox, MINI, FeedbackOptions(), 0)
    assert told[0] is not None and told[1] is None
    assert told[0].startswith("Error.\nsolution.cpp:2:20: error: ")
    assert episode.stop is StopReason.PUBLIC_PASSED and episode.finish(final).solved
    assert "not implemented" in pool.draw("double", seed=0)


RUST = """use std::io;

fn main() {
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
    let n: i64 = line.trim().parse().unwrap();
    println!("{}", 2 * n);
}
"""


@pytest.mark.skipif(not can_run(LANGUAGES["rust"]), reason="needs rustc and cc")
def test_a_rust_problem_from_prompt_to_verdict() -> None:
    problem = replace(PROBLEM, language="rust")
    answers = (RUST.replace("line.trim", "lien.trim"), RUST.replace("2 * n", "2 / (n - n)"), RUST)
    with Sandbox(workers=1) as sandbox:
        episode = Episode(problem.public, prompts=MINI)
        assert episode.first_message.startswith("Write Rust.\n")
        told = []
        for answer in answers:
            program = episode.answer(f"Here.\n```rust\n{answer}```\nIt prints\n```\n4\n```")
            assert program == answer
            told.append(episode.observe(sandbox.judge_many([public_job(problem, program)])[0]))
        final = sandbox.judge_many([final_job(problem, RUST)])[0]
    assert told[0] is not None and told[0].startswith("Error.\nerror[E0425]: cannot find value `li")
    assert told[1] is not None and "\nattempt to divide by zero\n" in told[1]
    assert told[2] is None and episode.finish(final).solved


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        (f"```\n{RUST}```\nIt prints\n```\n4\n```", RUST),
        (f"```rs\n{RUST}```\nA helper:\n```rust\nfn f() {{}}\n```", RUST),
        ("```rust\nfn main() {}\n```\nor\n" + f"```rust,ignore\n{RUST}```", RUST),
        (f"```toml\n[package]\n```\n```src/main.rs\n{RUST}```\n```bash\ncargo run\n```", RUST),
        ("```python\nprint(1)\n```", None),
        ("```rust\nfn main() {", None),
    ],
)
def test_which_block_is_the_rust_program(answer: str, program: str | None) -> None:
    assert extract_program(answer, language="rust") == program


SCRIPT = "const n = Number(require('fs').readFileSync(0, 'utf8'));\nconsole.log(2 * n);\n"


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        (f"```\n{SCRIPT}```\nIt prints\n```\n4\n```", SCRIPT),
        (f"```js\n{SCRIPT}```\nA helper:\n```javascript\nfunction f() {{}}\n```", SCRIPT),
        (f"Run it:\n```bash\nnode main.js\n```\n```JavaScript\n{SCRIPT}```", SCRIPT),
        (f"```json\n{{}}\n```\n```solution.js\n{SCRIPT}```", SCRIPT),
        ("```python\nprint(1)\n```", None),
        ("```js\nconsole.log(", None),
    ],
)
def test_which_block_is_the_javascript_program(answer: str, program: str | None) -> None:
    assert extract_program(answer, language="javascript") == program


@pytest.mark.skipif(not can_run(LANGUAGES["javascript"]), reason="needs node")
def test_a_javascript_problem_from_prompt_to_verdict() -> None:
    problem = replace(PROBLEM, language="javascript")
    with Sandbox(workers=1) as sandbox:
        episode = Episode(problem.public, prompts=MINI)
        assert episode.first_message.startswith("Write JavaScript.\n")
        told = []
        for answer in (SCRIPT.replace("2 * n", "2 * m"), SCRIPT.replace("))", ")"), SCRIPT):
            program = episode.answer(f"```js\n{answer}```")
            assert program == answer
            told.append(episode.observe(sandbox.judge_many([public_job(problem, program)])[0]))
        final = sandbox.judge_many([final_job(problem, SCRIPT)])[0]
    assert told[0] is not None and "\nReferenceError: m is not defined\n" in told[0]
    assert told[1] is not None and told[1].startswith("Error.\nSyntaxError: missing ) after")
    assert told[2] is None and episode.finish(final).solved


def test_the_first_error_of_a_compiler_is_kept() -> None:
    message = "solution.cpp: In main:\nsolution.cpp:1:2: error: first\n" + "  | ^\n" * 20
    report = make_report(failure(Verdict.CE, message=message))
    text = write_feedback(PROBLEM.public, report, DEFAULT, FeedbackOptions(max_chars=60))
    assert "error: first" in text
    text = write_feedback(PROBLEM.public, report, MINI, FeedbackOptions())
    assert text == "Error.\nsolution.cpp:1:2: error: first\nTry again."
