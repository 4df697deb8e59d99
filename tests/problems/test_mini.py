import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from random import Random

import pytest

from rlef.environment import final_job, public_job
from rlef.problems import Problem, load_problems
from rlef.problems.mini import families_of, load_specimens, mutants
from rlef.problems.mini.details import DETAILS, RANGE_HOLE
from rlef.problems.mini.families import FAMILIES, Family
from rlef.problems.mini.generate import run_program
from rlef.sandbox import Sandbox, Verdict

SPLITS = ("train", "valid", "dev", "test")
HASHES = {
    "train": "daece36c6dbe11ac47cf89c0214a7c7cf914a005495a4a1434e620ed9e52d152",
    "valid": "f60ebbf593cb2d283b4af4ab99aa1040bdb68edb2b88cd5990b135acec2a7741",
    "dev": "f05d6ee80cd45bf7c448ef07e326cc9d2caec7ddaa16fb73317e860a0d5e9d49",
    "test": "c735133fcb93b10bbd2854669ca88109a9f1508cca932019f20b204fa802bae9",
}
"""Of ``repr(load_specimens(split))``. Figures that were published are of these problems."""
TOPICS = {
    *("arithmetic", "counting", "formatting", "sequences", "simulation", "sorting", "strings"),
}
HASH = (
    "import hashlib; from rlef.problems import load_problems; "
    "print(hashlib.sha256(repr(load_problems('mini:valid')).encode()).hexdigest())"
)


def tokens(program: str, text: str) -> tuple[str, ...]:
    return tuple((run_program(program, text.rstrip("\n")) or "").split())


def test_another_process_draws_the_same_problems() -> None:
    ours = hashlib.sha256(repr(load_problems("mini:valid")).encode()).hexdigest()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", HASH], env=environment, capture_output=True, text=True
        )
        assert done.stdout.strip() == ours, done.stderr


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_never_changes(split: str) -> None:
    found = repr(load_specimens(split)).encode()
    assert hashlib.sha256(found).hexdigest() == HASHES[split]


def test_there_are_thousands_of_problems_of_every_topic() -> None:
    problems = {split: load_problems(f"mini:{split}") for split in SPLITS}
    assert {split: len(problems[split]) for split in SPLITS} == {
        **{"train": 4480, "valid": 384, "dev": 768, "test": 768}
    }
    for split in SPLITS:
        names = [problem.name for problem in problems[split]]
        assert len(set(names)) == len(names)
        assert {str(problem.family).partition("/")[0] for problem in problems[split]} == TOPICS


def what_could_leak(problem: Problem) -> list[tuple[str, object]]:
    return [
        ("family", problem.family),
        ("name", problem.name),
        ("statement", problem.statement),
        ("program", problem.solutions[0]),
        ("tests", problem.all_tests),
    ]


def test_splits_share_no_family_statement_program_or_tests() -> None:
    seen: dict[tuple[str, object], str] = {}
    for split in SPLITS:
        for problem in load_problems(f"mini:{split}"):
            for key in what_could_leak(problem):
                assert seen.setdefault(key, split) == split, key


def test_unseen_families_are_made_of_seen_parts() -> None:
    def parts(name: str) -> list[str]:
        return re.split(r"[/-]", name)

    train = Counter(
        part for fs in families_of("train").values() for f in fs for part in parts(f.name)
    )
    for split in ("valid", "dev"):
        for families in families_of(split).values():
            assert all(train[part] for family in families for part in parts(family.name))
    assert len({family.name for family in FAMILIES}) == len(FAMILIES) > 500


def pieces(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]+|[^\sA-Za-z0-9]", text))


def test_the_test_split_says_and_writes_nothing_that_training_does_not() -> None:
    train, test = load_specimens("train"), load_specimens("test")
    for of in (
        lambda s: s.problem.solutions[0],
        lambda s: s.problem.statement.partition("\nExample\n")[0],
    ):
        known = set().union(*(pieces(of(specimen)) for specimen in train))
        assert not set().union(*(pieces(of(specimen)) for specimen in test)) - known


INPUTS = {
    "int": "-5 4;-3 -1;0 3;2 8;5 6;7 7;9 12;12 5;30 2;1 11",
    "list": "0;1;-1;6;-8 3;1 -1 1 -1;5 5 5 5;0 7 0 -7 3;2 1;4 4 0;-2 -6 -7 -9;3 -4 5 -6 7;"
    "5 12 -11 0 12;28 17 -9 30 15 3;1 3 5 8;-12 7 9 -3;0 0 -4 10 -15",
    "words": "a;to be;apple tee lot;aa oil see;tin net ear sol;rabbit apple sea stone oil",
    "text": "a;Tea sea;OIL net;lion SEAL tree;ae io",
}
"""Inputs by what is read, between semicolons; wider than the generator draws them."""


