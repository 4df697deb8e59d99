"""What the driver makes of what actors tell it, without Ray: a call ends where it is made."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import ray

from rlef.distributed import fleet as fleets
from rlef.distributed import rollouts as drivers
from rlef.distributed.actors import Ended, RolloutActor
from rlef.distributed.calls import Lost
from rlef.distributed.fleet import Fleet
from rlef.distributed.rollouts import RayRollouts
from rlef.engines import ChatCompletion, EngineError, FinishReason, Generate, SamplingParams
from rlef.environment import Prompts
from rlef.problems import Problem, Test
from rlef.rollout import EpisodeRequest, EpisodeSettings, run_requests
from rlef.sandbox import JudgeJob, JudgeReport, SandboxError, Verdict
from rlef.sandbox.verdicts import same_for_all

SETTINGS = EpisodeSettings(
    sampling=SamplingParams(), max_turns=1, max_context=None, prompts=Prompts.load("mini")
)
PROBLEM = Problem(
    name="p", statement="s", public_tests=(Test("2", "4"),), private_tests=(Test("7", "14"),)
)
ACTORS = 2


class CountingEngine:
    """Is busy for 1 s as it begins an answer, and for 1 s as it ends it.

    Attributes:
        holds: whether it ends none yet.
    """

    concurrency = 4
    max_context = None

    def __init__(self) -> None:
        self.busy_s = 0.0
        self.holds = False

    def seat(self) -> AbstractContextManager[Generate]:
        return nullcontext(self.generate)

    async def generate(self, prompt: object, params: object, seed: int) -> ChatCompletion:
        self.busy_s += 1
        while self.holds:
            await asyncio.sleep(0.001)
        self.busy_s += 1
        return ChatCompletion(text="```python\nprint(5)\n```", finish=FinishReason.STOP)

    def close(self) -> None:
        pass


class NoJudge:
    def judge_many(self, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
        return [same_for_all(Verdict.WA, "", job) for job in jobs]


class Actor(RolloutActor):
    """Remembers what it has told.

    Attributes:
        ill: what its next calls for rollouts come to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.told: list[int] = []
        self.ill: Exception | None = None

    def where(self) -> tuple[str, int]:
        return "", 0

    def finished(self, kind: int, timeout_s: float, _submitted: None) -> Ended:
        if self.ill is not None:
            raise self.ill
        ended = super().finished(kind, timeout_s, None)
        self.told += [index for index, _ in ended.rollouts]
        return ended


class Handle:
    """Ray's handle of an actor; what a call returns tells its result."""

    def __init__(self, actor: Actor) -> None:
        self.own = actor

    def __getattr__(self, name: str) -> Any:
        return Method(getattr(self.own, name))


class Method:
    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def remote(self, *words: Any) -> Callable[[], Any]:
        try:
            value = self._method(*words)
        except Exception as error:
            return Failed(error)
        return lambda: value


class Failed:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self) -> None:
        raise self._error


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    for module in (fleets, drivers):
        monkeypatch.setattr(module, "result", lambda call, *_: call())
        monkeypatch.setattr(module, "ended", lambda calls, _: list(calls))
    monkeypatch.setattr(ray, "put", lambda value: value)
    monkeypatch.setattr(ray, "kill", lambda handle: handle.own.close())
    monkeypatch.setattr(ray, "wait", lambda *_, **__: None)
    fleet = Fleet(
        lambda slot: Handle(Actor()),
        (lambda: (CountingEngine(), None), NoJudge),
        ACTORS,
        checkpoint_names=False,
        timeout_s=60.0,
        say=lambda _: None,
    )
    begin(fleet)
    yield fleet
    fleet.close()


def begin(fleet: Fleet) -> None:
    """Lets all members sample."""
    for member in fleet.members:
        member.since, member.ready, member.has_weights = 0.0, True, True


def requests(count: int) -> list[EpisodeRequest]:
    return [EpisodeRequest(problem=PROBLEM, seed=seed) for seed in range(count)]


def opened(fleet: Fleet) -> RayRollouts:
    return RayRollouts(fleet, SETTINGS, together=1, most=8)


def evaluate(fleet: Fleet, count: int) -> None:
    with opened(fleet) as rollouts:
        run_requests(rollouts, requests(count))


def test_an_evaluation_takes_no_time_of_the_batch_after_it(fleet: Fleet) -> None:
    with opened(fleet) as training:
        found = []
        for evaluated in (16, 0, 16, 2, 0):
            evaluate(fleet, evaluated)
            before = training.timing
            run_requests(training, requests(4))
            found.append(training.timing.since(before).generate_s)
        assert found == [4.0] * 5  # of each actor two episodes of 2 s


def test_time_of_a_lost_actor_stays_and_the_next_one_begins_anew(fleet: Fleet) -> None:
    with opened(fleet) as training:
        evaluate(fleet, 8)
        run_requests(training, requests(4))
        fleet.lose(fleet.members[1], "it was killed")
        begin(fleet)
        assert training.timing.generate_s == 4.0
        evaluate(fleet, 8)
        run_requests(training, requests(4))
        assert training.timing.generate_s == 8.0


def test_each_second_beside_the_learner_is_of_one_batch(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "_POLL_S", 0.1)
    engine = fleet.members[1].actor.own._engine
    with opened(fleet) as training:

        def seconds(first: int, last: int, count: int) -> float:
            """Of the actors, in which some episodes begin, and so many end."""
            for index, request in enumerate(requests(last)[first:], start=first):
                training.submit(index, request)
            ended = 0
            while ended < count:
                ended += len(training.finished(1.0))
            return training.timing.generate_s

        evaluate(fleet, 8)
        engine.holds = True
        assert seconds(0, 2, 1) in (1.0, 1.5)  # 2 s and, once the second is asked for, 1 s
        engine.holds = False
        assert seconds(2, 6, 5) == 6.0
        evaluate(fleet, 8)
        assert training.timing.generate_s == 6.0
        assert seconds(6, 8, 2) == 8.0


@pytest.mark.parametrize("slot", range(ACTORS))
@pytest.mark.parametrize(
    ("ill", "said"),
    [(Lost("it died"), "was lost 4 times .* it died"), (SandboxError("no judge"), "no judge")],
)
def test_what_others_have_ended_comes_before_the_error(
    fleet: Fleet, slot: int, ill: Exception, said: str
) -> None:
    for _ in range(3):
        fleet.lose(fleet.members[slot], "it was killed")
    begin(fleet)
    actors = [member.actor.own for member in fleet.members]
    actors[slot].ill = ill
    with opened(fleet) as rollouts:
        for index, request in enumerate(requests(6)):
            rollouts.submit(index, request)
        found = [index for index, _ in rollouts.finished(10.0)]
        assert found and found == actors[1 - slot].told
        for _ in range(2):
            with pytest.raises(type(ill) if isinstance(ill, SandboxError) else EngineError) as why:
                rollouts.finished(10.0)
            assert why.match(said)
        assert found == actors[1 - slot].told


def test_what_has_ended_comes_before_an_error_in_looking_after_actors(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    able, looks = fleet.able, []

    def fail_later() -> list[Any]:
        looks.append(1)
        if len(looks) > 1:
            raise EngineError("there is none any more")
        return able()

    monkeypatch.setattr(fleet, "able", fail_later)
    with opened(fleet) as rollouts:
        for index, request in enumerate(requests(4)):
            rollouts.submit(index, request)
        found = [index for index, _ in rollouts.finished(10.0)]
        assert found and found == [i for member in fleet.members for i in member.actor.own.told]
        with pytest.raises(EngineError, match="there is none any more"):
            rollouts.finished(10.0)
