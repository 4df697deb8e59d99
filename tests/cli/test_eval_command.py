import json
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from rlef.environment import ChatSettings
from rlef.evaluation import evaluate as module
from rlef.run import RunFolder

RATE = {"mean": 0.5, "low": 0.4, "high": 0.6}
MEASURED = {"estimate": 0.5, "low": 0.4, "high": 0.6, "low_problems": None, "high_problems": None}
STAGE = {"solve": RATE, "solve_rate_by_turn": [RATE, RATE], "repair_rate": RATE, "hidden": {}}
RESULT = {**STAGE, "turn_limit": 2, "metrics": {"1@2": MEASURED}}


@pytest.fixture(autouse=True)
def on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub has every model."""
    monkeypatch.setattr("rlef.engines.names._not_on_hub", lambda name: "")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What the library function, of which there is only the signature, was called with."""
    seen: list[dict[str, Any]] = []

    def evaluate(**arguments: Any) -> dict[str, Any]:
        seen.append(arguments)
        return RESULT

    monkeypatch.setattr(module, "evaluate", evaluate)
    monkeypatch.chdir(tmp_path)
    return seen


def test_words_reach_the_library(rlef: Any, problems: str, calls: list[dict[str, Any]]) -> None:
    words = ["--turns", 2, "--samples", 4, "--limit", 1, "--temperature", 0, "--seed", 7]
    code, out, _ = rlef("eval", "a/model", "--data", problems, *words, "--out", "e")
    assert code == 0
    (call,) = calls
    assert call["model"] == "a/model"
    assert [problem.name for problem in call["problems"]] == ["double"]
    assert (call["turn_limit"], call["samples"], call["seed"]) == (2, 4, 7)
    assert (call["sampling"].temperature, call["sampling"].top_p) == (0.0, 0.95)
    assert call["run"].path == Path("e")
    assert out.splitlines()[1].split() == ["1@2", "50.0", "±10.0"]
    assert "1@2     50.0  40.0 to 60.0" in out
    assert [spec.name for spec in call["metrics"]] == ["1@1", "1@2"]


def test_words_about_the_chat_template_reach_the_library(
    rlef: Any, problems: str, calls: list[dict[str, Any]]
) -> None:
    Path("t.jinja").write_text("{{ enable_thinking }}{{ effort }}{{ strftime_now('%Y') }}")
    words = ["eval", "m", "--data", problems, "--out", "e", "--chat-template", "t.jinja"]
    words += ["--template-arg", "enable_thinking=false", "--template-arg", "effort=low"]
    words += ["--system", "Be: brief", "--today", "2031-12-01", "--turns-as", "per_turn"]
    assert rlef(*words).code == rlef(*words).code == 0
    assert calls[0]["engine"].chat_settings == ChatSettings(
        chat_template=str(Path("t.jinja").absolute()),
        template_arguments={"enable_thinking": False, "effort": "low"},
        system="Be: brief",
        today=date(2031, 12, 1),
        turns="per_turn",
    )
    RunFolder.open("e").append_rollouts("eval", [{"place": 0}])
    code, _, err = rlef(*words[:-1], "append")
    assert code == 2 and "begun with other values of turns_as" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--turns-as", "each"], "--turns-as: must be 'auto', 'append' or 'per_turn', not"),
        (["--template-arg", "thinking"], "--template-arg: 'thinking'; allowed: KEY=VALUE"),
        (["--template-arg", "a=1", "--template-arg", "a=2"], "--template-arg is given twice"),
        (["--today", "soon"], "--today: must be a valid date"),
        (["--chat-template", "no.jinja"], "no.jinja: No such file or directory; allowed: a file"),
    ],
)
def test_wrong_words_about_the_chat_template(
    rlef: Any, problems: str, calls: list[dict[str, Any]], words: list[object], message: str
) -> None:
    code, out, err = rlef("eval", "m", "--data", problems, *words)
    assert (code, out) == (2, "") and calls == []
    assert message in " ".join(err.split())


def test_json_is_the_result(rlef: Any, problems: str, calls: list[dict[str, Any]]) -> None:
    code, out, _ = rlef("eval", "m", "--data", problems, "--json")
    assert (code, json.loads(out)) == (0, RESULT)
    assert calls[0]["run"].path.parent == Path("runs")


