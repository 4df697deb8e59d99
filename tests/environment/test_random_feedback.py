from collections.abc import Iterator
from dataclasses import replace

import pytest

from rlef.environment import (
    FeedbackOptions,
    Prompts,
    RandomFeedbackPool,
    final_job,
    public_job,
    reveal_private_tests,
)
from rlef.problems import Problem, Test
from rlef.sandbox import Limits, Sandbox

MINI = Prompts.load("mini")


def make_problem(name: str, family: str | None, *incorrect: str) -> Problem:
    return Problem(
        name=name,
        statement="",
        public_tests=(Test(f"{name}-in", f"{name}-out"),),
        private_tests=(Test(f"{name}-secret", f"{name}-secret"),),
        incorrect_solutions=incorrect,
        family=family,
        cpu_s=1.5,
    )


PROBLEMS = [
    make_problem("a", "x", "print('a-wrong')", "print('a-out')"),
    make_problem("b", "x", "1 / 0"),
    make_problem("c", "y", "print('c-wrong')", "print('c-bad')"),
    make_problem("d", "z"),
]


@pytest.fixture(scope="module")
def pool() -> Iterator[RandomFeedbackPool]:
    with Sandbox(workers=1) as sandbox:
        options = FeedbackOptions(kind="random")
        yield RandomFeedbackPool.build(PROBLEMS, sandbox, MINI, options, seed=0)


def test_messages_are_true_feedback_on_public_tests(pool: RandomFeedbackPool) -> None:
    assert pool.messages["a"] == (
        "Wrong answer.\nInput:\na-in\nExpected output:\na-out\nYour output:\na-wrong\nTry again.",
    )
    assert pool.messages["b"] == (
        "Error.\nInput:\nb-in\nZeroDivisionError: division by zero\nTry again.",
    )
    assert len(pool.messages["c"]) == 2
    assert pool.messages["d"] == ("Error.\nInput:\nd-in\nNotImplementedError\nTry again.",)
    assert "secret" not in str(pool.messages)


def test_never_the_same_problem_or_family(pool: RandomFeedbackPool) -> None:
    drawn = {pool.draw("a", seed) for seed in range(60)}
    assert drawn == {*pool.messages["c"], *pool.messages["d"]}
    assert {pool.draw("unknown", seed) for seed in range(99)} == {
        text for texts in pool.messages.values() for text in texts
    }


def test_the_same_family_where_there_is_no_other(pool: RandomFeedbackPool) -> None:
    two = RandomFeedbackPool(
        messages={name: pool.messages[name] for name in "ab"}, families={"a": "x", "b": "x"}
    )
    assert {two.draw("a", seed) for seed in range(20)} == set(pool.messages["b"])


def test_a_seed_decides(pool: RandomFeedbackPool) -> None:
    draws = [pool.draw("a", seed) for seed in range(30)]
    assert draws == [pool.draw("a", seed) for seed in range(30)]
    assert draws != [pool.draw("b", seed) for seed in range(30)]


def test_a_message_that_is_too_long_gives_way_to_another() -> None:
    texts = {"a": ("",), "b": ("short", "b" * 99), "c": ("c" * 99,)}
    pool = RandomFeedbackPool(messages=texts, families=dict.fromkeys(texts))
    for seed in range(30):
        assert pool.draw("a", seed, lambda text: len(text) < 9) == "short"
        fitting = pool.draw("a", seed, lambda text: len(text) < 100)
        assert fitting == pool.draw("a", seed)


def test_too_few_problems() -> None:
    with Sandbox(workers=1) as sandbox:
        for problems in (PROBLEMS[:1], [PROBLEMS[0], PROBLEMS[0]]):
            with pytest.raises(ValueError, match="two or more problems of different names"):
                RandomFeedbackPool.build(problems, sandbox, MINI, FeedbackOptions(), seed=0)


def test_jobs() -> None:
    problem = PROBLEMS[0]
    public, final = public_job(problem, "p"), final_job(problem, "p", Limits(memory_mb=99))
    assert public.tests == problem.public_tests and not public.stop_at_first_failure
    assert final.tests == problem.all_tests and final.stop_at_first_failure
    assert public.limits == Limits(cpu_s=1.5)
    assert final.limits == Limits(cpu_s=1.5, memory_mb=99)
    graded = final_job(problem, "p", graded=True)
    assert graded.tests == problem.all_tests and not graded.stop_at_first_failure


def test_private_tests_are_revealed_up_to_a_number() -> None:
    tests = tuple(Test(str(i), str(i)) for i in range(9))
    problem = replace(PROBLEMS[0], public_tests=tests[:3], private_tests=tests[3:])
    shown = reveal_private_tests(problem, limit=5)
    assert shown.public.public_tests == tests[:5] and shown.private_tests == tests[5:]
    assert shown.all_tests == problem.all_tests
    assert reveal_private_tests(problem).private_tests == ()
    assert reveal_private_tests(problem, limit=1).public_tests == tests[:3]


def test_a_right_program_may_print_what_is_expected() -> None:
    long = Test("1", "7 " * 3_000_000)
    problem = replace(PROBLEMS[0], private_tests=(long,))
    assert public_job(problem, "p").limits.output_kb == Limits().output_kb
    assert final_job(problem, "p").limits.output_kb >= len(long.output) // 1024 + 1
    wide = Test("1", "漢" * 1_000_000)
    printed = replace(PROBLEMS[0], private_tests=(wide,))
    assert final_job(printed, "p").limits.output_kb * 1024 > 3_000_000
    returned = replace(printed, mode="function", entry_point="f")
    assert final_job(returned, "p").limits.output_kb * 1024 > 6_000_000
