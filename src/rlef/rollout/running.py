"""An episode on its way: what the two loops of the worker do with each one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlef.engines import ChatCompletion, Completion, FinishReason
from rlef.environment import (
    Conversation,
    Episode,
    Exchange,
    MessageConversation,
    RewardConfig,
    StopReason,
    join_reports,
    private_job,
    public_job,
    turn_rewards,
)
from rlef.problems import Problem
from rlef.rollout.types import Rollout
from rlef.sandbox import JudgeReport, Limits, Sandbox, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRequest:
    """One episode to run: the same request gives the same rollout, whatever runs beside it."""

    problem: Problem
    seed: int


@dataclass(slots=True)
class RolloutTiming:
    """Where the time went, in seconds; judging counts only where nothing was sampled meanwhile."""

    generate_s: float = 0.0
    judge_wait_s: float = 0.0
    sampled_tokens: int = 0


@dataclass(slots=True)
class Running:
    """An episode between its first message and its record.

    Attributes:
        conversation: in token ids, or in messages for an engine that answers in text.
        program: of the last answer, while it is judged.
        public_report: of the last program on the public tests.
        final_report: of the last program on all tests.
        examples: exchanges that stand before the first message.
    """

    request: EpisodeRequest
    episode: Episode
    conversation: Conversation | MessageConversation
    program: str | None = None
    public_report: JudgeReport | None = None
    final_report: JudgeReport | None = None
    examples: Sequence[Exchange] = ()

    @property
    def prompt(self) -> Any:
        """What the engine continues: token ids, or messages."""
        if isinstance(self.conversation, MessageConversation):
            return self.conversation.messages
        return self.conversation.token_ids

    def extend(self, max_context: int | None) -> bool:
        """Appends the next message; False if that leaves no room for an answer.

        Args:
            max_context: Tokens of the whole conversation; not counted where no ids are known.
        """
        message = self.episode.next_message
        assert message is not None  # the episode is not done, and its last report was observed
        conversation, first = self.conversation, not self.episode.turns
        if isinstance(conversation, Conversation):
            new = (
                conversation.chat.prompt_ids(message, examples=self.examples)
                if first
                else conversation.observation_ids(message)
            )
            if max_context is not None and len(conversation.token_ids) + len(new) >= max_context:
                self.episode.stop_for_context_limit()
                return False
        if first:
            conversation.start(message, examples=self.examples)
        else:
            conversation.add_observation(message)
        return True

    def answer(self, completion: Completion | ChatCompletion) -> int:
        """Takes the engine's answer; returns how many tokens were sampled, as far as is known."""
        if isinstance(completion, Completion):
            assert isinstance(self.conversation, Conversation)
            text = self.conversation.chat.decode(completion.token_ids)
            prompt_tokens: int | None = len(self.conversation.token_ids)
            sampled: int | None = len(completion.token_ids)
            self.conversation.add_action(completion.token_ids, completion.logprobs)
        else:
            assert isinstance(self.conversation, MessageConversation)
            if completion.finish is FinishReason.NO_ROOM:
                self.episode.stop_for_context_limit()
                return 0
            text = completion.text
            prompt_tokens, sampled = completion.prompt_tokens, completion.completion_tokens
            self.conversation.add_action(text)
        self.program = self.episode.answer(
            text, prompt_tokens=prompt_tokens, completion_tokens=sampled
        )
        return sampled or 0

    def rollout(self, rewards: RewardConfig) -> Rollout:
        """Returns what the ended episode leaves behind."""
        problem = self.request.problem
        record = self.episode.finish(
            self.final_report,
            family=problem.family,
            hidden_detail=problem.hidden_detail,
            passed_share=self._passed_share() if rewards.graded else None,
        )
        return Rollout.of(
            record, self.conversation, turn_rewards(record, rewards), self.request.seed
        )

    def _passed_share(self) -> float:
        tests = self.final_report.tests if self.final_report else ()
        passed = sum(test.verdict is Verdict.AC for test in tests)
        return passed / len(self.request.problem.all_tests)


def judge(answered: Sequence[Running], sandbox: Sandbox, limits: Limits, *, graded: bool) -> None:
    """Judges programs on the public tests, and those that are the last on all tests.

    Args:
        answered: Episodes with a new answer.
        sandbox: Judges.
        limits: Of each test where a problem names none.
        graded: See ``judge_last``.
    """
    programs = [(running, running.program) for running in answered]
    waiting = [(running, program) for running, program in programs if program is not None]
    jobs = [public_job(run.request.problem, program, limits) for run, program in waiting]
    for (running, _), report in zip(waiting, sandbox.judge_many(jobs), strict=True):
        running.public_report = report
        running.episode.observe(report)
    judge_last(answered, sandbox, limits, graded=graded)


def judge_last(
    episodes: Sequence[Running], sandbox: Sandbox, limits: Limits, *, graded: bool
) -> None:
    """Judges the last programs of ended episodes on the private tests, where that can matter.

    Where a public test failed no other test can change the verdict, so none is run unless
    rewards are graded by how many pass.
    """
    ends = {StopReason.PUBLIC_PASSED}
    if graded:
        ends |= {StopReason.TURN_LIMIT, StopReason.CONTEXT_LIMIT}
    last = []
    for running in episodes:
        program, report = running.episode.last_program, running.public_report
        if running.final_report or running.episode.stop not in ends or not (program and report):
            continue
        job = private_job(running.request.problem, program, limits, graded=graded)
        if job is None:
            running.final_report = report
        else:
            last.append((running, report, job))
    reports = sandbox.judge_many([job for _, _, job in last])
    for (running, public, _), private in zip(last, reports, strict=True):
        running.final_report = join_reports(public, private)
