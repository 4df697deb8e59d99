"""`rlef bench scale`: what is replayed is what was recorded, and the numbers say what happened."""

import asyncio
import math
from typing import Any

import pytest

from rlef.bench.recorded import ANSWERS
from rlef.bench.replay import ReplayEngine, ReplayJudge, ReplayWeights, problems
from rlef.bench.scale import Measured, Setting, measure, measure_one, rows
from rlef.cli.main import main
from rlef.engines import PolicyEngine, SamplingParams
from rlef.engines.load import load_chat
from rlef.environment.extract import extract_program
from rlef.sandbox import JudgeJob, Sandbox, Verdict


def test_answers_take_what_was_recorded_and_are_right_or_wrong() -> None:
    chat = load_chat("mini")
    engine = ReplayEngine(chat, slots=2, episode_s=0.01)
    assert isinstance(engine, PolicyEngine)
    engine.load_weights(ReplayWeights(7, 1))

    async def some() -> list[Any]:
        asked = (engine.generate([1], SamplingParams(), seed) for seed in range(0, 6000, 101))
        return await asyncio.gather(*asked)

    found = asyncio.run(some())
    assert {one.version for one in found} == {7} and engine.busy_s > 0
    for seed, one in zip(range(0, 6000, 101), found, strict=True):
        assert abs(len(one.token_ids) - ANSWERS[seed % len(ANSWERS)][0]) <= 4
    (problem,) = problems(1)
    sources = {extract_program(chat.decode(one.token_ids)) for one in found}
    jobs = [JudgeJob(source=str(source), tests=problem.public_tests) for source in list(sources)]
    known = [report.verdict for report in ReplayJudge().judge_many(jobs)]
    assert set(known) == {Verdict.AC, Verdict.WA}
    with Sandbox(workers=1) as sandbox:
        judged = sandbox.judge_many(jobs[:6])
    assert [report.verdict for report in judged] == known[:6]


def check(found: list[Measured], setting: Setting) -> None:
    assert [(one.actors, one.beside) for one in found] == [
        (actors, beside) for beside in (True, False) for actors in setting.actors
    ]
    for one in found:
        check_one(one)
    lines = rows(found)
    assert len(lines) == len(found) and "rollouts/s" in lines[0].note


def check_one(one: Measured) -> None:
    assert 0 < one.idle < 1 and 0 < one.efficiency <= 1.05
    assert one.rollouts_s > 0 and one.tests_s > 2 * one.rollouts_s
    assert one.tokens_s > 100 * one.rollouts_s and one.driver_ms > 0
    assert (one.staleness > 0) == one.beside


@pytest.mark.slow
def test_in_this_process() -> None:
    setting = Setting(actors=(4,), episode_s=0.5, batches=2, judge=True)
    found = list(measure(setting))
    check(found, setting)
    assert not math.isnan(found[0].episode_ms)


@pytest.mark.slow
def test_through_ray() -> None:
    pytest.importorskip("ray")
    setting = Setting(episode_s=0.5, batches=2, on_ray=True, processes=2)
    found = measure_one(setting, 4, beside=True)
    check_one(found)


@pytest.mark.parametrize("word", ["0", "x", "-1", "5000", "8,,64"])
def test_wrong_numbers_of_actors_are_one_line(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", "scale", "--actors", word])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.count("\n") == 1
    assert "allowed: numbers from 1 to 4096" in said
