"""Equal and nearly equal statements."""

import random

import pytest
from hand_made import make
from hypothesis import given
from hypothesis import strategies as st

from rlef.curation import Kind, find_duplicates, without_duplicates
from rlef.curation.statements import jaccard, normalized, shingles
from rlef.curation.types import Repaired
from rlef.problems import Problem

LONG = " ".join(f"word{i}" for i in range(60))
NEAR = LONG.replace("word30", "other")  # 3 of 58 triples differ: 55 / 61


def kinds(problems: list[Problem], others: list[Problem] | None = None) -> list[list[Kind]]:
    return [[f.kind for f in found] for found in find_duplicates(problems, others or [])]


def test_shingles_and_jaccard_by_hand() -> None:
    one, other = shingles("Read n, print 2n."), shingles("read N print 3n")
    assert one == {"read n print", "n print 2n"}
    assert jaccard(one, other) == 1 / 3
    assert shingles("One two") == {"one two"}
    assert shingles("...") == frozenset()
    assert jaccard(shingles(""), shingles("")) == 0
    assert jaccard(shingles(LONG), shingles(NEAR)) == 55 / 61


def test_equal_statement_is_that_of_the_first() -> None:
    problems = [make("a"), make("b", statement=" read N,\n print  2N."), make("c")]
    first, second, third = find_duplicates(problems)
    assert first == ()
    assert [(f.kind, f.other, f.similarity) for f in (*second, *third)] == [
        (Kind.DUPLICATE_PROBLEM, "a", 1.0),
        (Kind.DUPLICATE_PROBLEM, "a", 1.0),
    ]
    assert second[0].message == "the statement is that of a"


def test_statements_that_differ_in_a_sign_are_not_equal() -> None:
    assert kinds([make(statement="Print a + b."), make(statement="Print a - b.")]) == [
        [],
        [Kind.NEAR_DUPLICATE],
    ]


def test_hidden_details_tell_problems_apart() -> None:
    one, other = (make(hidden_detail=words) for words in ("count from 0", "sort them downwards"))
    assert kinds([one, other]) == [[], []]
    assert kinds([one, one]) == [[], [Kind.DUPLICATE_PROBLEM]]


def test_near_statement_names_the_likest() -> None:
    nearer = NEAR.replace("other", "word30 again")
    problems = [make("x", statement=nearer), make("y", statement=NEAR), make("z", statement=LONG)]
    _, _, ((finding),) = find_duplicates(problems)
    assert finding.kind is Kind.NEAR_DUPLICATE
    assert finding.repair is None
    assert finding.other == "x"
    assert finding.similarity == pytest.approx(56 / 61)


def test_of_many_statements_of_a_template_few_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = []

    def counted(one: frozenset[str], other: frozenset[str]) -> float:
        compared.append(1)
        return jaccard(one, other)

    monkeypatch.setattr("rlef.curation.statements.jaccard", counted)
    many = [make(f"p{i}", statement=LONG.replace("word30", f"other{i}")) for i in range(200)]
    nearest = make("last", statement=LONG.replace("word30", "other77").replace("word0 ", ""))
    *_, ((finding),) = find_duplicates([*many, nearest])
    assert finding.other == "p77" and len(compared) <= 20 * 201


def test_other_set_is_compared_apart() -> None:
    problems = [make("a", statement=LONG), make("b", statement="Something else altogether.")]
    assert kinds(problems, [make("o", statement=LONG)]) == [[Kind.IN_OTHER_SET], []]
    assert kinds(problems, [make("o", statement=NEAR)]) == [[Kind.NEAR_IN_OTHER_SET], []]
    assert Kind.NEAR_IN_OTHER_SET.severity == "warning"


def test_empty_statements_are_like_nothing() -> None:
    assert kinds([make(statement=""), make(statement=" ")]) == [[], []]


def test_without_the_library_equal_ones_are_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlef.curation.statements.has_minhash", lambda: False)
    texts = (LONG, NEAR, LONG)
    assert kinds([make(str(i), statement=t) for i, t in enumerate(texts)]) == [
        [],
        [],
        [Kind.DUPLICATE_PROBLEM],
    ]


def test_of_duplicates_the_first_that_is_kept_stays() -> None:
    broken = Repaired(problem=None)
    kept, again = Repaired(problem=make("b")), Repaired(problem=make("c"))
    near = Repaired(problem=make("d", statement=LONG))
    results = without_duplicates([broken, kept, again, near], [make("o", statement=NEAR)])
    assert [r.problem.name if r.problem else None for r in results] == [None, "b", None, None]
    assert results[2].changes[0].what == "dropped: the statement is that of b"
    assert results[3].changes[0].kind is Kind.NEAR_IN_OTHER_SET


def test_candidates_agree_with_a_full_comparison() -> None:
    """MinHash may lose a pair near the threshold, none well above it, and never adds one."""
    draw = random.Random(0)
    texts = []
    for _ in range(40):
        words = [f"w{draw.randrange(500)}" for _ in range(80)]
        changed = list(words)
        for _ in range(draw.randrange(8)):
            changed[draw.randrange(80)] = "new"
        texts += [" ".join(words), " ".join(changed)]
    problems = [make(str(i), statement=text) for i, text in enumerate(texts)]
    found = {i for i, findings in enumerate(find_duplicates(problems)) if findings}
    best = {
        i: max(jaccard(shingles(texts[i]), shingles(texts[j])) for j in range(i))
        for i in range(1, len(texts))
    }
    assert {i for i, index in best.items() if index >= 0.8} <= found
    assert found <= {i for i, index in best.items() if index >= 0.7}
    assert 20 < len(found) < 40


@given(st.text())
def test_normalized_ignores_case_and_blanks_and_is_stable(text: str) -> None:
    once = normalized(text)
    assert normalized(f"\n {text} \t") == once
    assert normalized(once) == once or not text.isascii()
    if text.isascii():
        assert normalized(text.upper()) == once


@given(st.text(alphabet="ab ", max_size=30), st.text(alphabet="ab ", max_size=30))
def test_jaccard_is_symmetric_and_one_only_for_equal_sets(one: str, other: str) -> None:
    a, b = shingles(one), shingles(other)
    assert 0 <= jaccard(a, b) == jaccard(b, a) <= 1
    assert (jaccard(a, b) == 1) == (a == b and bool(a))
