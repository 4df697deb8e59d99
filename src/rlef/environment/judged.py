"""An episode with the jobs that judge it: what the trainers and evaluators of others drive.

Start at ``JudgedEpisode``. Everything here is text: no tokens, no model.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from rlef.environment.episode import Episode
from rlef.environment.jobs import join_reports, private_job, public_job
from rlef.environment.reward import RewardConfig, turn_rewards
from rlef.environment.types import EpisodeRecord, StopReason, TurnRecord
from rlef.problems import Problem, ProblemError, load_problems
from rlef.sandbox import (
    JudgeJob,
    JudgePool,
    JudgeReport,
    Limits,
    SandboxError,
    Verdict,
)

_DEFAULT_LIMITS = Limits()
_DEFAULT_REWARDS = RewardConfig()
_KEPT_SETS = 4
_THREADS = 64


class NotJudgedError(SandboxError):
    """The judge could not do its work, so the episode is neither right nor wrong."""


class JudgedEpisode:
    r"""An ``Episode`` that asks for its judgements one by one, without I/O.

    While it goes on, either ``message`` waits for an answer or ``job`` for a report. Prompts and
    feedback see public tests only; private ones are judged once, at the end, and only where they
    can change the result.

    Example:
        >>> from rlef.problems import Test
        >>> from rlef.sandbox import Sandbox
        >>> problem = Problem(name="double", statement="Read n, print 2n.",
        ...                   public_tests=(Test("2", "4"),), private_tests=(Test("7", "14"),))
        >>> episode = JudgedEpisode(problem, max_turns=2)
        >>> with Sandbox(workers=1) as sandbox:
        ...     for answer in ("print(2)", "print(2 * int(input()))"):
        ...         episode.answer(f"```python\n{answer}\n```")
        ...         settle([episode], sandbox)
        >>> episode.record.stop.value, episode.record.solved, len(episode.record.turns)
        ('public_passed', True, 2)

    Args:
        problem: With its private tests.
        limits: Of each test where the problem names none.
        graded: Run all tests at the end, whatever fails, so that ``passed_share`` is known.
        settings: Of ``Episode``: ``max_turns``, ``prompts``, ``feedback_options`` and so on.

    Raises:
        ValueError: See ``Episode``.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        limits: Limits = _DEFAULT_LIMITS,
        graded: bool = False,
        **settings: Any,
    ) -> None:
        self.problem = problem
        self.episode = Episode(problem.public, **settings)
        self.job: JudgeJob | None = None
        self.record: EpisodeRecord | None = None
        self._limits = limits
        self._graded = graded
        self._public: JudgeReport | None = None

    @property
    def message(self) -> str | None:
        """The message that waits for an answer; ``None`` while a job waits, and at the end."""
        return self.episode.next_message

    @property
    def turns(self) -> tuple[TurnRecord, ...]:
        """The turns so far."""
        return self.episode.turns

    def answer(self, response: str, **tokens: int | None) -> None:
        """Takes the model's answer; afterwards ``job`` or ``message`` waits, or it has ended.

        Args:
            response: Its text.
            tokens: ``prompt_tokens`` and ``completion_tokens``, if known.

        Raises:
            RuntimeError: No answer is due.
        """
        program = self.episode.answer(response, **tokens)
        self._public = None
        if program is not None:
            self.job = public_job(self.problem, program, self._limits)
        else:
            self._go_on()

    def observe(self, report: JudgeReport) -> None:
        """Takes the report on ``job``.

        Raises:
            RuntimeError: No report is due.
            ValueError: It cannot be a report on the job's tests.
        """
        if self.job is None:
            raise RuntimeError("no report is due")
        self.job = None
        if self.episode.done:
            self._finish(join_reports(self._public, report) if self._public else report)
        else:
            self._public = report
            self.episode.observe(report)
            self._go_on()

    def stop_for_context_limit(self) -> None:
        """Ends the episode because ``message`` and an answer have no room.

        Raises:
            RuntimeError: No answer is due.
        """
        self.episode.stop_for_context_limit()
        self._go_on()

    def _go_on(self) -> None:
        """Asks for the last report where there is one to come, or ends."""
        if not self.episode.done:
            return
        program, stop = self.episode.last_program, self.episode.stop
        matters = stop is StopReason.PUBLIC_PASSED or self._graded
        if program is None or stop is StopReason.INFRA_ERROR or not matters:
            self._finish(None)
            return
        self.job = private_job(self.problem, program, self._limits, graded=self._graded)
        if self.job is None:
            self._finish(self._public)

    def _finish(self, report: JudgeReport | None) -> None:
        tests = report.tests if report else ()
        passed = sum(test.verdict is Verdict.AC for test in tests)
        self.record = self.episode.finish(
            report,
            family=self.problem.family,
            hidden_detail=self.problem.hidden_detail,
            passed_share=passed / len(self.problem.all_tests) if self._graded else None,
        )


