"""Tests travel once, outputs that equal the expected one not at all, and nothing is mixed up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlef.problems import Test
from rlef.sandbox import JudgeJob, JudgeReport, TestReport, Verdict, wire


def job(*texts: str) -> JudgeJob:
    return JudgeJob(source="pass", tests=tuple(Test(text, text) for text in texts))


def report(*outputs: str) -> JudgeReport:
    tests = tuple(TestReport(verdict=Verdict.AC, stdout=output) for output in outputs)
    return JudgeReport(verdict=Verdict.AC, tests=tests)


def test_tests_are_sent_the_first_time_only() -> None:
    sender, receiver = wire.Sender(), wire.Receiver()
    messages = [sender.pack(n, job("a"), "key") for n in (1, 2)]
    assert [message.tests is None for message in messages] == [False, True]
    assert [receiver.unpack(message) for message in messages] == [job("a")] * 2


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 40), st.integers(0, 12))
def test_every_job_keeps_its_tests_whatever_is_forgotten(
    places: list[int], room: int, most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "REMEMBERED_CHARS", room)
        patch.setattr(wire, "REMEMBERED_LISTS", most)
        sender, receiver = wire.Sender(), wire.Receiver()
        for number, place in enumerate(places):
            sent = job("x" * place, str(place))
            assert receiver.unpack(sender.pack(number, sent, place)) == sent
        assert sender._chars <= room and len(sender._names) <= most  # so memory has a bound
        assert len(receiver._tests) == len(sender._names)


def test_only_the_expected_string_itself_is_left_out() -> None:
    wanted = "7 " * 200
    tests = [Test("", wanted), Test("", "7"), Test("", "8" * 300)]
    whole = report(wanted, "7", "".join(["8"] * 300))  # equal to the last one, but another string
    message = wire.pack_report(whole, tests)
    assert message.echoes == (0,)
    assert [test.stdout for test in message.report.tests] == ["", "7", "8" * 300]
    assert wire.unpack_report(message, tests) == whole


def test_a_report_may_end_early() -> None:
    wanted = "7 " * 200
    message = wire.pack_report(report(wanted), [Test("", wanted), Test("", "8")])
    assert wire.unpack_report(message, [Test("", wanted), Test("", "8")]) == report(wanted)
