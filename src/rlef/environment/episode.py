"""One episode as a state machine without I/O: text in, text out; others sample and judge."""

from collections.abc import Callable
from dataclasses import replace

from rlef.environment.extract import extract_program
from rlef.environment.feedback import (
    FeedbackOptions,
    Fits,
    check_public_report,
    first_message,
    write_feedback,
)
from rlef.environment.reward import passed_public
from rlef.environment.templates import Prompts, default_prompts, language_words
from rlef.environment.types import EpisodeRecord, StopReason, TurnRecord
from rlef.problems import PublicProblem
from rlef.sandbox import JudgeReport, Verdict

FeedbackOverride = Callable[[str, int], str]
"""(problem's name, turn from 0) -> the message that replaces the feedback on that turn."""

_DEFAULT_OPTIONS = FeedbackOptions()


class Episode:
    r"""The multi-turn conversation about one problem (RLEF section 2.1).

    It never sees a private test. The caller alternates: sample an answer to ``next_message``, give
    it to ``answer``; if a program comes back, judge it on the public tests and give the report to
    ``observe``; until ``done``. Then judge ``last_program`` on all tests and call ``finish``.

    Example:
        >>> from rlef.problems import PublicProblem, Test
        >>> from rlef.sandbox import Sandbox
        >>> problem = PublicProblem(name="double", statement="Read n, print 2n.",
        ...                         public_tests=(Test("2", "4"),))
        >>> episode = Episode(problem, max_turns=2)
        >>> with Sandbox(workers=1) as sandbox:
        ...     for answer in ("print(2)", "print(2 * int(input()))"):
        ...         program = episode.answer(f"```python\n{answer}\n```")
        ...         message = episode.observe(sandbox.judge(program, problem.public_tests))
        >>> message, episode.stop.value, len(episode.turns)
        (None, 'public_passed', 2)

    Args:
        problem: What the model may know.
        max_turns: Answers at most; RLEF: 3.
        prompts: Templates; ``None``: the set named ``"default"``.
        feedback_options: How much feedback says. With the kind ``none`` the episode goes on to
            its turn limit whatever the public tests say.
        feedback_override: Replaces the feedback on failed tests, for the random-feedback control
            (the kind ``random`` needs it). The message after an answer without code stays.
        fits: Whether a message is short enough as the next one; see ``write_feedback``. ``None``:
            any is.

    Raises:
        ValueError: ``max_turns`` is less than 1, the problem has no public tests, or feedback is
            to be random and nothing replaces it.
    """

    def __init__(
        self,
        problem: PublicProblem,
        *,
        max_turns: int = 3,
        prompts: Prompts | None = None,
        feedback_options: FeedbackOptions = _DEFAULT_OPTIONS,
        feedback_override: FeedbackOverride | None = None,
        fits: Fits | None = None,
    ) -> None:
        if max_turns < 1:
            raise ValueError(f"max_turns is {max_turns}; allowed: 1 or more")
        if not problem.public_tests:
            raise ValueError(f"problem {problem.name!r} has no public tests; an episode needs one")
        if feedback_options.kind == "random" and feedback_override is None:
            raise ValueError("feedback of the kind random needs a feedback_override")
        self.problem = problem
        self.max_turns = max_turns
        self._prompts = prompts or default_prompts()
        self._words = language_words(problem.language)
        self._options = feedback_options
        self._override = feedback_override
        self._fits = fits
        self._turns: list[TurnRecord] = []
        self._stop: StopReason | None = None
        self.first_message: str = first_message(problem, self._prompts)
        self._message: str | None = self.first_message

    @property
    def next_message(self) -> str | None:
        """The message that waits for an answer; ``None`` while a program waits, and at the end."""
        return self._message

    @property
    def done(self) -> bool:
        """Whether the episode has ended."""
        return self._stop is not None

    @property
    def stop(self) -> StopReason | None:
        """Why the episode ended; ``None`` before."""
        return self._stop

    @property
    def turns(self) -> tuple[TurnRecord, ...]:
        """The turns so far."""
        return tuple(self._turns)

    @property
    def last_program(self) -> str | None:
        """The last answer's program; ``None`` if that answer had no valid code, or none came."""
        return self._turns[-1].program if self._turns else None

    def answer(
        self,
        response: str,
        *,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
    ) -> str | None:
        """Takes the model's answer.

        Args:
            response: Its text.
            prompt_tokens: Goes into the turn's record, if known.
            completion_tokens: Likewise.

        Returns:
            The program to run on the public tests. ``None``: the answer has no valid code, and
            ``next_message`` says so to the model, unless the turn limit ended the episode.

        Raises:
            RuntimeError: No answer is due.
        """
        if self._message is None:
            raise RuntimeError(f"no answer is due: {self._state()}")
        program = extract_program(
            response,
            language=self.problem.language,
            mode=self.problem.mode,
            entry_point=self.problem.entry_point,
        )
        turn = TurnRecord(
            response=response,
            program=program,
            public_verdicts=(),
            feedback=None,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
        )
        self._turns.append(turn)
        self._message = None
        if program is None:
            self._go_on(lambda: self._prompts.no_code.format(**self._words))
        return program

    def observe(self, public_report: JudgeReport) -> str | None:
        """Takes the report of the program that ``answer`` returned, on the public tests.

        Returns:
            The next message; ``None`` if the episode has ended.

        Raises:
            RuntimeError: No report is due.
            ValueError: The report cannot be one on the problem's public tests.
        """
        if self._message is not None or self.done:
            raise RuntimeError(f"no report is due: {self._state()}")
        check_public_report(self.problem, public_report)
        verdicts = tuple(test.verdict for test in public_report.tests)
        self._turns[-1] = replace(self._turns[-1], public_verdicts=verdicts)
        if public_report.verdict is Verdict.IE:
            self._stop = StopReason.INFRA_ERROR
        elif public_report.passed and (not self._is_blind or self._is_last_turn):
            self._stop = StopReason.PUBLIC_PASSED
        else:
            self._go_on(lambda: self._feedback(public_report))
        return self._message

    def stop_for_context_limit(self) -> None:
        """Ends the episode because ``next_message`` and an answer do not fit into the context.

        Raises:
            RuntimeError: No answer is due.
        """
        if self._message is None:
            raise RuntimeError(f"no answer is due: {self._state()}")
        # Only where there is no feedback can an episode go on after its public tests have passed.
        passed = bool(self._turns) and passed_public(self._turns[-1])
        self._stop = StopReason.PUBLIC_PASSED if passed else StopReason.CONTEXT_LIMIT
        self._message = None
        if self._turns:
            self._turns[-1] = replace(self._turns[-1], feedback=None)

    def finish(
        self,
        final_report: JudgeReport | None,
        *,
        family: str | None = None,
        hidden_detail: str | None = None,
        passed_share: float | None = None,
    ) -> EpisodeRecord:
        """Returns the record of an ended episode.

        Args:
            final_report: Report of ``last_program`` on all tests, public and private. ``None``
                where it was not judged, which is a failure; only an episode that stopped because
                its public tests passed must have one.
            family: ``Problem.family``.
            hidden_detail: ``Problem.hidden_detail``.
            passed_share: Share of all tests that ``last_program`` passes, where all were run.

        Raises:
            RuntimeError: The episode has not ended.
            ValueError: The report is missing, or there is no program it could be of.
        """
        if self._stop is None:
            raise RuntimeError(f"the episode cannot be finished: {self._state()}")
        if final_report is None and self._stop is StopReason.PUBLIC_PASSED:
            raise ValueError("the public tests passed: judge last_program on all tests first")
        if final_report is not None and self.last_program is None:
            raise ValueError("there is no last program, so no final report can be of it")
        verdict = final_report.verdict if final_report else None
        stop = StopReason.INFRA_ERROR if verdict is Verdict.IE else self._stop
        return EpisodeRecord(
            problem=self.problem.name,
            family=family,
            hidden_detail=hidden_detail,
            turns=self.turns,
            stop=stop,
            solved=verdict is Verdict.AC and stop is not StopReason.INFRA_ERROR,
            final_verdict=verdict,
            passed_share=passed_share,
            blind=self._is_blind,
        )

    @property
    def _is_blind(self) -> bool:
        """Whether the model is never told what its programs did."""
        return self._options.kind == "none"

    @property
    def _is_last_turn(self) -> bool:
        return len(self._turns) == self.max_turns

    def _feedback(self, report: JudgeReport) -> str:
        if self._is_blind:
            return self._prompts.try_again.format(**self._words)
        if self._override is not None:
            return self._override(self.problem.name, len(self._turns) - 1)
        return write_feedback(self.problem, report, self._prompts, self._options, self._fits)

    def _go_on(self, message: Callable[[], str]) -> None:
        """Sends a message, or ends the episode at the turn limit."""
        if self._is_last_turn:
            self._stop = StopReason.TURN_LIMIT
            return
        self._message = message()
        self._turns[-1] = replace(self._turns[-1], feedback=self._message)

    def _state(self) -> str:
        if self._stop is not None:
            return f"it ended after {len(self._turns)} turns ({self._stop})"
        return "an answer is due" if self._message is not None else "a report is due"
