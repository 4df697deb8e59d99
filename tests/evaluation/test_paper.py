from collections import Counter

import pytest

from rlef.evaluation.paper import (
    HUMANEVAL,
    LIVECODEBENCH,
    MBPP,
    PAPER,
    TEST,
    VALID,
    paper_data_sets,
    paper_rows,
)
from rlef.evaluation.specs import parse_metrics
from rlef.problems.load import DATA_SETS


def percents(metric: str, data: str, **where: object) -> list[float]:
    return [
        row.percent
        for row in paper_rows(metric, data, ablations=True)
        if all(getattr(row, key) == value for key, value in where.items())
    ]


def test_numbers_of_the_paper() -> None:
    rlef = {"method": "Instruct + RLEF"}
    assert percents("1@3", VALID, **rlef) == [12.5, 17.2, 37.5]
    assert percents("1@3", TEST, turns=3, **rlef) == [12.1, 16.1, 40.1]
    assert percents("1@3", TEST, turns=1, **rlef) == [9.7, 30.1]
    assert percents("10@100", TEST) == [24.8, 28.7, 50.3, 54.5]
    assert percents("1@3", HUMANEVAL, model="GPT-4o") == [82.8, 80.7]
    assert percents("1@3", MBPP, model="Llama 3.1 70B", **rlef) == [67.6, 72.2]
    assert percents("1@3", LIVECODEBENCH, turns=3) == [48.4, 23.1, 27.8, 40.9, 42.4]
    assert percents("1@23", VALID) == []
    assert percents("1@3", VALID, ablation=True, model="Llama 3.1 70B") == [22.5, 27.7, 31.1, 40.4]


def test_rows_are_sound() -> None:
    keys = Counter((r.model, r.method, r.metric, r.data, r.turns) for r in PAPER)
    assert set(keys.values()) == {1}
    for row in PAPER:
        assert parse_metrics(row.metric)[0].name == row.metric
        assert 0 < row.percent < 100
        assert row.data in (VALID, TEST, HUMANEVAL, MBPP, LIVECODEBENCH)
    # 18 rows of two but for MapCoder's two; 5 of eight less the four of table 1; 11 of two.
    assert len(PAPER) == 34 + 36 + 22
    assert all(not row.ablation for row in paper_rows("1@3", VALID))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("codecontests:hub:test", (TEST,)),
        ("codecontests:deepmind/code_contests:validation?first=4", (VALID,)),
        ("codecontests:sample.jsonl", (VALID, TEST)),
        ("codecontests:hub:train", ()),
        ("codecontestsplus:hub:train", ()),
        ("humanevalplus:file.jsonl", (HUMANEVAL,)),
        ("mbpp:mbpp.jsonl:test", (MBPP,)),
        ("livecodebench:hub?release=v5", (LIVECODEBENCH,)),
        ("mini:test", ()),
        ("", ()),
    ],
)
def test_the_nearest_data_sets(spec: str, expected: tuple[str, ...]) -> None:
    assert paper_data_sets(spec) == expected
    assert spec == "" or spec.partition(":")[0] in {*DATA_SETS, "mini"}