def test_folder_begun_with_other_words_is_refused(
    rlef: Any, problems: str, calls: list[dict[str, Any]]
) -> None:
    words = ["eval", "m", "--data", problems, "--out", "e"]
    assert rlef(*words).code == rlef(*words).code == 0
    RunFolder.open("e").append_rollouts("eval", [{"place": 0}])
    code, _, err = rlef(*words, "--samples", 2, "--seed", 1)
    assert code == 2
    assert err.startswith("rlef: e was begun with other values of samples, seed; allowed: ")
    assert len(calls) == 2
    assert "samples: 1\n" in RunFolder.open("e").read_config()


def test_a_command_that_comes_second_changes_nothing(
    rlef: Any, problems: str, calls: list[dict[str, Any]]
) -> None:
    words = ["eval", "m", "--data", problems, "--out", "e"]
    assert rlef(*words).code == 0  # nothing was sampled: other words may begin there
    before = RunFolder.open("e").read_config()
    with RunFolder("e").lock():  # as while the model is loaded
        code, _, err = rlef(*words, "--seed", 1)
    assert code == 1 and "e is in use by process" in err
    assert RunFolder.open("e").read_config() == before
    assert rlef(*words, "--seed", 1).code == 0
    assert "seed: 1\n" in RunFolder.open("e").read_config()


def test_prompts_that_changed_are_no_way_to_go_on(
    rlef: Any, problems: str, calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    shipped = files("rlef.environment") / "prompts" / "default.txt"
    prompts = tmp_path / "my.txt"
    prompts.write_text(shipped.read_text())
    words = ["eval", "m", "--data", problems, "--out", "e", "--prompts", "my.txt"]
    assert rlef(*words).code == rlef(*words).code == 0
    RunFolder.open("e").append_rollouts("eval", [{"place": 0}])
    assert rlef(*words).code == 0
    prompts.write_text(shipped.read_text().replace("Write", "Please write"))
    code, _, err = rlef(*words)
    assert code == 2 and "my.txt (prompts) is not what it was when e began; allowed:" in err
    prompts.unlink()
    assert rlef(*words).code == 2


def test_a_judge_is_asked_before_a_model_is_loaded(
    rlef: Any, problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlef.evaluation.evaluate.open_engine", lambda *_, **__: pytest.fail())
    words = ["--data", problems, "--judge-url", "http://127.0.0.1:9", "--out", tmp_path / "e"]
    code, _, err = rlef("eval", "mini", *words)
    assert code == 1 and "127.0.0.1:9" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--turns", 0], "--turns"),
        (["--top-p", 2], "--top-p"),
        (["--prompts", "no"], "default, mini"),
        (["--feedback", "some"], "no feedback 'some'; allowed: full, pass_fail, no_traceback"),
        (["--feedback", "random", "--limit", 1], "random needs two or more problems, not 1"),
        (["--feedback", "none", "--turns", 1], "comes after the first of several --turns"),
        (["--engine", "openai", "--max-context", 9], "--max-context is of no use to the engine op"),
        (["--engine", "openai", "--device", "cpu"], "--device is of no use to the engine openai"),
        (["--engine", "openai", "--dtype", "float32"], "--dtype is of no use to the engine openai"),
    ],
)
def test_wrong_words_exit_with_2(
    rlef: Any, problems: str, calls: list[dict[str, Any]], words: list[object], message: str
) -> None:
    code, out, err = rlef("eval", "m", "--data", problems, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert calls == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["m"], "give --data SPEC"),
        (["--data", "mini:test"], "give a MODEL, or --samples-file FILE, or --compare RUN RUN"),
        (["m", "--data", "mini:test", "--metrics", "2@"], "metric '2@' is not known"),
        (["m", "--data", "mini:test", "--metrics", "10@100"], "needs --samples 33 or more, not 1"),
        (["m", "--data", "mini:test", "--preset", "1@5"], "no preset '1@5'; allowed: 1@3, 10@100"),
        (["m", "--compare", "a", "b"], "MODEL has no meaning here"),
        (["--compare", "a", "b", "--missing-failed"], "--missing-failed has no meaning here"),
        (["--compare", "a", "b", "--limit", 3], "--limit has no meaning here"),
        (["--compare", "a", "b", "--seed", 3], "--seed has no meaning here"),
        (["--compare", "a", "b", "--device", "cuda"], "--device has no meaning here"),
        (["--compare", "a", "b", "--metrics", "2@"], "metric '2@' is not known"),
        (["--data", "mini:test", "--samples-file", "x", "--top-p", 1], "--top-p has no meaning"),
        (["--data", "mini:test", "--samples-file", "x", "--feedback", "none"], "--feedback has"),
        (["--data", "mini:test", "--samples-file", "x", "--engine", "vllm"], "--engine has no me"),
        (["m", "--data", "mini:test", "--missing-failed"], "--missing-failed has no meaning here"),
        (["--compare", "a", "b"], "a does not exist; allowed: the folder of a run"),
        (["m", "--data", "mini:test", "--engine", "gpt"], "no engine 'gpt'; allowed: hf, vllm"),
        (["m", "--data", "mini:test", "--base-url", "http://x"], "a base URL is of no use"),
        (["--data", "mini:test", "--samples-file", "none.jsonl"], "none.jsonl cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    rlef: Any, words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = rlef("eval", *words)
    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("│", " ").split())


