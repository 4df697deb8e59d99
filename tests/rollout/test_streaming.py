import threading
from collections.abc import Iterator

import pytest
from scripted import (
    DOUBLE,
    NO_CODE,
    RIGHT,
    TOO_LONG,
    WRONG,
    ScriptedEngine,
    ScriptedStream,
    make_chat,
)
from scripted import make_worker as make

from rlef.engines import EngineError
from rlef.environment import ChatFormat, StopReason
from rlef.rollout import EpisodeRequest, Rollout, RolloutWorker
from rlef.sandbox import JudgeJob, JudgeReport, Sandbox, TestReport, Verdict


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    return make_chat()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as running:
        yield running


def requests(count: int) -> list[EpisodeRequest]:
    return [EpisodeRequest(problem=DOUBLE, seed=seed) for seed in range(count)]


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


@pytest.mark.parametrize("concurrency", [1, 3, 50])
def test_rollouts_are_those_of_the_loop_in_groups(
    chat: ChatFormat, sandbox: Sandbox, concurrency: int
) -> None:
    engine = ScriptedStream(chat, script, concurrency=concurrency)
    rollouts = make(engine, sandbox).run(requests(11))
    groups = ScriptedEngine(chat, script)
    assert rollouts == make(groups, sandbox).run(requests(11))
    assert engine.most <= concurrency
    asked = sorted((seed, prompt) for _, prompt, seed in engine.asked)
    assert asked == sorted((seed, prompt) for call in groups.calls for prompt, seed in call)
    assert engine.cancelled == 1


def test_sampling_goes_on_while_a_program_is_judged(chat: ChatFormat) -> None:
    first_may_end = threading.Event()
    given: list[str] = []

    def answers(_: str, turn: int) -> str:
        given.append(WRONG if given else "```python\nprint(101)\n```")
        if len(given) == 6:  # the five others have all been answered meanwhile
            first_may_end.set()
        return given[-1]

    engine = ScriptedStream(chat, answers, concurrency=2)
    worker = make(engine, HeldSandbox({"101": first_may_end}), max_turns=1)
    ended = [place for some in worker.stream(requests(6)) for place, _ in some]
    assert sorted(ended) == list(range(6))
    assert ended.index(0) >= 1


def test_episodes_are_handed_out_as_they_end(chat: ChatFormat) -> None:
    slow = threading.Event()
    programs = iter(["101", "102", "103"])
    engine = ScriptedStream(chat, lambda *_: f"```python\nprint({next(programs)})\n```")
    worker = make(engine, HeldSandbox({"101": slow}), max_turns=1)
    stream = worker.stream(requests(3))
    early: set[int] = set()
    while len(early) < 2:
        early.update(place for place, _ in next(stream))
    slow.set()
    assert early == {1, 2}
    assert [place for some in stream for place, _ in some] == [0]


def test_no_more_episodes_than_its_number_are_under_way(chat: ChatFormat) -> None:
    held = threading.Event()
    engine = ScriptedStream(chat, lambda *_: WRONG, concurrency=3)
    stream = make(engine, HeldSandbox({"5": held}), max_turns=1).stream(requests(9))
    threading.Timer(0.3, held.set).start()
    first = next(stream)
    assert 1 <= len(first) <= 3 and len(engine.asked) == 3
    assert len(first) + sum(len(some) for some in stream) == 9


def test_what_is_judged_when_the_engine_fails_is_kept(chat: ChatFormat, sandbox: Sandbox) -> None:
    engine = ScriptedStream(chat, lambda *_: RIGHT, concurrency=4, fail_after=6)
    kept: list[Rollout] = []
    with pytest.raises(EngineError, match="it is gone"):
        for ended in make(engine, sandbox).stream(requests(20)):
            kept += [rollout for _, rollout in ended]
    assert len(kept) == 6 and all(rollout.record.solved for rollout in kept)
    assert engine.cancelled == 1


def test_episodes_that_have_not_ended_when_the_engine_fails_are_dropped(chat: ChatFormat) -> None:
    engine = ScriptedStream(chat, lambda *_: WRONG, concurrency=4, fail_after=6)
    worker = make(engine, HeldSandbox({}), max_turns=9)
    with pytest.raises(EngineError):
        assert list(worker.stream(requests(20))) == []


def test_a_failure_of_the_judge_ends_the_stream(chat: ChatFormat) -> None:
    class Closed:
        def judge_many(self, jobs: list[JudgeJob]) -> list[JudgeReport]:
            raise RuntimeError("the sandbox is closed")

    engine = ScriptedStream(chat, lambda *_: WRONG)
    with pytest.raises(RuntimeError, match="the sandbox is closed"):
        make(engine, Closed()).run(requests(8))
    assert engine.cancelled == 1


def test_a_stream_that_is_left_leaves_the_engine_free(chat: ChatFormat, sandbox: Sandbox) -> None:
    engine = ScriptedStream(chat, lambda *_: RIGHT)
    worker = make(engine, sandbox)
    stream = worker.stream(requests(9))
    next(stream)
    stream.close()
    assert engine.cancelled == 1
    assert [rollout.seed for rollout in worker.run(requests(3))] == [0, 1, 2]


def test_prompts_without_room_end_their_episode(chat: ChatFormat, sandbox: Sandbox) -> None:
    whole = make(ScriptedStream(chat, script), sandbox).run(requests(1))[0]
    limit = whole.prompt_ends[1] + 1
    rollouts = make(ScriptedStream(chat, script), sandbox, max_context=limit).run(requests(3))
    assert [rollout.record.stop for rollout in rollouts] == [StopReason.CONTEXT_LIMIT] * 3
    assert [len(rollout.record.turns) for rollout in rollouts] == [1] * 3
    none = make(ScriptedStream(chat, script), sandbox, max_context=5).run(requests(7))
    assert [rollout.record.turns for rollout in none] == [()] * 7


def message_worker(engine: ScriptedStream, sandbox: Sandbox, **words: object) -> RolloutWorker:
    return make(engine, sandbox, max_context=None, **words)


def test_an_engine_that_answers_in_text_gets_messages(sandbox: Sandbox) -> None:
    engine = ScriptedStream(None, script, concurrency=2)
    rollouts = message_worker(engine, sandbox).run(requests(3))
    for rollout in rollouts:
        assert rollout.record.solved and rollout.rewards == (0.0, -0.2, 1.0)
        assert [turn.response for turn in rollout.record.turns] == [WRONG, NO_CODE, RIGHT]
        assert rollout.token_ids == () and not rollout.trainable
    last = next(prompt for key, prompt, _ in reversed(engine.asked) if key == 1)
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
    [rollout] = message_worker(engine, sandbox).run(requests(1))
    assert rollout.record.stop is StopReason.CONTEXT_LIMIT
    assert len(rollout.record.turns) == turns and not rollout.record.solved
    assert all(turn.response == WRONG for turn in rollout.record.turns)
