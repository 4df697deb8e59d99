"""Actors, judges and machines that are killed or stand still: each rollout comes once."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from raylets import add_machine, far_machine
from scripted import requests
from scripted_actors import GROUP, HOLDS, POISON, StillWeights, make_learner, open_engine

from rlef.distributed import ClusterSettings
from rlef.distributed.actors import LearnerActor, RolloutActor
from rlef.distributed.fleet import Fleet
from rlef.distributed.judges import JudgeActor, RemoteJudges
from rlef.distributed.learner import RayLearner
from rlef.distributed.rollouts import RayRollouts
from rlef.distributed.session import Needs, Session, open_session
from rlef.engines import EngineError, SamplingParams
from rlef.environment import Prompts, StopReason
from rlef.learner.service import LearnerLost
from rlef.problems import Test
from rlef.rollout import EpisodeSettings, Rollout, derive_seed
from rlef.sandbox import JudgeJob, Limits, Sandbox, Verdict

NEEDS = Needs(rollout={"CPU": 1.0}, judge={"CPU": 1.0}, learner={"CPU": 0.5})
SETTINGS = EpisodeSettings(
    sampling=SamplingParams(max_new_tokens=64),
    max_turns=3,
    max_context=4096,
    prompts=Prompts.load("mini"),
    limits=Limits(cpu_s=2),
)
COUNT = 24


@pytest.fixture(scope="module")
def session(ray_address: str) -> Iterator[Session]:
    settings = ClusterSettings(address=ray_address, rollout_actors=2, judge_actors=2)
    with open_session(settings, lambda _: NEEDS) as opened:
        yield opened


@contextmanager
def sampling(
    session: Session,
    *,
    batch_s: float = 0.3,
    deadly: int | None = None,
) -> Iterator[tuple[Fleet, RayRollouts, list[str]]]:
    told: list[str] = []
    fleet = Fleet(
        lambda slot: session.rollout_actor(slot, RolloutActor),
        (partial(open_engine, batch_s, deadly), partial(Sandbox, workers=1)),
        2,
        checkpoint_names=False,
        timeout_s=60.0,
        say=told.append,
    )
    try:
        fleet.wait_until_ready()
        weights = StillWeights()
        for _ in range(2):
            fleet.use(weights)  # type: ignore[arg-type]
        assert weights.asked == [{}, HOLDS]  # what engines hold is known once they have some
        with RayRollouts(fleet, SETTINGS, together=GROUP, most=2 * GROUP) as rollouts:
            for index, request in enumerate(requests(COUNT)):
                rollouts.submit(index, request)
            yield fleet, rollouts, told
    finally:
        fleet.close()


def collect(rollouts: RayRollouts, found: dict[int, Rollout], count: int, wait_s: float) -> None:
    """Until so many have come; each once."""
    end = time.monotonic() + wait_s
    while len(found) < count:
        assert time.monotonic() < end, sorted(found)
        for index, rollout in rollouts.finished(0.5):
            assert index not in found
            found[index] = rollout


def process(actor: Any) -> int:
    import ray

    pid: int = ray.get(actor.where.remote())[1]
    return pid


def test_calls_that_come_after_an_actor_has_forgotten_them_do_nothing() -> None:
    actor = RolloutActor()
    actor.open(partial(open_engine, 0.0), partial(Sandbox, workers=1))
    one = next(iter(requests(1)))
    actor.submit(0, SETTINGS, [(0, 0, one.seed)], one.problem)
    actor.forget(0)
    actor.submit(0, SETTINGS, [(1, 0, one.seed)], one.problem)
    told = actor.finished(0, 60.0, None)
    assert told.rollouts == [] and told.under_way == 0
    actor.close()


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_lost_actor_had_goes_to_others(session: Session, kind: signal.Signals) -> None:
    with sampling(session) as (fleet, rollouts, told):
        found: dict[int, Rollout] = {}
        lost = fleet.members[0]
        pid = process(lost.actor)
        collect(rollouts, found, 2, 60)
        os.kill(pid, kind)
        if kind is signal.SIGSTOP:
            fleet.timeout_s = 4.0
            end = time.monotonic() + 60
            while not told:
                assert time.monotonic() < end, sorted(found)
                found.update(rollouts.finished(0.1))
            fleet.timeout_s = 60.0  # of the new process, which begins as slowly as any
        collect(rollouts, found, COUNT, 90)
        assert all(rollout.record.solved for rollout in found.values())
        assert {rollout.seed for rollout in found.values()} == set(range(COUNT))
        assert rollouts.finished(0.2) == []
        why = "its process died" if kind is signal.SIGKILL else "its process did not answer for"
        assert len(told) == 1 and why in told[0] and "episodes go to others" in told[0]
        assert fleet.members[0] is not lost
        for _ in range(3):
            fleet.lose(fleet.members[1], "it was killed")
        with pytest.raises(EngineError, match=r"actor 1 was lost 4 times .* because it was killed"):
            fleet.lose(fleet.members[1], "it was killed")
        assert len(told) == 4


def test_an_episode_that_kills_its_actors_is_given_up(session: Session) -> None:
    deadly = derive_seed(POISON, "answer", 0)
    with sampling(session, batch_s=0.0, deadly=deadly) as (_, rollouts, told):
        found: dict[int, Rollout] = {}
        collect(rollouts, found, COUNT, 120)
        stops = {index: rollout.record.stop for index, rollout in found.items()}
        assert stops.pop(POISON) is StopReason.INFRA_ERROR and not found[POISON].trainable
        assert set(stops.values()) == {StopReason.PUBLIC_PASSED}
        assert len(told) == 3


def test_a_machine_that_goes_takes_no_rollout_with_it(ray_cluster: Any, session: Session) -> None:
    machine = add_machine(ray_cluster, 2)
    settings = ClusterSettings(address=ray_cluster.address, rollout_actors=2)
    try:
        with (
            open_session(settings, lambda _: NEEDS) as both,
            sampling(both, batch_s=1.5) as (_, rollouts, told),
        ):
            found: dict[int, Rollout] = {}
            collect(rollouts, found, 2, 60)
            ray_cluster.remove_node(machine, allow_graceful=False)
            collect(rollouts, found, COUNT, 120)
            assert all(rollout.record.solved for rollout in found.values())
            assert any("is lost" in line for line in told)
    finally:
        if machine in ray_cluster.worker_nodes:
            ray_cluster.remove_node(machine)


@pytest.mark.slow
def test_a_machine_whose_network_is_cut_takes_no_rollout_with_it(
    ray_cluster: Any, session: Session
) -> None:
    settings = ClusterSettings(address=ray_cluster.address, rollout_actors=2)
    with (
        far_machine(ray_cluster, 2) as (address, cut),
        open_session(settings, lambda _: NEEDS) as both,
        sampling(both, batch_s=1.5) as (fleet, rollouts, told),
    ):
        assert address in [member.machine for member in fleet.members]
        found: dict[int, Rollout] = {}
        collect(rollouts, found, 2, 60)
        cut()
        collect(rollouts, found, COUNT, 300)
        assert all(rollout.record.solved for rollout in found.values())
        assert rollouts.finished(0.2) == []
        assert address in told[0] and "its machine is gone" in told[0]
        assert address not in [member.machine for member in fleet.members]


def test_judges_that_are_killed_or_stand_still_lose_no_program(session: Session) -> None:
    actors = [session.judge_actor(slot, JudgeActor, 1) for slot in range(2)]
    for actor in actors:
        process(actor)  # it is up
    judges = RemoteJudges(actors, timeout_s=5.0)
    tests = (Test("1\n", "2\n"),)

    def reports(first: int) -> list[Verdict]:
        jobs = [
            JudgeJob(source=f"print({n} - {n} + 2)", tests=tests) for n in range(first, first + 8)
        ]
        jobs.append(JudgeJob(source=f"print({first})", tests=tests))
        return [report.verdict for report in judges.judge_many(jobs)]

    wanted = [Verdict.AC] * 8 + [Verdict.WA]
    assert reports(10) == wanted
    os.kill(process(actors[0]), signal.SIGKILL)
    assert reports(20) == wanted
    process(actors[0])  # up again
    os.kill(process(actors[1]), signal.SIGSTOP)
    assert reports(30) == wanted


def test_a_learner_that_stands_still_is_made_anew(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    learner = RayLearner(
        lambda rank: session.learner_actor(rank, LearnerActor),
        lambda *where: partial(make_learner, *where),
        1,
        timeout_s=60.0,
        say=told.append,
    )
    try:
        learner.wait_until_ready()
        assert (learner.parameters, learner.notices()) == (7, ["still"])
        assert learner.update(None, 2) == {"loss": 1.0}  # type: ignore[arg-type]
        assert learner.version == 2
        with pytest.raises(FloatingPointError, match="not finite"):
            learner._call("fail")  # what it raises is not a loss
        os.kill(process(learner._actors[0]), signal.SIGSTOP)
        learner._timeout_s = 2.0
        begin = learner._begin

        def begin_slowly() -> None:
            learner._timeout_s = 60.0
            begin()

        monkeypatch.setattr(learner, "_begin", begin_slowly)
        with pytest.raises(LearnerLost, match="the update took more than 2 s"):
            learner.update(None, 2)  # type: ignore[arg-type]
        assert learner.version == 0
        learner.update(None, 2)  # type: ignore[arg-type]
        assert learner.version == 2 and len(told) == 1
    finally:
        learner.close()