def test_a_preset_gives_way_to_words(rlef: Any, problems: str, calls: list[dict[str, Any]]) -> None:
    assert rlef("eval", "m", "--data", problems, "--preset", "10@100", "--top-p", 0.9).code == 0
    (call,) = calls
    assert (call["samples"], call["turn_limit"]) == (200, 3)
    assert (call["sampling"].temperature, call["sampling"].top_p) == (1.0, 0.9)
    assert [spec.name for spec in call["metrics"]] == ["10@100"]


def test_an_evaluation_goes_on_from_any_folder(
    rlef: Any,
    problems: str,
    calls: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipped = files("rlef.environment") / "prompts" / "default.txt"
    Path("my.txt").write_text(shipped.read_text())
    here = ["--data", "jsonl:problems.jsonl?first=2", "--prompts", "my.txt", "--out", "e"]
    assert rlef("eval", "m", *here).code == 0
    run = RunFolder.open(tmp_path / "e")
    run.append_rollouts("eval", [{"place": 0}])
    assert calls[0]["data"] == "jsonl:problems.jsonl?first=2"  # tables stay short
    assert f"data: jsonl:{tmp_path}/problems.jsonl?first=2\n" in run.read_config()
    assert f"prompts: {tmp_path}/my.txt\n" in run.read_config()
    text = run.read_config()
    run.write_config(text.replace(f"{tmp_path}/", ""))  # as it was written once
    assert rlef("eval", "m", *here).code == 0 and run.read_config() == text
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    there = ["--data", "jsonl:../problems.jsonl?first=2", "--prompts", "../my.txt"]
    assert rlef("eval", "m", *there, "--out", "../e").code == 0
    (tmp_path / "deep" / "problems.jsonl").write_text((tmp_path / "problems.jsonl").read_text())
    code, _, err = rlef("eval", "m", *here[:-1], "../e", "--prompts", "../my.txt")
    assert code == 2 and "begun with other values of data; allowed" in err


def test_a_full_context_is_said(rlef: Any, problems: str, tmp_path: Path) -> None:
    words = ["--data", problems, "--prompts", "mini", "--max-context", 20, "--out", tmp_path / "e"]
    code, _, err = rlef("eval", "mini", *words)
    assert code == 0
    assert "2 of 2 episodes ended early: no room for another answer in 20 tokens" in err


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("full", {"sum": "1 2", "largest": "55 66"}),
        ("random", {"sum": "55 66", "largest": "1 2"}),
        ("none", {"sum": "Try again.", "largest": "Try again."}),
    ],
)
def test_what_is_told_between_turns(
    rlef: Any, tmp_path: Path, kind: str, told: dict[str, str]
) -> None:
    records = [
        {
            "name": name,
            "statement": f"Read integers on one line. Print the {name} of the numbers.",
            "public_tests": [{"input": f"{numbers}\n", "output": "never\n"}],
            "private_tests": [{"input": "3 4\n", "output": "7\n"}],
        }
        for name, numbers in (("sum", "1 2"), ("largest", "55 66"))
    ]
    path = tmp_path / "two.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    words = ["--prompts", "mini", "--turns", 2, "--max-new-tokens", 112, "--feedback", kind]
    code, _, _ = rlef("eval", "mini", "--data", f"jsonl:{path}", *words, "--out", tmp_path / "e")
    assert code == 0
    episodes = RunFolder.open(tmp_path / "e").read_rollouts("eval")
    assert {episode["problem"] for episode in episodes} == set(told)
    for episode in episodes:
        message = episode["turns"][0]["feedback"]
        assert {text for text in told.values() if text in message} == {told[episode["problem"]]}


def test_ctrl_c_says_how_to_go_on(
    rlef: Any, problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "evaluate", stopped)
    code, out, err = rlef("eval", "m", "--data", problems, "--out", tmp_path / "e")
    assert (code, out) == (130, "")
    assert f"stopped; go on with the same words and: --out {tmp_path / 'e'}" in err
