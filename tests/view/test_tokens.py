"""Texts of tokens, and what a turn's public tests said."""

import json
from pathlib import Path
from typing import Any

import pytest
from asking import Asker
from made_runs import CONFIG, record, rollout
from tokenizers import Tokenizer

import rlef
from rlef.environment import FeedbackOptions, Prompts, write_feedback
from rlef.problems import Problem, Test, load_problems
from rlef.rollout.ledger import Ledger
from rlef.run import RunFolder
from rlef.sandbox import JudgeReport, TestReport, Verdict
from rlef.view.public_tests import public_tests
from rlef.view.tokens import token_texts, tokens_of_turns

MINI = Tokenizer.from_file(str(Path(rlef.__file__).parent / "assets/mini/tokenizer.json"))


@pytest.mark.parametrize("text", ["print(1)\n  x = ' a'", "naïve → 日本 🎉!", "\u202e<b>", ""])
def test_texts_of_tokens_join_to_the_text(text: str) -> None:
    ids = MINI.encode(text, add_special_tokens=False).ids
    texts = token_texts(ids, MINI)
    assert len(texts) == len(ids) and "".join(texts) == text


def test_half_a_character_and_no_tokenizer() -> None:
    ids = MINI.encode("🎉", add_special_tokens=False).ids
    assert len(ids) > 1
    assert "".join(token_texts(ids[:1], MINI)) == "�"
    assert token_texts([7, 8], None) == ["7", "8"]


def test_each_turn_of_several_sequences_has_its_own_prompt() -> None:
    # turn 1: tokens 0 and 1, then 2 sampled; turn 2 anew: tokens 3 to 5, then 6 and 7 sampled
    row = {
        "token_ids": list(range(8)),
        "turn_ids": [-1, -1, 0, -1, -1, -1, 1, 1],
        "logprobs": [0.0, 0, -0.5, 0, 0, 0, -1, -2],
        "turns": [{}, {}],
    }
    turns = tokens_of_turns(row, None)
    assert [[token["text"] for token in turn] for turn in turns] == [
        ["0", "1", "2"],
        ["3", "4", "5", "6", "7"],
    ]
    assert [token["logprob"] for token in turns[1]] == [None, None, None, -1, -2]


PROBLEM = Problem(
    name="p",
    statement="s",
    public_tests=tuple(Test(f"{i}\n", f"{i}{i}\n") for i in range(4)),
    private_tests=(Test("9", "9"),),
)


def report(*outcomes: tuple[Verdict, str, str]) -> JudgeReport:
    tests = [
        TestReport(verdict=v, stdout=out, message=message, cpu_s=0, wall_s=0, memory_mb=0)
        for v, out, message in outcomes
    ]
    worst = next((t.verdict for t in tests if t.verdict is not Verdict.AC), Verdict.AC)
    return JudgeReport(verdict=worst, tests=tuple(tests))


@pytest.mark.parametrize("prompts", ["default", "mini"])
@pytest.mark.parametrize("known", [True, False])
def test_failed_tests_are_found_in_feedback(prompts: str, known: bool) -> None:
    templates = Prompts.load(prompts)
    told = report(
        (Verdict.WA, "5\n6\n\nTest 9: x", ""),
        (Verdict.AC, "11", ""),
        (Verdict.RE, "", "Traceback\nZeroDivisionError: by zero"),
        (Verdict.WA, "", ""),
    )
    text = write_feedback(PROBLEM.public, told, templates, FeedbackOptions())
    verdicts = [test.verdict.value for test in told.tests]
    episode = {"turns": [{"feedback": text, "public_verdicts": verdicts}]}
    found = public_tests(PROBLEM.public if known else None, episode, 0, templates)
    assert found is not None and [test["verdict"] for test in found] == verdicts
    assert [test["got"] for test in found] == ["5\n6\n\nTest 9: x", None, None, "(nothing)"]
    assert found[2]["error"].endswith("ZeroDivisionError: by zero")
    inputs = [test["input"] for test in found]
    assert inputs == (["0", "1", "2", "3"] if known else ["0", None, "2", "3"])
    expected = [test["expected"] for test in found]
    assert expected == (["00", "11", "22", "33"] if known else ["00", None, None, "33"])


@pytest.mark.parametrize(
    "options", [FeedbackOptions(max_tests=2), FeedbackOptions(kind="pass_fail")], ids=str
)
def test_what_feedback_does_not_list_is_not_known(options: FeedbackOptions) -> None:
    templates = Prompts.load("default")
    told = report(*[(Verdict.WA, str(i), "") for i in range(4)])
    text = write_feedback(PROBLEM.public, told, templates, options)
    episode = {"turns": [{"feedback": text, "public_verdicts": ["WA"] * 4}]}
    found = public_tests(PROBLEM.public, episode, 0, templates)
    listed = ["0", "1", None, None] if options.kind == "full" else [None] * 4
    assert found is not None and [test["got"] for test in found] == listed


def test_problems_of_the_shipped_set_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = load_problems("mini:dev")[0]
    options: dict[str, Any] = {**CONFIG, "data": {"train": "mini:dev", "test": "mini:dev"}}
    run = RunFolder.create(tmp_path / "shown" / "one", json.dumps(options))
    Ledger(run.training_path).add([(0, rollout(0, record(problem.name, ["RE"])))])
    for _ in range(2):  # made, then as the cache has it
        ask = Asker(tmp_path / "cache", tmp_path / "shown")
        found = ask("episode", id="shown/one", stage="train", row=0)
        assert found["statement"] == problem.statement
        tests = found["turns"][0]["public_tests"]
        if tests is not None:  # as many as it has
            given = [test.input.rstrip("\n") for test in problem.public_tests]
            assert [test["input"] for test in tests] == given
        assert list((tmp_path / "cache").rglob("problems-*.arrow"))
        monkeypatch.setattr("rlef.view.problems.load_public_problems", None)
