"""Many episodes at once, on engines that take prompts one by one."""

import threading
import time
from collections.abc import Callable

import pytest
from scripted import (
    DOUBLE,
    LEAST,
    NO_CODE,
    RIGHT,
    TOO_LONG,
    WRONG,
    ScriptedEngine,
    ScriptedStream,
    make,
    plain,
    requests,
    run,
)

from rlef.engines import EngineError
from rlef.engines.weights import ModelWeights
from rlef.environment import ChatFormat, StopReason
from rlef.rollout import LocalRollouts, Rollout, run_requests
from rlef.sandbox import JudgeJob, JudgeReport, Sandbox, TestReport, Verdict


def script(_: str, turn: int) -> str:
    return [WRONG, NO_CODE, RIGHT][turn]


class HeldSandbox:
    """Fails every program, once the test lets it; a program's name is the number it prints."""

    def __init__(self, let: dict[str, threading.Event]) -> None:
        self.let = let

    def judge_many(self, jobs: list[JudgeJob]) -> list[JudgeReport]:
        for job in jobs:
            for name, event in self.let.items():
                if name in job.source:
                    assert event.wait(10), f"the program with {name} was held for ever"
        failed = TestReport(verdict=Verdict.WA, stdout="0")
        return [
            JudgeReport(verdict=Verdict.WA, tests=tuple(failed for _ in job.tests)) for job in jobs
        ]


def wait_for(rollouts: LocalRollouts, count: int) -> list[tuple[int, Rollout]]:
    found: list[tuple[int, Rollout]] = []
    end = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < end, f"{len(found)} of {count} episodes ended"
        found += rollouts.finished(0.1)
    return found


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def submit(rollouts: LocalRollouts, count: int) -> None:
    for index, request in enumerate(requests(count)):
        rollouts.submit(index, request)


@pytest.mark.parametrize("concurrency", [1, 3, 50])
def test_rollouts_are_those_of_an_engine_with_groups(
    chat: ChatFormat, sandbox: Sandbox, concurrency: int
) -> None:
    engine = ScriptedStream(chat, script, concurrency=concurrency)
    rollouts = run(engine, sandbox, 11)
    groups = ScriptedEngine(chat, script)
    assert plain(rollouts) == plain(run(groups, sandbox, 11))
    assert engine.most <= concurrency
    asked = sorted((seed, prompt) for prompt, seed in engine.asked)
    assert asked == sorted((seed, prompt) for call in groups.calls for prompt, seed in call)


def test_a_slow_judge_does_not_starve_the_engine(chat: ChatFormat) -> None:
    """With a concurrency of 2 three programs are held; the engine answers five others meanwhile."""
    may_end = threading.Event()
    given: list[str] = []

    def answers(_: str, turn: int) -> str:
        held = "```python\nprint(101)\n```"
        given.append(held if len(given) < 3 else WRONG)
        if len(given) == 8:
            may_end.set()
        return given[-1]

    engine = ScriptedStream(chat, answers, concurrency=2)
    with make(engine, HeldSandbox({"101": may_end}), max_turns=1) as rollouts:
        submit(rollouts, 8)
        assert sorted(index for index, _ in wait_for(rollouts, 8)) == list(range(8))
    assert engine.most == 2


def test_episodes_are_handed_out_as_they_end_each_once(chat: ChatFormat) -> None:
    slow = threading.Event()
    programs = iter(["101", "102", "103"])
    engine = ScriptedStream(
        chat, lambda *_: f"```python\nprint({next(programs)})\n```", concurrency=1
    )
    with make(engine, HeldSandbox({"101": slow}), max_turns=1) as rollouts:
        submit(rollouts, 3)
        early = {index for index, _ in wait_for(rollouts, 2)}
        assert early == {1, 2} and rollouts.finished(0.05) == []
        slow.set()
        assert [index for index, _ in wait_for(rollouts, 1)] == [0]
        assert rollouts.finished(0.05) == []


