"""The results of the RLEF paper (arXiv 2410.02089v2) as data, to stand beside one's own."""

from collections.abc import Iterator
from dataclasses import dataclass

VALID, TEST = "CodeContests valid", "CodeContests test"
HUMANEVAL, MBPP, LIVECODEBENCH = "HumanEval+", "MBPP+", "LiveCodeBench"

_INSTRUCT, _RLEF = "Instruct", "Instruct + RLEF"
_8B, _70B = "Llama 3.1 8B", "Llama 3.1 70B"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """One number of the paper."""

    model: str
    method: str
    """What was done to the model, or with it; empty where it is used as it is."""
    metric: str
    """As ``MetricSpec.name``."""
    data: str
    """One of the five data sets of this module."""
    turns: int | None
    """Turn limit; ``None``: another way of working, without turns of this kind."""
    percent: float
    """Solve rate in percent, as printed."""
    ablation: bool = False
    """Whether it comes from one of the paper's ablations (CodeContests, 1@3)."""


def paper_rows(metric: str, data: str, *, ablations: bool = False) -> list[PaperRow]:
    """The paper's rows for a metric on one of its data sets, in its order.

    Args:
        metric: Such as "1@3".
        data: ``VALID``, ``TEST``, ``HUMANEVAL``, ``MBPP`` or ``LIVECODEBENCH``.
        ablations: Whether to include the ablations.

    Example:
        >>> paper_rows("10@100", TEST)[-1].percent
        54.5
    """
    return [
        row
        for row in PAPER
        if row.metric == metric and row.data == data and (ablations or not row.ablation)
    ]


def paper_data_sets(spec: str) -> tuple[str, ...]:
    """The paper's data sets nearest to a specification of problems.

    HumanEval and MBPP are set beside HumanEval+ and MBPP+, whose tests are harder; CodeContests
    without a split beside both splits.

    Example:
        >>> paper_data_sets("codecontests:hub:valid?first=40")
        ('CodeContests valid',)
    """
    scheme, _, rest = spec.partition(":")
    if scheme == "codecontests":
        split = rest.partition("?")[0].rpartition(":")[2]
        return {"train": (), "valid": (VALID,), "validation": (VALID,), "test": (TEST,)}.get(
            split, (VALID, TEST)
        )
    sets = {
        "humaneval": (HUMANEVAL,),
        "humanevalplus": (HUMANEVAL,),
        "mbpp": (MBPP,),
        "mbppplus": (MBPP,),
        "livecodebench": (LIVECODEBENCH,),
    }
    return sets.get(scheme, ())


# Table 1: model, method, metric, turns, valid, test.
_CODECONTESTS: tuple[tuple[str, str, str, int | None, float | None, float], ...] = (
    ("AlphaCode 9B", "", "10@1000", None, 16.9, 13.3),
    ("AlphaCode 41B", "clustering", "10@1000", None, 21.0, 16.4),
    ("Code Llama 34B", "PPO", "10@1000", None, 19.7, 22.4),
    ("GPT-3.5", "AlphaCodium", "5@100", None, 25.0, 17.0),
    ("GPT-4", "AlphaCodium", "5@100", None, 44.0, 29.0),
    (_70B, "AlphaCodium", "5@100", None, 34.2, 27.8),
    ("GPT-3.5", "MapCoder", "1@23", None, None, 12.7),
    ("GPT-4", "MapCoder", "1@19", None, None, 28.5),
    ("Llama 3.0 8B", _INSTRUCT, "1@3", 3, 4.1, 3.2),
    ("Llama 3.0 8B", _RLEF, "1@3", 3, 12.5, 12.1),
    (_8B, _INSTRUCT, "1@3", 3, 8.9, 10.5),
    (_8B, _RLEF, "1@3", 3, 17.2, 16.1),
    (_70B, _INSTRUCT, "1@3", 3, 25.9, 27.5),
    (_70B, _RLEF, "1@3", 3, 37.5, 40.1),
    (_8B, _INSTRUCT, "10@100", 3, 21.7, 24.8),
    (_8B, _RLEF, "10@100", 3, 29.8, 28.7),
    (_70B, _INSTRUCT, "10@100", 3, 50.2, 50.3),
    (_70B, _RLEF, "10@100", 3, 54.5, 54.5),
)
# 1@3 in one turn (three answers, no feedback) and in three: model, method, then pairs for
# CodeContests test, HumanEval+, MBPP+ and LiveCodeBench. The three-turn numbers of CodeContests are
# those of table 1, but for Llama 3.1 70B Instruct: 27.4 there.
_Pair = tuple[float, float]
_GENERALISATION: tuple[tuple[str, str, _Pair, _Pair, _Pair, _Pair], ...] = (
    ("GPT-4o", "", (25.3, 24.3), (82.8, 80.7), (68.8, 71.7), (49.9, 48.4)),
    (_8B, _INSTRUCT, (11.8, 10.5), (65.3, 63.9), (58.3, 60.5), (22.5, 23.1)),
    (_8B, _RLEF, (9.7, 16.1), (67.5, 69.5), (57.0, 63.1), (22.7, 27.8)),
    (_70B, _INSTRUCT, (26.2, 27.4), (73.2, 75.0), (66.9, 70.2), (38.1, 40.9)),
    (_70B, _RLEF, (30.1, 40.1), (78.6, 80.4), (67.6, 72.2), (36.9, 42.4)),
)
# Ablations, 1@3 in three turns on CodeContests: model, method, valid, test.
_ABLATIONS: tuple[tuple[str, str, float, float], ...] = (
    (_8B, "few-shot", 8.5, 8.5),
    (_8B, "SFT on successful rollouts", 10.3, 10.0),
    (_8B, "single-turn RL", 10.2, 10.9),
    (_8B, "single-turn RL + a trained repair model", 14.8, 12.6),
    (_8B, "no execution feedback in training", 12.2, 10.9),
    (_8B, "token-level value function", 13.1, 13.7),
    (_8B, "RLEF, feedback from 20 tests at inference", 18.1, 14.4),
    (_70B, "few-shot", 22.5, 20.3),
    (_70B, "SFT on successful rollouts", 27.7, 27.2),
    (_70B, "single-turn RL", 31.1, 32.9),
    (_70B, "RLEF, feedback from 20 tests at inference", 40.4, 41.2),
)


def _rows() -> Iterator[PaperRow]:
    for model, method, metric, limit, valid, test in _CODECONTESTS:
        for data, percent in ((VALID, valid), (TEST, test)):
            if percent is not None:
                yield PaperRow(
                    model=model,
                    method=method,
                    metric=metric,
                    data=data,
                    turns=limit,
                    percent=percent,
                )
    in_table_1 = {row[:2] for row in _CODECONTESTS}
    for model, method, *pairs in _GENERALISATION:
        for data, pair in zip((TEST, HUMANEVAL, MBPP, LIVECODEBENCH), pairs, strict=True):
            for turns, percent in zip((1, 3), pair, strict=True):
                if not (data == TEST and turns == 3 and (model, method) in in_table_1):
                    yield PaperRow(
                        model=model,
                        method=method,
                        metric="1@3",
                        data=data,
                        turns=turns,
                        percent=percent,
                    )
    for model, method, *rates in _ABLATIONS:
        for data, percent in zip((VALID, TEST), rates, strict=True):
            yield PaperRow(
                model=model,
                method=method,
                metric="1@3",
                data=data,
                turns=3,
                percent=percent,
                ablation=True,
            )


PAPER: tuple[PaperRow, ...] = tuple(_rows())
"""All rows."""
