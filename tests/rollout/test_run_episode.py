import numpy as np
import pytest
from scripted import (
    DOUBLE,
    LEAST,
    NO_CODE,
    ONLY_PRIVATE,
    ONLY_PUBLIC,
    RIGHT,
    WRONG,
    ScriptedEngine,
    plain,
    requests,
    run,
)
from some_rollouts import there_and_back

from rlef.environment import (
    ChatFormat,
    FeedbackOptions,
    RandomFeedbackPool,
    RewardConfig,
    StopReason,
    reveal_private_tests,
)
from rlef.problems import Problem, Test
from rlef.rollout import Rollout, derive_seed
from rlef.sandbox import JudgeJob, JudgeReport, Sandbox, TestReport, Verdict
from rlef.sandbox.verdicts import summed

LOUD = "```python\nprint('9' * 5000)\n```"


def after_first_answer(rollout: Rollout) -> int:
    """Tokens of the first prompt and the first answer."""
    return int(rollout.prompt_ends[0]) + 1 + rollout.turn_ids.tolist().count(0)


@pytest.mark.parametrize(
    ("answers", "rewards", "stop", "solved"),
    [
        ([RIGHT], (1.0,), StopReason.PUBLIC_PASSED, True),
        ([ONLY_PUBLIC], (-1.0,), StopReason.PUBLIC_PASSED, False),
        ([WRONG, RIGHT], (0.0, 1.0), StopReason.PUBLIC_PASSED, True),
        ([NO_CODE, WRONG, RIGHT], (-0.2, 0.0, 1.0), StopReason.PUBLIC_PASSED, True),
        ([WRONG, NO_CODE, WRONG], (0.0, -0.2, -1.0), StopReason.TURN_LIMIT, False),
        ([WRONG, WRONG, NO_CODE], (0.0, 0.0, -1.0), StopReason.TURN_LIMIT, False),
    ],
)
def test_episodes_end_and_are_rewarded_as_the_paper_says(
    chat: ChatFormat,
    sandbox: Sandbox,
    answers: list[str],
    rewards: tuple[float, ...],
    stop: StopReason,
    solved: bool,
) -> None:
    engine = ScriptedEngine(chat, lambda _, turn: answers[turn])
    [rollout] = run(engine, sandbox)
    assert rollout.rewards.tolist() == np.float32(rewards).tolist()
    assert (rollout.record.stop, rollout.record.solved) == (stop, solved)
    assert [turn.response for turn in rollout.record.turns] == answers
    assert rollout.trainable


def test_tokens_masks_and_logprobs_are_those_of_the_engine(
    chat: ChatFormat, sandbox: Sandbox
) -> None:
    answers = [WRONG, NO_CODE, RIGHT]
    engine = ScriptedEngine(chat, lambda _, turn: answers[turn])
    [rollout] = run(engine, sandbox)
    for turn, call in enumerate(engine.calls):
        [(prompt, _)] = call
        assert list(rollout.token_ids[: len(prompt)]) == prompt
        assert rollout.prompt_ends[turn] == len(prompt) - 1
        sampled = [i for i, t in enumerate(rollout.turn_ids) if t == turn]
        assert sampled == list(range(len(prompt), len(prompt) + len(sampled)))
        ids = [rollout.token_ids[i] for i in sampled]
        assert chat.decode(ids) == answers[turn] and ids[-1] == chat.end_of_turn
        logprobs = [rollout.logprobs[i] for i in sampled]
        assert logprobs == [np.float32(-0.01 * (i + 1)) for i in range(len(ids))]
    assert "Expected output:\n4\nYour output:\n5" in chat.decode(engine.calls[1][0][0])
    assert "14" not in chat.decode(engine.calls[2][0][0])


def test_more_episodes_than_a_group_come_back_in_order(chat: ChatFormat, sandbox: Sandbox) -> None:
    engine = ScriptedEngine(chat, lambda _, turn: [WRONG, RIGHT][turn], concurrency=3)
    rollouts = run(engine, sandbox, 11)
    assert [rollout.seed for rollout in rollouts] == list(range(11))
    assert all(rollout.record.solved for rollout in rollouts)
    assert max(map(len, engine.calls)) == 3
    seeds = [seed for call in engine.calls for _, seed in call]
    assert sorted(seeds) == sorted(derive_seed(s, "answer", t) for s in range(11) for t in range(2))


def test_an_episode_without_room_for_an_answer_ends_there(
    chat: ChatFormat, sandbox: Sandbox
) -> None:
    engine = ScriptedEngine(chat, lambda _, turn: WRONG)
    [whole] = run(engine, sandbox)
    limit = after_first_answer(whole) + LEAST
    [rollout] = run(engine, sandbox, max_context=limit)
    assert rollout.record.stop is StopReason.CONTEXT_LIMIT
    assert rollout.rewards.tolist() == [-1] and len(rollout.record.turns) == 1
    assert (rollout.token_ids == whole.token_ids[: len(rollout.token_ids)]).all()
    assert rollout.turn_ids[-1] == 0