def test_no_more_than_a_few_episodes_per_slot_are_under_way(chat: ChatFormat) -> None:
    held = threading.Event()
    engine = ScriptedStream(chat, lambda *_: WRONG, concurrency=3)
    with make(engine, HeldSandbox({"5": held}), max_turns=1) as rollouts:
        submit(rollouts, 40)
        rollouts.begin()
        wait_until(lambda: len(engine.asked) >= 12)
        assert rollouts.finished(0.3) == [] and len(engine.asked) == 12
        held.set()
        assert len(wait_for(rollouts, 40)) == 40


def test_an_index_twice_is_refused_while_it_is_under_way(
    chat: ChatFormat, sandbox: Sandbox
) -> None:
    with make(ScriptedStream(chat, script), sandbox) as rollouts:
        submit(rollouts, 1)
        with pytest.raises(ValueError, match="episode 0 is under way already"):
            rollouts.submit(0, requests(1)[0])
        wait_for(rollouts, 1)
        assert len(run_requests(rollouts, requests(1))) == 1
        assert run_requests(rollouts, []) == []


@pytest.mark.parametrize("groups", [False, True])
def test_what_is_judged_when_the_engine_fails_is_kept(chat: ChatFormat, groups: bool) -> None:
    """The first answer's program is judged until after the failure."""
    failed = threading.Event()

    class Slow(HeldSandbox):
        def judge_many(self, jobs: list[JudgeJob]) -> list[JudgeReport]:
            assert failed.wait(10)
            return super().judge_many(jobs)

    engine = (
        ScriptedEngine(chat, lambda *_: WRONG, concurrency=2, fail_after=1)
        if groups
        else ScriptedStream(chat, lambda *_: WRONG, concurrency=1, fail_after=2)
    )
    with make(engine, Slow({}), max_turns=1) as rollouts:
        submit(rollouts, 20)
        assert rollouts.finished(0.3) == []
        failed.set()
        kept = wait_for(rollouts, 2)
        assert sorted(index for index, _ in kept) == [0, 1]
        for _ in range(2):
            with pytest.raises(EngineError, match="it is gone"):
                wait_for(rollouts, 1)


def test_episodes_that_have_not_ended_when_the_engine_fails_are_dropped(chat: ChatFormat) -> None:
    engine = ScriptedStream(chat, lambda *_: WRONG, concurrency=4, fail_after=6)
    with make(engine, HeldSandbox({}), max_turns=9) as rollouts, pytest.raises(EngineError):
        submit(rollouts, 20)
        wait_for(rollouts, 1)


@pytest.mark.parametrize("kind", [ScriptedEngine, ScriptedStream])
def test_a_failure_of_the_judge_reaches_the_caller(
    chat: ChatFormat, kind: type[ScriptedEngine | ScriptedStream]
) -> None:
    class Closed:
        def judge_many(self, jobs: list[JudgeJob]) -> list[JudgeReport]:
            raise RuntimeError("the sandbox is closed")

    with pytest.raises(RuntimeError, match="the sandbox is closed"):
        run(kind(chat, lambda *_: WRONG), Closed(), 8)


def test_closing_while_it_samples_leaves_the_engine_free(
    chat: ChatFormat, sandbox: Sandbox
) -> None:
    engine = ScriptedEngine(chat, lambda *_: RIGHT, batch_s=60.0)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), make(engine, sandbox) as rollouts:
        submit(rollouts, 9)
        rollouts.begin()
        wait_until(lambda: engine.calls)
        assert rollouts.finished(0.05) == [] and len(engine.calls) == 1
        raise KeyboardInterrupt
    engine._batch_s = 0.0
    assert [rollout.seed for rollout in run(engine, sandbox, 3)] == [0, 1, 2]
    assert time.monotonic() - started < 20


def test_closing_while_a_program_is_judged_does_not_wait_for_it(chat: ChatFormat) -> None:
    held = threading.Event()
    with make(ScriptedStream(chat, lambda *_: WRONG), HeldSandbox({"5": held})) as rollouts:
        submit(rollouts, 3)
        assert rollouts.finished(0.2) == []
        started = time.monotonic()
    assert time.monotonic() - started < 5
    held.set()


