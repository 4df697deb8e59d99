import json
from dataclasses import replace

import pytest
from reports import AC, DOUBLE, code, failure, make_report

from rlef.environment import Episode, FeedbackOptions, Prompts, StopReason
from rlef.rollout.records import episode_from_json, episode_to_json
from rlef.sandbox import Sandbox, Verdict

MINI = Prompts.load("mini")
PASSED = make_report(AC, AC)
FAILED = make_report(AC, failure(Verdict.WA, stdout="25"))
BROKEN = make_report(AC, failure(Verdict.IE))
TOLD = "Wrong answer.\nInput:\n5\nExpected output:\n10\nYour output:\n25\nTry again."


def test_repaired_at_the_second_turn() -> None:
    episode = Episode(DOUBLE, prompts=MINI)
    assert episode.first_message == episode.next_message == "Read n, print 2n."
    assert episode.answer(code("a")) == "a\n"
    assert episode.next_message is None and not episode.done
    assert episode.observe(FAILED) == episode.next_message == TOLD
    assert episode.answer(code("b")) == "b\n"
    assert episode.observe(PASSED) is None
    assert episode.done and episode.stop is StopReason.PUBLIC_PASSED
    record = episode.finish(PASSED, family="f", hidden_detail="h")
    assert (record.problem, record.family, record.hidden_detail) == ("double", "f", "h")
    assert record.solved and record.passed_public and record.final_verdict is Verdict.AC
    first, second = record.turns
    assert (first.program, first.feedback) == ("a\n", TOLD)
    assert first.public_verdicts == (Verdict.AC, Verdict.WA)
    assert (second.program, second.feedback) == ("b\n", None)
    assert second.public_verdicts == (Verdict.AC, Verdict.AC)


def test_public_tests_passed_but_not_all() -> None:
    episode = Episode(DOUBLE)
    episode.answer(code("a"))
    episode.observe(PASSED)
    record = episode.finish(make_report(AC, AC, failure(Verdict.TLE)))
    assert not record.solved and record.final_verdict is Verdict.TLE
    assert record.stop is StopReason.PUBLIC_PASSED


def test_passing_at_the_last_turn_is_no_turn_limit() -> None:
    episode = Episode(DOUBLE, max_turns=1)
    episode.answer(code("a"))
    episode.observe(PASSED)
    assert episode.stop is StopReason.PUBLIC_PASSED


def test_turn_limit() -> None:
    episode = Episode(DOUBLE, max_turns=2)
    for _ in range(2):
        episode.answer(code("a"))
        message = episode.observe(FAILED)
    assert message is None and episode.stop is StopReason.TURN_LIMIT
    record = episode.finish(None)
    assert not record.solved and record.final_verdict is None
    assert record.turns[1].feedback is None
    assert episode.finish(FAILED).final_verdict is Verdict.WA


def test_answers_without_code() -> None:
    episode = Episode(DOUBLE, max_turns=2, prompts=MINI)
    assert episode.answer("I do not know.") is None
    assert episode.next_message == "No code found.\nTry again." and not episode.done
    assert episode.answer("```python\nprint(") is None
    assert episode.stop is StopReason.TURN_LIMIT and episode.last_program is None
    record = episode.finish(None)
    assert [turn.program for turn in record.turns] == [None, None]
    assert [turn.public_verdicts for turn in record.turns] == [(), ()]
    assert [turn.feedback for turn in record.turns] == ["No code found.\nTry again.", None]
    with pytest.raises(ValueError, match="no last program"):
        episode.finish(PASSED)


def test_an_earlier_program_does_not_stand_for_a_last_answer_without_code() -> None:
    episode = Episode(DOUBLE, max_turns=2)
    episode.answer(code("a"))
    episode.observe(FAILED)
    assert episode.last_program == "a\n"
    episode.answer("I give up.")
    assert episode.last_program is None and not episode.finish(None).solved


def test_infrastructure_errors_are_neither_right_nor_wrong() -> None:
    episode = Episode(DOUBLE)
    episode.answer(code("a"))
    assert episode.observe(BROKEN) is None
    record = episode.finish(None)
    assert record.stop is StopReason.INFRA_ERROR and not record.solved
    assert not episode.finish(PASSED).solved
    episode = Episode(DOUBLE)
    episode.answer(code("a"))
    episode.observe(PASSED)
    record = episode.finish(BROKEN)
    assert record.stop is StopReason.INFRA_ERROR and not record.solved
    assert record.final_verdict is Verdict.IE


def test_context_limit() -> None:
    episode = Episode(DOUBLE)
    episode.answer(code("a"))
    episode.observe(FAILED)
    episode.stop_for_context_limit()
    record = episode.finish(FAILED)
    assert record.stop is StopReason.CONTEXT_LIMIT and not record.solved
    assert record.turns[0].feedback is None
    at_once = Episode(DOUBLE)
    at_once.stop_for_context_limit()
    assert at_once.finish(None).turns == ()