def settle(episodes: Sequence[JudgedEpisode], pool: JudgePool) -> None:
    """Judges what episodes wait for, all together, until each has a message or has ended.

    It waits for the judge, so it is not for an event loop: see ``settle_soon``.

    Raises:
        SandboxError: This machine cannot run programs safely, or lacks a compiler.
    """
    while waiting := [(one, one.job) for one in episodes if one.job is not None]:
        reports = pool.judge_many([job for _, job in waiting])
        for (episode, _), report in zip(waiting, reports, strict=True):
            episode.observe(report)


async def settle_soon(episode: JudgedEpisode, judge: "AsyncJudge") -> None:
    """Judges what one episode waits for, until it has a message or has ended.

    Raises:
        SandboxError: See ``settle``.
    """
    while episode.job is not None:
        episode.observe(await judge(episode.job))


class AsyncJudge:
    """A judge for event loops: it waits in threads of its own, so the loop is never blocked.

    A task that is cancelled while it waits leaves the others' judgements alone.

    Args:
        pool: Judges programs: a ``Sandbox``, or judges elsewhere. ``rlef.serve.shared_judge`` has
            one for the whole process.
        threads: Programs that are waited for at once; more stand in line.
    """

    def __init__(self, pool: JudgePool, threads: int = _THREADS) -> None:
        self.pool = pool
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="rlef-judging")

    async def __call__(self, job: JudgeJob) -> JudgeReport:
        """Judges one program.

        Raises:
            SandboxError: See ``settle``.
        """
        loop = asyncio.get_running_loop()
        [report] = await loop.run_in_executor(self._threads, self.pool.judge_many, [job])
        return report

    def close(self) -> None:
        """Waits for nothing; the pool stays open."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@lru_cache(maxsize=_KEPT_SETS)
def problems_by_name(spec: str) -> Mapping[str, Problem]:
    """Returns the problems of a specification that an episode can be about, loaded once.

    So that a row of another package's data set can be a name: private tests stay out of its files.

    Args:
        spec: See ``load_problems``. Problems without public tests are left out.

    Raises:
        ProblemError: It names no set, none of its problems has public tests, or two share a name.
    """
    problems = [problem for problem in load_problems(spec) if problem.public_tests]
    if not problems:
        raise ProblemError(f"{spec}: no problem has public tests; an episode needs one")
    named = {problem.name: problem for problem in problems}
    if len(named) < len(problems):
        names = [problem.name for problem in problems]
        twice = next(name for name in named if names.count(name) > 1)
        raise ProblemError(f"{spec}: two problems are named {twice!r}; a row needs one name")
    return named


def judged_record(episode: JudgedEpisode) -> EpisodeRecord:
    """Returns the record of an ended episode that was judged.

    Raises:
        RuntimeError: It has not ended.
        NotJudgedError: The judge could not do its work: mask the episode, do not count it.
    """
    if episode.record is None:
        raise RuntimeError("the episode has not ended")
    if episode.record.stop is StopReason.INFRA_ERROR:
        name = episode.record.problem
        raise NotJudgedError(f"the judge could not do its work on {name!r}: not a wrong answer")
    return episode.record


def episode_reward(record: EpisodeRecord, config: RewardConfig = _DEFAULT_REWARDS) -> float:
    """Returns the sum of a record's rewards by turn, for trainers with one number an episode."""
    return float(sum(turn_rewards(record, config)))


def episode_metrics(record: EpisodeRecord, max_turns: int) -> dict[str, float]:
    """Returns the numbers of one judged episode that other packages log and average.

    Args:
        record: Of ``judged_record``.
        max_turns: The turn limit that it was played with.

    Returns:
        ``solved``, ``passed_public``, ``turns``, ``invalid`` (share of turns without a program) and
        ``solved_by_turn_K`` for each K up to the limit, whose mean over episodes is the solve rate
        that a limit of K turns would give. Blind episodes have only the last of these.
    """
    turns = len(record.turns)
    invalid = sum(turn.program is None for turn in record.turns)
    first = max_turns if record.blind else 1
    return {
        "solved": float(record.solved),
        "passed_public": float(record.passed_public),
        "turns": float(turns),
        "invalid": invalid / turns if turns else 0.0,
        **{
            f"solved_by_turn_{k}": float(record.solved and turns <= k)
            for k in range(first, max_turns + 1)
        },
    }