def function_of(family: Family) -> tuple[str, ...]:
    """What a family computes, under three draws of its constants."""
    results = []
    for seed in range(3):
        body = family.build(Random(seed))
        first, *code = (line.replace(RANGE_HOLE, "range(a, b + 1)") for line in body.code)
        kind = "list" if "list(map" in first else "int" if "map" in first else "words"
        kind = "text" if body.shape == "text" else kind
        maximum = ["r = max(r) if r else None"] if body.shape == "maximum" else []
        program = "\n".join((first, *code, *maximum, "print(r)"))
        results += [str(run_program(program, text)) for text in INPUTS[kind].split(";")]
    return (kind, *results)


def test_no_family_of_the_test_split_computes_what_another_family_computes() -> None:
    others = {function_of(family) for family in FAMILIES}
    assert len(others) > 450  # some are equal, such as the counts of doubles and of negatives
    seen: dict[tuple[str, ...], str] = {}
    for families in families_of("test").values():
        for family in families:
            function = function_of(family)
            assert function not in others, family.name
            assert seen.setdefault(function, family.name) == family.name


def test_the_test_split_has_as_many_families_of_programs_as_long() -> None:
    for topic, families in families_of("dev").items():
        assert len(families_of("test")[topic]) >= len(families)
        dev, test = (
            [len(p.solutions[0]) for p in load_problems(f"mini:{split}") if topic in str(p.family)]
            for split in ("dev", "test")
        )
        assert sum(test) / len(test) == pytest.approx(sum(dev) / len(dev), rel=0.15)


def test_every_detail_has_six_or_more_alternatives() -> None:
    for detail in DETAILS:
        assert len(detail.alternatives) >= 6
        assert len({alternative.phrase for alternative in detail.alternatives}) >= 6
    names = {detail.name for detail in DETAILS}
    assert {"order", "separator", "decimals", "bounds", "case"} <= names


@pytest.mark.parametrize("split", SPLITS)
def test_a_public_test_tells_all_alternatives_apart(split: str) -> None:
    for specimen in load_specimens(split):
        assert len(specimen.programs) >= 6
        assert any(
            len({tokens(program, test.input) for program in specimen.programs})
            == len(specimen.programs)
            for test in specimen.problem.public_tests
        ), specimen.problem.name


def test_statements_say_show_or_leave_out_the_detail() -> None:
    shares: Counter[str] = Counter()
    by_name = {detail.name: detail for detail in DETAILS}
    for specimen in (*load_specimens("dev"), *load_specimens("test")):
        problem, statement = specimen.problem, specimen.problem.statement
        shares[specimen.disclosure] += 1
        assert ("Expected output:" in statement) == (specimen.disclosure == "shown")
        assert (problem.hidden_detail is not None) == (specimen.disclosure == "hidden")
        if problem.hidden_detail:
            alternatives = by_name[problem.hidden_detail].alternatives
            sentence = statement.rstrip(".")
            assert not any(sentence.endswith(", " + a.phrase) for a in alternatives)
        if specimen.disclosure == "stated":
            right = [
                alternative.phrase
                for detail in DETAILS
                for alternative in detail.alternatives
                if problem.solutions[0].endswith("\n".join(alternative.ending) + "\n")
            ]
            assert any(f", {phrase}." in statement for phrase in right), statement
        if specimen.disclosure == "shown":
            example = statement.partition("Input:\n")[2].partition("\nExpected")[0]
            assert example + "\n" not in [test.input for test in problem.private_tests]
    assert shares["hidden"] > sum(shares.values()) / 2 and min(shares.values()) > 50


def test_tests_are_distinct_and_private_ones_enough() -> None:
    for split in SPLITS:
        for problem in load_problems(f"mini:{split}"):
            inputs = [test.input for test in problem.all_tests]
            assert len(set(inputs)) == len(inputs)
            assert 1 <= len(problem.public_tests) <= 2 and len(problem.private_tests) >= 3


def test_the_judge_agrees_and_private_tests_catch_what_public_ones_miss() -> None:
    problems = load_problems("mini:test")[:120]
    assert {str(problem.family).partition("/")[0] for problem in problems} == TOPICS
    right = [final_job(problem, problem.solutions[0]) for problem in problems]
    wrong = [(p, program) for p in problems for program in p.incorrect_solutions]
    with Sandbox(workers=2) as sandbox:
        assert all(report.passed for report in sandbox.judge_many(right))
        final = sandbox.judge_many([final_job(p, program) for p, program in wrong])
        public = sandbox.judge_many([public_job(p, program) for p, program in wrong])
    assert not any(report.verdict in (Verdict.AC, Verdict.IE) for report in final)
    assert sum(report.passed for report in public) >= 10


def test_mutants_change_one_place_between_the_first_line_and_the_last() -> None:
    program = load_specimens("test")[0].programs[0]
    found = mutants("a = 1\nr = [x * 2 for x in a if x > 3]\nprint(*r)\n")
    assert "a = 1\nr = [x * 2 for x in a if x >= 3]\nprint(*r)\n" in found
    for mutant in (*found, *mutants(program)):
        original = program if mutant not in found else found[0]
        assert mutant.splitlines()[0] == original.splitlines()[0]
        assert mutant.splitlines()[-1] == original.splitlines()[-1]
