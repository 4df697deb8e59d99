"""inspect_ai's real evaluation of scripted and of the mini model, and the jail as its sandbox."""

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import inspect_mini
import pytest
import rlef_inspect
from common import RIGHT, SECRET, WRONG, broken_judge, secret_problem
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import generate, solver
from inspect_ai.util import SandboxUnavailableError, sandbox
from rlef_inspect_sandbox import Jail


def run(tmp_path: Path, *answers: str, task: Task | None = None, **words: Any) -> EvalLog:
    outputs = [ModelOutput.from_content("mockllm/model", answer) for answer in answers]
    for output in outputs:  # else it fetches a tokenizer to count with
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    model = get_model("mockllm/model", custom_outputs=outputs)
    [log] = eval(
        task or rlef_inspect.rlef(data=secret_problem(tmp_path), **words),
        model=model,
        log_dir=str(tmp_path),
        display="none",
    )
    return log


def metrics(log: EvalLog) -> dict[str, float]:
    assert log.results is not None
    return {score.name: score.metrics["mean"].value for score in log.results.scores}


def test_an_episode_in_the_log(tmp_path: Path) -> None:
    log = run(tmp_path, "nothing", WRONG, RIGHT)
    assert log.status == "success"
    found = metrics(log)
    assert found["solved"] == found["solved_by_turn_3"] == 1 and found["solved_by_turn_2"] == 0
    assert found["turns"] == 3 and found["invalid"] == pytest.approx(1 / 3)
    [sample] = read_eval_log(log.location).samples or []  # as its viewer reads it
    assert [m.role for m in sample.messages] == ["user", "assistant"] * 3
    assert "Try again" in sample.messages[2].text
    [score] = (sample.scores or {}).values()
    assert "upper() + '!'" in str(score.answer)
    assert score.metadata and score.metadata["rlef"]["solved"]


def test_private_tests_are_in_no_log(tmp_path: Path) -> None:
    log = run(tmp_path, WRONG, "```python\nprint('AB!')\n```", turns=2)
    found = metrics(log)
    assert found["passed_public"] == 1 and found["solved"] == 0
    text = json.dumps(read_eval_log(log.location).model_dump(mode="json"))
    assert "AB!" in text and SECRET not in text.lower()


@pytest.mark.parametrize(("limit", "turns"), [(3, 1), (1, 0)])
def test_a_limit_of_inspects_ends_an_episode(limit: int, turns: int, tmp_path: Path) -> None:
    task = rlef_inspect.rlef(data=secret_problem(tmp_path))
    task.message_limit = limit
    log = run(tmp_path, "nothing", RIGHT, task=task)
    assert log.status == "success", log.error
    found = metrics(log)
    assert found["turns"] == turns and found["solved"] == found["solved_by_turn_3"] == 0


def test_turn_limit(tmp_path: Path) -> None:
    found = metrics(run(tmp_path, "nothing", turns=1))
    assert found["turns"] == 1 and found["solved"] == 0 and "solved_by_turn_2" not in found


def test_the_scorer_behind_another_solver(tmp_path: Path) -> None:
    task = rlef_inspect.rlef(data=secret_problem(tmp_path))
    task.solver = generate()
    assert metrics(run(tmp_path, RIGHT, task=task))["solved"] == 1


def test_not_judged_is_unscored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlef_inspect, "shared_judge", broken_judge)
    log = run(tmp_path, RIGHT)
    assert log.status == "success"
    [sample] = log.samples or []
    [score] = (sample.scores or {}).values()
    assert math.isnan(score.as_float()) and score.reason == "scoring_failed"
    assert log.results is not None and log.results.scores[0].scored_samples == 0


def jailed(*cmd: str, files: dict[str, str] | None = None, **words: Any) -> Any:
    async def main() -> Any:
        jail = Jail()
        for name, text in (files or {}).items():
            await jail.write_file(name, text)
        return await jail.exec(list(cmd), **words)

    return asyncio.run(main())


def test_the_sandbox_runs_programs() -> None:
    done = jailed("python", "a/b.py", files={"a/b.py": "print(input() * 2)"}, input="ab\n")
    assert done.success and done.returncode == 0 and done.stdout == "abab\n"
    failed = jailed("python3", "-c", "raise SystemExit('no')")
    assert not failed.success and failed.returncode == 1 and "no" in failed.stderr
    assert jailed("python", "-c", "raise SystemExit(3)").returncode == 3
    assert jailed("ls", "/").returncode == 127
    tool = jailed("bash", "--login", "-c", "python3 -", input="print(6 * 7)")  # as its python()
    assert tool.stdout == "42\n"
    assert "Error" in jailed("python", "-c", "print(open('/etc/hostname').read())").stderr
    with pytest.raises(TimeoutError):
        jailed("python", "-c", "while True: pass", timeout=1)
    with pytest.raises(FileNotFoundError):
        jailed("python", "none.py")


def test_the_sandbox_fails_as_inspect_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    import rlef_inspect_sandbox

    monkeypatch.setattr(rlef_inspect_sandbox, "shared_judge", broken_judge)
    with pytest.raises(SandboxUnavailableError):
        jailed("python", "-c", "print(1)")


@solver
def run_it() -> Any:
    async def solve(state: Any, generate: Any) -> Any:
        await sandbox().write_file("main.py", "print(6 * 7)")
        state.store.set("ran", (await sandbox().exec(["python", "main.py"])).stdout)
        return state

    return solve


@scorer(metrics=[accuracy()])
def is_42() -> Any:
    async def score(state: Any, target: Any) -> Score:
        return Score(value=state.store.get("ran") == "42\n")

    return score


def test_the_sandbox_by_its_name(tmp_path: Path) -> None:
    task = Task(dataset=[Sample(input="x")], solver=run_it(), scorer=is_42(), sandbox="rlef")
    log = run(tmp_path, task=task)
    assert log.status == "success", log.error
    assert log.results is not None and log.results.scores[0].metrics["accuracy"].value == 1


def test_the_mini_model(tmp_path: Path) -> None:
    log = inspect_mini.main(str(tmp_path), problems=2)
    assert log.status == "success", log.error
    assert 1 <= metrics(log)["turns"] <= 3
