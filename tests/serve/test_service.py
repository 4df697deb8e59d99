"""The queue: bounds, deadlines, keys, an orderly end. Nothing is judged here."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from serving import AC, ScriptedSandbox
from starlette.requests import Request

from rlef.problems import Test
from rlef.sandbox import JudgeJob, JudgeReport, SandboxError, TestReport, Verdict
from rlef.serve import service as service_module
from rlef.serve.answers import Desk
from rlef.serve.errors import BusyError, NotJudgedError, RefusedError, StoppingError
from rlef.serve.protocols import sandbox_fusion
from rlef.serve.service import AHEAD, SLICE, JudgeService
from rlef.serve.settings import ServeSettings


def one(source: str = "x", tests: int = 1, **fields: Any) -> JudgeJob:
    return JudgeJob(source=source, tests=(Test("", ""),) * tests, **fields)


def service(box: ScriptedSandbox, **settings: Any) -> JudgeService:
    made: Any = box
    return JudgeService(made, ServeSettings(**({"workers": 1} | settings)))


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 20))


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def work() -> None:
        box = ScriptedSandbox(None)
        judge = service(box, max_queue=3)
        tasks = [asyncio.create_task(judge.judge(one(f"{i}"))) for i in range(AHEAD + 3)]
        await settle()
        assert (judge.running, judge.waiting) == (AHEAD, 3)
        with pytest.raises(BusyError) as caught:
            await judge.judge(one("more"))
        assert 1 <= caught.value.retry_after_s <= 60
        patient = asyncio.create_task(judge.judge(one("patient"), patient=True))
        await settle()
        while any(not task.done() for task in (*tasks, patient)):
            for future in box.futures:
                if not future.done():
                    future.set_result(AC)
            await settle()
        assert judge.idle and judge.metrics.refused["busy"] == 1
        assert len(box.jobs) == AHEAD + 4

    run(work)


def test_a_deadline_ends_the_wait_but_its_program_keeps_its_slot() -> None:
    async def work() -> None:
        box = ScriptedSandbox(None)
        judge = service(box)
        for i in range(AHEAD):
            with pytest.raises(NotJudgedError, match=r"the deadline of 0\.01 s passed"):
                await judge.judge(one(f"{i}"), deadline_s=0.01)
        assert judge.running == AHEAD and judge.metrics.not_judged["deadline"] == AHEAD
        with pytest.raises(NotJudgedError):
            await judge.judge(one("waits"), deadline_s=0.01)
        assert len(box.jobs) == AHEAD  # it has not been run
        for future in box.futures:
            future.set_result(AC)
        await settle()
        assert judge.running == 0 and judge.idle

    run(work)


def test_the_same_key_is_judged_once_also_after_a_caller_has_gone() -> None:
    async def work() -> None:
        box = ScriptedSandbox(None)
        judge = service(box)
        first = asyncio.create_task(judge.judge(one(), key="k"))
        await settle()
        first.cancel()
        again = asyncio.create_task(judge.judge(one(), key="k"))
        await settle()
        box.futures[0].set_result(AC)
        assert await again == AC and await judge.judge(one(), key="k") == AC
        assert len(box.jobs) == 1
        with pytest.raises(RefusedError, match="another job"):
            await judge.judge(one("other"), key="k")

    run(work)


@pytest.mark.parametrize("ending", ["IE", "error"])
def test_a_key_under_which_nothing_was_learnt_is_judged_again(ending: str) -> None:
    async def work() -> None:
        box = ScriptedSandbox(None)
        judge = service(box)
        task = asyncio.create_task(judge.judge(one(), key="k"))
        await settle()
        lost = TestReport(verdict=Verdict.IE, message="the jail failed")
        if ending == "IE":
            for i in range(3):  # it is judged anew before it is told
                assert len(box.futures) == i + 1
                box.futures[i].set_result(JudgeReport(verdict=Verdict.IE, tests=(lost,)))
                await settle()
            assert (await task).verdict is Verdict.IE and judge.metrics.again == 2
            assert judge.metrics.not_judged["infrastructure"] == 1
        else:
            box.futures[0].set_exception(SandboxError("no compiler"))
            with pytest.raises(SandboxError):
                await task
        await settle()
        box.report = AC
        assert await judge.judge(one(), key="k") == AC

    run(work)


def test_a_deadline_of_a_key_is_its_callers_own() -> None:
    async def work() -> None:
        box = ScriptedSandbox(None)
        judge = service(box)
        hasty = asyncio.create_task(judge.judge(one(), key="k", deadline_s=0.05))
        patient = asyncio.create_task(judge.judge(one(), key="k"))
        with pytest.raises(NotJudgedError, match=r"deadline of 0\.05 s passed"):
            await hasty
        while len(box.futures) < 2:
            await asyncio.sleep(0)
        box.futures[1].set_result(AC)
        assert await patient == AC

    run(work)


def test_a_caller_in_the_turn_in_which_a_deadline_ends_a_key_is_judged() -> None:
    async def work() -> None:
        box = ScriptedSandbox(None)
        judge = service(box)
        hasty = asyncio.create_task(judge.judge(one(), key="k", deadline_s=0.05))
        await settle()
        [(_, task)] = judge._keyed.values()
        while not task.done():
            await asyncio.sleep(0)
        assert "k" in judge._keyed  # it is forgotten in the next turn
        box.report = AC
        assert await judge.judge(one(), key="k") == AC
        with pytest.raises(NotJudgedError):
            await hasty

    run(work)


def test_what_is_printed_beyond_an_answers_room_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_module, "MOST_PRINTED", 3 << 20)

    async def work() -> None:
        loud = TestReport(verdict=Verdict.AC, stdout="x" * (2 << 20), stderr="y" * (1 << 19))
        box = ScriptedSandbox(JudgeReport(verdict=Verdict.AC, tests=(loud,)))
        judge = service(box)
        assert (await judge.judge(one(tests=1))).tests == (loud,)
        found = await judge.judge(one(tests=7))
        assert [len(job.tests) for job in box.jobs] == [1, 3, 3, 1]
        assert [test.verdict for test in found.tests] == [Verdict.AC] * 3 == [found.verdict] * 3
        lengths = [(len(test.stdout), len(test.stderr)) for test in found.tests]
        assert lengths == [(2 << 20, 1 << 19), (1 << 19, 0), (0, 0)]

    run(work)


def test_what_is_held_ends_though_the_service_stops() -> None:
    async def work() -> None:
        judge = service(ScriptedSandbox())
        with judge.held():
            judge.stop()
            assert not judge.idle
            with pytest.raises(StoppingError):
                await judge.judge(one("other"))
            assert await judge.judge(one(), begun=True) == AC
        assert judge.idle

    run(work)


@pytest.mark.parametrize(("stops", "parts"), [(False, 3), (True, 1)])
def test_many_tests_are_judged_in_slices(stops: bool, parts: int) -> None:
    async def work() -> None:
        failed = TestReport(verdict=Verdict.WA)
        box = ScriptedSandbox(JudgeReport(verdict=Verdict.WA, tests=(failed,)))
        report = await service(box).judge(one(tests=2 * SLICE + 1, stop_at_first_failure=stops))
        assert [len(job.tests) for job in box.jobs] == [SLICE, SLICE, 1][:parts]
        assert report == JudgeReport(verdict=Verdict.WA, tests=(failed,) * parts)

    run(work)


def test_a_service_that_stops_ends_what_it_has() -> None:
    async def work() -> None:
        box = ScriptedSandbox(None)
        judge = service(box)
        task = asyncio.create_task(judge.judge(one()))
        await settle()
        judge.stop()
        assert not judge.idle
        with pytest.raises(StoppingError):
            await judge.judge(one("late"))
        box.futures[0].set_result(AC)
        assert await task == AC and judge.idle

    run(work)


def test_what_the_end_of_the_grace_interrupts_is_told_to_ask_again() -> None:
    """In the words of its protocol: to verl any status but 504 is a program that failed."""

    async def work() -> None:
        judge = service(ScriptedSandbox(None))
        body = b'{"code": "1"}'

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        headers = [(b"content-type", b"application/json")]
        request = Request({"type": "http", "headers": headers}, receive)
        [run_code, _] = sandbox_fusion.routes(Desk(judge, ServeSettings()))
        task = asyncio.create_task(run_code.endpoint(request))
        await settle()
        judge.stop()
        task.cancel()
        assert (await task).status_code == 504

    run(work)


def test_whoever_has_gone_meanwhile_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlef.serve.service._LONG_WAIT_S", -1.0)

    async def gone() -> bool:
        return True

    async def work() -> None:
        box = ScriptedSandbox()
        judge = service(box)
        with pytest.raises(NotJudgedError, match="gone"):
            await judge.judge(one(), gone=gone)
        assert box.jobs == [] and await judge.judge(one()) == AC

    run(work)


def test_keys_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlef.serve.service._KEPT_KEYS", 3)

    async def work() -> None:
        box = ScriptedSandbox()
        judge = service(box)
        for i in range(10):
            await judge.judge(one(f"{i}"), key=f"{i}")
        await settle()
        assert list(judge._keyed) == ["7", "8", "9"]
        assert judge._key_chars == 3 * (200 + len("4\n"))

    run(work)