def test_feedback_can_be_replaced() -> None:
    calls: list[tuple[str, int]] = []

    def other(name: str, turn: int) -> str:
        calls.append((name, turn))
        return f"Something else {turn}."

    episode = Episode(DOUBLE, max_turns=4, prompts=MINI, feedback_override=other)
    episode.answer(code("a"))
    assert episode.observe(FAILED) == "Something else 0."
    episode.answer("Hm.")
    assert episode.next_message == "No code found.\nTry again."
    episode.answer(code("a"))
    assert episode.observe(FAILED) == "Something else 2."
    episode.answer(code("b"))
    assert episode.observe(PASSED) is None
    assert calls == [("double", 0), ("double", 2)]


def blind(max_turns: int = 3) -> Episode:
    options = FeedbackOptions(kind="none")
    return Episode(DOUBLE, max_turns=max_turns, prompts=MINI, feedback_options=options)


def test_without_feedback_results_change_nothing_that_the_model_sees() -> None:
    for reports in ([PASSED, PASSED], [FAILED, PASSED], [PASSED, FAILED]):
        episode = blind()
        for report in reports:
            episode.answer(code("a"))
            assert episode.observe(report) == "Try again." and not episode.done
        episode.answer(code("b"))
        assert episode.observe(PASSED) is None
        assert episode.stop is StopReason.PUBLIC_PASSED
        record = episode.finish(PASSED)
        assert record.solved and len(record.turns) == 3
        assert record.turns[0].public_verdicts == tuple(t.verdict for t in reports[0].tests)


def test_without_feedback_the_last_program_counts() -> None:
    episode = blind(max_turns=2)
    episode.answer(code("a"))
    episode.observe(PASSED)
    episode.answer(code("b"))
    assert episode.observe(FAILED) is None and episode.stop is StopReason.TURN_LIMIT
    assert not episode.finish(None).solved


def test_without_feedback_missing_code_and_broken_judges_are_as_ever() -> None:
    episode = blind()
    episode.answer("Hm.")
    assert episode.next_message == "No code found.\nTry again."
    episode.answer(code("a"))
    episode.observe(BROKEN)
    assert episode.stop is StopReason.INFRA_ERROR


def test_without_feedback_a_full_context_leaves_the_program_that_stands() -> None:
    for report, stop in (
        (PASSED, StopReason.PUBLIC_PASSED),
        (FAILED, StopReason.CONTEXT_LIMIT),
    ):
        episode = blind()
        episode.answer(code("a"))
        episode.observe(report)
        episode.stop_for_context_limit()
        assert episode.stop is stop


def test_random_feedback_needs_something_to_show() -> None:
    with pytest.raises(ValueError, match="kind random needs a feedback_override"):
        Episode(DOUBLE, feedback_options=FeedbackOptions(kind="random"))


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="max_turns is 0"):
        Episode(DOUBLE, max_turns=0)
    with pytest.raises(ValueError, match="'double' has no public tests"):
        Episode(replace(DOUBLE, public_tests=()))
    episode = Episode(DOUBLE)
    with pytest.raises(RuntimeError, match="no report is due: an answer is due"):
        episode.observe(FAILED)
    with pytest.raises(RuntimeError, match="cannot be finished: an answer is due"):
        episode.finish(None)
    episode.answer(code("a"))
    with pytest.raises(RuntimeError, match="no answer is due: a report is due"):
        episode.answer(code("a"))
    with pytest.raises(RuntimeError, match="no answer is due: a report is due"):
        episode.stop_for_context_limit()
    for report in (make_report(AC), make_report(AC, AC, AC), make_report()):
        with pytest.raises(ValueError, match="is not one on its 2 public tests"):
            episode.observe(report)
    episode.observe(PASSED)
    with pytest.raises(RuntimeError, match=r"no answer is due: it ended after 1 turns \(public_p"):
        episode.answer(code("a"))
    with pytest.raises(RuntimeError, match="no report is due: it ended"):
        episode.observe(PASSED)
    with pytest.raises(ValueError, match="judge last_program on all tests first"):
        episode.finish(None)


ODD = {
    "\ufeffprint(2 * int(input()))": Verdict.AC,
    "x = '\u2028\u200b'\nprint(2 * int(input()))": Verdict.AC,
    "\x0cprint(2 * int(input()))": Verdict.AC,
    "print(2 * int(input()))\u200b": Verdict.CE,
    "if 1:\n\xa0\xa0print(1)": Verdict.CE,
    "print(\u201c4\u201d)": Verdict.CE,
    "print(2)\0": Verdict.CE,
    "print('\ud800')": Verdict.CE,
    "import sys\nsys.stdout.buffer.write(b'\\xff\\xed\\xa0\\x80\\0')": Verdict.WA,
}


def test_odd_characters_stay_as_they_are_and_break_nothing() -> None:
    with Sandbox(workers=1) as sandbox:
        for program, verdict in ODD.items():
            episode = Episode(DOUBLE, max_turns=2, prompts=MINI)
            response = f"\ud800\0\r\n```python\r\n{program}\r\n```"
            found = episode.answer(response)
            assert found == program.removeprefix("\ufeff") + "\n"
            report = sandbox.judge(found, DOUBLE.public_tests)
            assert report.verdict is verdict
            message = episode.observe(report)
            assert message is None or message.encode()
            if not episode.done:
                episode.answer("No.")
            record = episode.finish(report if verdict is Verdict.AC else None)
            text = json.dumps(episode_to_json(record))
            assert text.encode("ascii") and episode_from_json(json.loads(text)) == record
