"""``JudgedEpisode``: the same record as ``run_episode`` makes, and a judge that blocks no loop."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from reports import AC, code, failure, make_report

from rlef.environment import (
    AsyncJudge,
    JudgedEpisode,
    NotJudgedError,
    StopReason,
    episode_metrics,
    episode_reward,
    judged_record,
    problems_by_name,
    settle,
    settle_soon,
)
from rlef.problems import Problem, ProblemError, Test
from rlef.sandbox import JudgeJob, JudgeReport, Sandbox, Verdict

DOUBLE = Problem(
    name="double",
    statement="Read n, print 2n.",
    public_tests=(Test("2\n", "4\n"), Test("5\n", "10\n")),
    private_tests=(Test("7\n", "14\n"),),
)
WA, IE = failure(Verdict.WA), failure(Verdict.IE)


class Scripted:
    """Answers jobs from a list, and remembers them."""

    def __init__(self, *reports: JudgeReport) -> None:
        self.reports = list(reports)
        self.calls: list[list[JudgeJob]] = []

    def judge_many(self, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
        self.calls.append(list(jobs))
        return [self.reports.pop(0) for _ in jobs]


def played(problem: Problem, judge: Scripted, *answers: str, **settings: object) -> JudgedEpisode:
    episode = JudgedEpisode(problem, **settings)  # type: ignore[arg-type]
    for answer in answers:
        episode.answer(answer)
        settle([episode], judge)
    return episode


def test_private_tests_run_once_behind_the_public_ones() -> None:
    judge = Scripted(make_report(AC, WA), make_report(AC, AC), make_report(AC))
    episode = played(DOUBLE, judge, code("a"), "no code", code("b"))
    assert [job.tests for [job] in judge.calls] == [
        *(DOUBLE.public_tests, DOUBLE.public_tests, DOUBLE.private_tests)
    ]
    record = judged_record(episode)
    assert record.solved and record.final_verdict is Verdict.AC and len(record.turns) == 3
    assert episode_reward(record) == pytest.approx(0.8)  # 0 - 0.2 + 1
    assert episode_metrics(record, 3) == {
        **{"solved": 1, "passed_public": 1, "turns": 3, "invalid": 1 / 3},
        **{"solved_by_turn_1": 0, "solved_by_turn_2": 0, "solved_by_turn_3": 1},
    }


def test_messages_come_from_public_tests() -> None:
    episode = played(DOUBLE, Scripted(make_report(AC, WA)), code("a"))
    assert episode.job is None and episode.record is None
    assert "10" in str(episode.message) and "14" not in str(episode.message)


def test_a_failed_public_test_ends_judging() -> None:
    judge = Scripted(make_report(AC, WA))
    episode = played(DOUBLE, judge, code("a"), max_turns=1)
    record = judged_record(episode)
    assert record.stop is StopReason.TURN_LIMIT and not record.solved
    assert record.final_verdict is None and len(judge.calls) == 1
    assert episode_reward(record) == -1


def test_graded_episodes_run_every_test() -> None:
    judge = Scripted(make_report(AC, WA), make_report(AC))
    record = judged_record(played(DOUBLE, judge, code("a"), max_turns=1, graded=True))
    assert record.passed_share == pytest.approx(2 / 3) and not record.solved


def test_without_private_tests_the_public_ones_decide() -> None:
    open_problem = replace(DOUBLE, private_tests=())
    judge = Scripted(make_report(AC, AC))
    assert judged_record(played(open_problem, judge, code("a"))).solved


def test_no_room_ends_it() -> None:
    episode = played(DOUBLE, Scripted(make_report(AC, WA)), code("a"))
    episode.stop_for_context_limit()
    assert judged_record(episode).stop is StopReason.CONTEXT_LIMIT


@pytest.mark.parametrize("reports", [[make_report(IE)], [make_report(AC, AC), make_report(IE)]])
def test_not_judged_is_no_answer(reports: list[JudgeReport]) -> None:
    episode = played(DOUBLE, Scripted(*reports), code("a"))
    assert episode.record is not None and episode.record.stop is StopReason.INFRA_ERROR
    with pytest.raises(NotJudgedError, match="'double': not a wrong answer"):
        judged_record(episode)


def test_words_out_of_turn() -> None:
    episode = JudgedEpisode(DOUBLE)
    with pytest.raises(RuntimeError, match="no report is due"):
        episode.observe(make_report(AC, AC))
    with pytest.raises(RuntimeError, match="has not ended"):
        judged_record(episode)
    episode.answer(code("a"))
    with pytest.raises(RuntimeError, match="no answer is due"):
        episode.answer(code("b"))


def test_many_are_judged_together() -> None:
    judge = Scripted(make_report(AC, AC), make_report(AC, WA), make_report(AC))
    episodes = [JudgedEpisode(DOUBLE, max_turns=1) for _ in range(3)]
    for episode, answer in zip(episodes, (code("a"), code("b"), "nothing"), strict=True):
        episode.answer(answer)
    settle(episodes, judge)
    assert [len(jobs) for jobs in judge.calls] == [2, 1]
    assert [judged_record(episode).solved for episode in episodes] == [True, False, False]


def test_a_slow_judge_blocks_no_event_loop() -> None:
    """Its calls come back once all twenty wait at once, which a loop that is blocked never sees."""
    together = threading.Barrier(20)

    class Slow(Scripted):
        def judge_many(self, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
            assert threading.current_thread() is not threading.main_thread()
            together.wait(30)
            return [make_report(*[AC] * len(job.tests)) for job in jobs]

    async def main() -> None:
        judge = AsyncJudge(Slow())
        episodes = [JudgedEpisode(DOUBLE) for _ in range(20)]
        for episode in episodes:
            episode.answer(code("a"))
        await asyncio.gather(*(settle_soon(episode, judge) for episode in episodes))
        assert all(judged_record(episode).solved for episode in episodes)
        judge.close()

    asyncio.run(main())


def test_one_that_gives_up_leaves_the_others_alone() -> None:
    async def main() -> None:
        with Sandbox(workers=1) as sandbox:
            judge = AsyncJudge(sandbox)
            first, second = JudgedEpisode(DOUBLE), JudgedEpisode(DOUBLE)
            for episode in (first, second):
                episode.answer(code("import time\ntime.sleep(0.3)\nprint(2 * int(input()))"))
            tasks = [asyncio.create_task(settle_soon(one, judge)) for one in (first, second)]
            await asyncio.sleep(0.05)
            tasks[0].cancel()
            await tasks[1]
            assert judged_record(second).solved and first.record is None
            judge.close()

    asyncio.run(main())


def test_problems_are_known_by_name() -> None:
    named = problems_by_name("mini:dev?first=3")
    assert list(named) == [problem.name for problem in named.values()]
    assert problems_by_name("mini:dev?first=3") is named
    with pytest.raises(ProblemError, match="allowed"):
        problems_by_name("nothing:here")