def test_feedback_is_shortened_to_the_room_that_is_left(chat: ChatFormat, sandbox: Sandbox) -> None:
    engine = ScriptedEngine(chat, lambda _, turn: [LOUD, WRONG, RIGHT][turn])
    room_only = FeedbackOptions(max_tokens=None)
    [whole] = run(engine, sandbox, feedback=room_only)
    full = whole.record.turns[0].feedback or ""
    assert "9" * 1000 + "… (4000 more characters)" in full
    begun = after_first_answer(whole)
    for room in (LEAST + 30, 130, 200, 300, 1200):
        [rollout] = run(engine, sandbox, max_context=begun + room, feedback=room_only)
        told = rollout.record.turns[0].feedback
        prompt = rollout.record.turns[1].prompt_tokens or 0
        assert told is not None
        # An answer of 64 tokens fits beside it, or half of the room is the answer's; 16 always fit.
        least = told == "A test failed.\nTry again."
        assert prompt <= begun + room - (LEAST if least else min(64, -(-room // 2)))
        if room > 300:
            assert told == full
        elif room > 200:  # as much as there is room for: digits are a token each
            assert prompt >= begun + room - 64 - 12 and "9" * 8 + "… (" in told


def test_feedback_has_a_budget_of_its_own(chat: ChatFormat, sandbox: Sandbox) -> None:
    engine = ScriptedEngine(chat, lambda _, turn: [LOUD, RIGHT][turn])
    for most in (120, 200):
        [rollout] = run(engine, sandbox, feedback=FeedbackOptions(max_tokens=most))
        told = rollout.record.turns[0].feedback or ""
        count = len(chat.between_ids(told, -1)) - len(chat.between_ids("x", -1)) + 1
        assert most - 10 < count <= most and "more characters)" in told
    [rollout] = run(engine, sandbox, feedback=FeedbackOptions(max_tokens=1))
    assert rollout.record.turns[0].feedback == "A test failed.\nTry again."  # the least there is
    assert rollout.record.solved


def test_an_answer_is_asked_for_only_with_room_for_one(chat: ChatFormat, sandbox: Sandbox) -> None:
    engine = ScriptedEngine(chat, lambda _, turn: RIGHT)
    prompt = len(chat.prompt_ids(DOUBLE.statement))
    for limit, turns in ((prompt + 40, 1), (prompt + 39, 0)):
        [rollout] = run(engine, sandbox, max_context=limit, min_new_tokens=40)
        assert len(rollout.record.turns) == turns


def test_a_first_prompt_that_does_not_fit_gives_no_training_signal(
    chat: ChatFormat, sandbox: Sandbox
) -> None:
    [rollout] = run(ScriptedEngine(chat, lambda _, turn: RIGHT), sandbox, max_context=5)
    assert rollout.record.stop is StopReason.CONTEXT_LIMIT
    assert not rollout.trainable and not rollout.record.solved


class BrokenSandbox:
    """Fails at its own work on private tests."""

    def judge_many(self, jobs: list[JudgeJob]) -> list[JudgeReport]:
        private = DOUBLE.private_tests
        verdicts = [Verdict.IE if job.tests == private else Verdict.AC for job in jobs]
        return [
            JudgeReport(
                verdict=verdict, tests=tuple(TestReport(verdict=verdict) for _ in job.tests)
            )
            for job, verdict in zip(jobs, verdicts, strict=True)
        ]


def test_an_infrastructure_error_is_masked_not_punished(chat: ChatFormat) -> None:
    [rollout] = run(ScriptedEngine(chat, lambda _, turn: RIGHT), BrokenSandbox())
    assert rollout.record.stop is StopReason.INFRA_ERROR
    assert rollout.rewards.tolist() == [0] and not rollout.trainable


class FickleSandbox:
    """Judges a program of no fixed behaviour: each test passes when it first runs, then fails."""

    def __init__(self) -> None:
        self.judged: list[Test] = []

    def judge_many(self, jobs: list[JudgeJob]) -> list[JudgeReport]:
        return [self._judge(job) for job in jobs]

    def _judge(self, job: JudgeJob) -> JudgeReport:
        tests = []
        for test in job.tests:
            verdict = Verdict.WA if test in self.judged else Verdict.AC
            self.judged.append(test)
            tests.append(TestReport(verdict=verdict))
        return summed(tests)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("problem", [DOUBLE, reveal_private_tests(DOUBLE)])
def test_each_test_runs_once(chat: ChatFormat, graded: bool, problem: Problem) -> None:
    fickle = FickleSandbox()
    engine = ScriptedEngine(chat, lambda _, turn: RIGHT)
    rewards = RewardConfig(graded=graded)
    [rollout] = run(engine, fickle, requests(1, problem), rewards=rewards)
    assert rollout.record.solved and rollout.record.passed_share == (1.0 if graded else None)
    assert fickle.judged == list(DOUBLE.all_tests)


def test_random_feedback_shows_another_problem_and_ends_by_the_true_tests(
    chat: ChatFormat, sandbox: Sandbox
) -> None:
    pool = RandomFeedbackPool(messages={"other": ("Strange.",)}, families={"other": None})
    engine = ScriptedEngine(chat, lambda _, turn: [WRONG, RIGHT][turn])
    [rollout] = run(engine, sandbox, random_feedback=pool)
    assert rollout.record.turns[0].feedback == "Strange."
    assert rollout.record.solved and len(rollout.record.turns) == 2


@pytest.mark.parametrize(
    ("answers", "share", "rewards"),
    [
        ([WRONG, RIGHT], 1.0, (0.0, 1.0)),
        ([WRONG, ONLY_PUBLIC], 0.5, (0.0, 0.0)),  # one test of two
        ([WRONG, WRONG, WRONG], 0.0, (0.0, 0.0, -1.0)),
        ([WRONG, WRONG, ONLY_PRIVATE], 0.5, (0.0, 0.0, 0.0)),
        ([WRONG, WRONG, NO_CODE], 0.0, (0.0, 0.0, -1.0)),
    ],
)
def test_graded_rewards_run_all_tests_of_the_last_program(
    chat: ChatFormat,
    sandbox: Sandbox,
    answers: list[str],
    share: float,
    rewards: tuple[float, ...],
) -> None:
    engine = ScriptedEngine(chat, lambda _, turn: answers[turn])
    [rollout] = run(engine, sandbox, rewards=RewardConfig(graded=True))
    assert rollout.record.passed_share == share
    assert rollout.rewards.tolist() == np.float32(rewards).tolist()
    assert plain(there_and_back([rollout])) == plain([rollout])


def test_graded_rewards_where_the_context_is_full(chat: ChatFormat, sandbox: Sandbox) -> None:
    engine = ScriptedEngine(chat, lambda _, turn: ONLY_PRIVATE)
    graded = RewardConfig(graded=True)
    [whole] = run(engine, sandbox, rewards=graded)
    limit = after_first_answer(whole) + LEAST
    [rollout] = run(engine, sandbox, rewards=graded, max_context=limit)
    assert rollout.record.stop is StopReason.CONTEXT_LIMIT
    assert (rollout.record.passed_share, rollout.rewards.tolist()) == (0.5, [0])


def test_without_feedback_all_turns_are_taken(chat: ChatFormat, sandbox: Sandbox) -> None:
    answers = [RIGHT, NO_CODE, RIGHT]
    engine = ScriptedEngine(chat, lambda _, turn: answers[turn])
    [rollout] = run(engine, sandbox, feedback=FeedbackOptions(kind="none"))
    assert rollout.record.solved and rollout.rewards.tolist() == [0, np.float32(-0.2), 1]
    feedback = [turn.feedback for turn in rollout.record.turns]
    assert feedback == ["Try again.", "No code found.\nTry again.", None]


def test_feedback_from_private_tests(chat: ChatFormat, sandbox: Sandbox) -> None:
    answers = [ONLY_PUBLIC, RIGHT]
    engine = ScriptedEngine(chat, lambda _, turn: answers[turn])
    [rollout] = run(engine, sandbox, requests(1, reveal_private_tests(DOUBLE)))
    assert rollout.record.solved and len(rollout.record.turns) == 2
    assert "Input:\n7\nExpected output:\n14" in (rollout.record.turns[0].feedback or "")


def test_random_feedback_without_a_pool_is_refused(chat: ChatFormat, sandbox: Sandbox) -> None:
    engine = ScriptedEngine(chat, lambda _, turn: RIGHT)
    with pytest.raises(ValueError, match="needs a feedback_override"):
        run(engine, sandbox, feedback=FeedbackOptions(kind="random"))


def test_rollouts_come_back_from_rows_as_they_were(chat: ChatFormat, sandbox: Sandbox) -> None:
    answers = [WRONG, NO_CODE, RIGHT]
    engine = ScriptedEngine(chat, lambda _, turn: answers[turn])
    [rollout] = run(engine, sandbox)
    assert plain(there_and_back([rollout])) == plain([rollout])
    assert [turn.prompt_tokens for turn in rollout.record.turns] == [
        end + 1 for end in rollout.prompt_ends
    ]
    assert [turn.completion_tokens for turn in rollout.record.turns] == [
        rollout.turn_ids.tolist().count(turn) for turn in range(3)
    ]


def test_seeds_of_different_draws_differ() -> None:
    paths: list[tuple[str | int, ...]] = [
        *((name, i) for name in ("train", "eval", "minibatches") for i in range(50)),
        *(("eval", place, sample) for place in range(50) for sample in range(4)),
        *((), ("train",), ("1",), (1,), (0, 0), (0,), ("a", "b"), ('a", "b',)),
    ]
    # A longer number is no shorter one with something behind it: 2**33 + 1 is not 1, 2.
    found = {derive_seed(s, *path) for s in (0, 1, -1, 2**32, 2**33 + 1, 2**63) for path in paths}
    assert len(found) == 6 * len(paths)
    assert all(0 <= seed < 2**63 for seed in found)


def test_seeds_are_the_same_on_every_machine() -> None:
    """By hand: the first 8 bytes of BLAKE2b of ``[0, "train", 7]``, lowest first, in 63 bits."""
    assert derive_seed(0, "train", 7) == 6505220034088273366