def test_new_weights_serve_from_the_next_turn_on(chat: ChatFormat) -> None:
    begun, judged = threading.Event(), threading.Event()

    class Told(HeldSandbox):
        def judge_many(self, jobs: list[JudgeJob]) -> list[JudgeReport]:
            begun.set()
            return super().judge_many(jobs)

    engine = ScriptedEngine(chat, lambda _, turn: [WRONG, RIGHT][turn])
    with make(engine, Told({"5": judged}), max_turns=2) as rollouts:
        rollouts.use(ModelWeights(version=8, model=None))  # type: ignore[arg-type]
        submit(rollouts, 3)
        assert rollouts.finished(0.05) == [] and begun.wait(20)
        rollouts.use(ModelWeights(version=12, model=None))  # type: ignore[arg-type]
        judged.set()
        found = wait_for(rollouts, 3)
    for _, rollout in found:
        assert rollout.policy_versions.tolist() == [8, 12] and rollout.oldest_version == 8


def test_an_engine_without_weights_takes_none(chat: ChatFormat, sandbox: Sandbox) -> None:
    weights = ModelWeights(version=1, model=None)  # type: ignore[arg-type]
    with (
        make(ScriptedStream(chat, script), sandbox) as rollouts,
        pytest.raises(ValueError, match="ScriptedStream takes no weights"),
    ):
        rollouts.use(weights)


def test_prompts_without_room_end_their_episode(chat: ChatFormat, sandbox: Sandbox) -> None:
    [whole] = run(ScriptedStream(chat, script), sandbox)
    limit = int(whole.prompt_ends[0]) + whole.turn_ids.tolist().count(0) + LEAST
    rollouts = run(ScriptedStream(chat, script), sandbox, 3, max_context=limit)
    assert [rollout.record.stop for rollout in rollouts] == [StopReason.CONTEXT_LIMIT] * 3
    assert [len(rollout.record.turns) for rollout in rollouts] == [1] * 3
    none = run(ScriptedStream(chat, script), sandbox, 7, max_context=5)
    assert [rollout.record.turns for rollout in none] == [()] * 7


def test_an_engine_that_answers_in_text_gets_messages(sandbox: Sandbox) -> None:
    engine = ScriptedStream(None, script, concurrency=2)
    rollouts = run(engine, sandbox, 3, max_context=None)
    for rollout in rollouts:
        assert rollout.record.solved and rollout.rewards == pytest.approx([0.0, -0.2, 1.0])
        assert [turn.response for turn in rollout.record.turns] == [WRONG, NO_CODE, RIGHT]
        assert rollout.token_ids.tolist() == [] and not rollout.trainable
        assert rollout.oldest_version is None
    last, _ = max(engine.asked, key=lambda asked: len(asked[0]))
    roles = [message["role"] for message in last]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert last[1]["content"] == WRONG and last[3]["content"] == NO_CODE
    assert "Expected output:\n4\nYour output:\n5" in last[2]["content"]
    [_, _, turn] = rollouts[1].record.turns
    assert turn.completion_tokens == len(RIGHT)
    assert turn.prompt_tokens == sum(len(m["role"] + m["content"]) + 4 for m in last)


@pytest.mark.parametrize("turns", [0, 2])
def test_a_server_without_room_ends_the_episode(sandbox: Sandbox, turns: int) -> None:
    engine = ScriptedStream(None, lambda _, turn: TOO_LONG if turn == turns else WRONG)
    [rollout] = run(engine, sandbox, max_context=None)
    assert rollout.record.stop is StopReason.CONTEXT_LIMIT
    assert len(rollout.record.turns) == turns and not rollout.record.solved
    assert all(turn.response == WRONG for turn in rollout.record.turns)


def test_programs_that_come_together_are_judged_in_one_call(chat: ChatFormat) -> None:
    calls: list[int] = []

    class Counting(HeldSandbox):
        def judge_many(self, jobs: list[JudgeJob]) -> list[JudgeReport]:
            calls.append(len(jobs))
            return super().judge_many(jobs)

    run(ScriptedEngine(chat, lambda *_: WRONG), Counting({}), 8, max_turns=2)
    assert calls == [4] * 4
    assert DOUBLE.public_tests
