"""From the run folders of a study to its numbers; nothing here trains or samples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np

from rlef.algorithms import CalibrationBin
from rlef.config import load_config
from rlef.environment import EpisodeRecord, StopReason
from rlef.evaluation import (
    Behaviour,
    Interval,
    bootstrap_interval,
    cost_curve,
    episode_behaviour,
    episode_statistics,
    parse_metrics,
)
from rlef.evaluation.bootstrap import DRAWS, PERCENTILES, ratio_interval
from rlef.evaluation.budget import CostPoint
from rlef.evaluation.certainty import Values, mean_rate, pooled, same_for
from rlef.evaluation.compare import Difference, difference_over_seeds
from rlef.evaluation.episodes import read_episodes
from rlef.evaluation.sample_ratio import SampleRatio, independent_curves, sample_ratio
from rlef.evaluation.specs import values_by_problem
from rlef.evaluation.statistics import mean, repairs_by_problem, share
from rlef.report.tables import setting_name
from rlef.run import RunFolder, json_value
from rlef.run.training import read_training_rollouts
from rlef.stored import read_metrics
from rlef.study.arms import (
    ARMS,
    BASE,
    CLAIMS,
    EXAMS,
    RLEF,
    TRAINED_TURNS,
    Arm,
    Claim,
    ExamName,
    Part,
    Side,
)
from rlef.study.run import exam_name
from rlef.train.recipe import TrainConfig

_LEAST_TURNS = 20
Verdict = Literal["holds", "reversed", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What is on disk.

    Attributes:
        records: Episodes by arm, seed and exam.
        metrics: Lines of ``metrics.jsonl`` by arm and seed.
        tokens: Of answers sampled to train, by arm and seed that was trained.
        settings: How exams sampled, such as "temperature 1"; the second is that of ``also``.
    """

    records: Mapping[tuple[str, int, ExamName], Sequence[EpisodeRecord]]
    metrics: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]]
    tokens: Mapping[tuple[str, int], int] = field(default_factory=dict)
    settings: tuple[str, ...] = ()

    @property
    def arms(self) -> list[Arm]:
        """Those with an exam, in the order of tables."""
        found = {arm for arm, _, _ in self.records}
        return [arm for name, arm in ARMS.items() if name in found]

    def seeds(self, arm: str, exam: ExamName = "feedback") -> list[int]:
        """Seeds that an arm has taken an exam with."""
        return sorted(seed for a, seed, e in self.records if (a, e) == (arm, exam))

    def of(self, arm: str, exam: ExamName = "feedback") -> list[EpisodeRecord]:
        """Episodes of all seeds."""
        return [r for seed in self.seeds(arm, exam) for r in self.records[arm, seed, exam]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A solve rate of an arm: mean over its seeds."""

    interval: Interval
    """Over problems, each with the results of all seeds."""
    by_seed: tuple[float, ...]

    @property
    def spread(self) -> float:
        """Standard deviation over seeds; NaN for one."""
        return stdev(self.by_seed) if len(self.by_seed) > 1 else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """What became of a claim."""

    claim: Claim
    difference: Difference
    by_seed: tuple[float, ...]
    """Differences, seed by seed."""

    @property
    def verdict(self) -> Verdict:
        """``holds`` or ``reversed`` where the interval is on one side of 0.

        With one seed always ``open``: how another training would end is not known.
        """
        if len(self.by_seed) < 2:
            return "open"
        if self.difference.low > 0:
            return "holds"
        return "reversed" if self.difference.high < 0 else "open"


def load_results(out: Path, parts: Sequence[Part]) -> Results:
    """Reads what the parts have on disk.

    Raises:
        ConfigError, RunDamagedError: A file cannot be read.
    """
    settings: tuple[str, ...] = ()
    records: dict[tuple[str, int, ExamName], Sequence[EpisodeRecord]] = {}
    metrics: dict[tuple[str, int], Sequence[Mapping[str, Any]]] = {}
    tokens: dict[tuple[str, int], int] = {}
    for part in parts:
        run = RunFolder(part.folder(out))
        if not run.is_run():
            continue
        if not settings:
            config = load_config(TrainConfig, run.config_path, [])
            settings = tuple(setting_name(each.model_dump()) for each in config.eval.samplings)
        metrics[part.arm.name, part.seed] = read_metrics(run)
        if run.has_training_rollouts():
            tokens[part.arm.name, part.seed] = _sampled_tokens(run)
        for exam in EXAMS.values():
            if run.has_rollouts(exam_name(exam)):
                found = [record for record, _ in read_episodes(run, exam_name(exam))]
                records[part.arm.name, part.seed, exam.name] = found
    return Results(records=records, metrics=metrics, tokens=tokens, settings=settings)


def _sampled_tokens(run: RunFolder) -> int:
    """Of all training rollouts, as they were sampled: an arm may learn from a part of each."""
    turn_ids = read_training_rollouts(run, ["turn_ids"])["turn_ids"]
    return sum(int((each.flatten().to_numpy() >= 0).sum()) for each in turn_ids.chunks)


def solve_rate(results: Results, side: Side) -> Rate | None:
    """1@n of an arm; ``None`` where it has not taken the exam."""
    by_seed = _values(results, side)
    if not by_seed:
        return None
    return Rate(
        interval=bootstrap_interval(pooled(list(by_seed.values())), draws=DRAWS),
        by_seed=tuple(map(mean_rate, by_seed.values())),
    )


def lost_gain(results: Results, arm: str = RLEF) -> Interval | None:
    """Share of what turns 2 and 3 add that is lost with random feedback.

    (1@3 - 1@3 with random feedback) / (1@3 - 1@1), with its 95 % bootstrap interval over problems.
    ``None`` where an exam is missing or later turns add nothing. Where they add nothing in a draw
    the bounds are NaN.
    """
    sides = (
        Side(arm=arm),
        Side(arm=arm, exam="random"),
        Side(arm=arm, turns=1),
    )
    by_side = [pooled(list(_values(results, side).values())) for side in sides]
    names = sorted(set.intersection(*(set(values) for values in by_side)))
    if not names:
        return None
    rates = np.array([[fmean(values[name]) for name in names] for values in by_side])
    places = np.random.default_rng(0).integers(len(names), size=(DRAWS, len(names)))
    true, random, first = (row[places].mean(1) for row in rates)
    whole = rates.mean(1)
    if whole[0] <= whole[2]:
        return None
    low = high = math.nan
    if (true > first).all():
        low, high = map(float, np.percentile((true - random) / (true - first), PERCENTILES))
    return Interval(float((whole[0] - whole[1]) / (whole[0] - whole[2])), low, high)


def trained_tokens(results: Results, arm: str) -> float:
    """Tokens of answers that were sampled to train an arm, mean over seeds; NaN without training.

    An arm that imitates solved rollouts, or later turns, learns from a part of them only.
    """
    return mean([tokens for (name, _), tokens in results.tokens.items() if name == arm])


def error_shares(results: Results, arm: str) -> dict[str, list[float]]:
    """By cause: the share of all episodes that failed so at turn 1, 2, 3."""
    records = results.of(arm)
    turns = episode_statistics(records, TRAINED_TURNS).error_types_by_turn
    causes = dict.fromkeys(cause for each in turns[:TRAINED_TURNS] for cause in each)
    counted = [r for r in records if r.stop is not StopReason.INFRA_ERROR]
    return {
        cause: [share(each.get(cause, 0), len(counted)) for each in turns[:TRAINED_TURNS]]
        for cause in causes
    }


def claim_results(results: Results, *, also: bool = False) -> list[ClaimResult]:
    """The claims that can be looked at.

    Args:
        results: Of the study.
        also: At the second setting of evaluations: claims about other exams are left out.
    """
    found = []
    for claim in CLAIMS:
        sides = [claim.lower, claim.higher]
        if also:
            sides = [replace(side, exam="also") for side in sides if side.exam == "feedback"]
        both = _paired(results, *sides) if len(sides) == 2 else None
        if both is None:
            continue
        difference, by_seed = difference_over_seeds(claim.text, *both)
        found.append(ClaimResult(claim=claim, difference=difference, by_seed=by_seed))
    return found


def against(results: Results, arm: str, reference: str) -> Difference | None:
    """1@3 of an arm less that of another, on the seeds that both have; interval over both."""
    both = _paired(results, Side(arm=reference), Side(arm=arm))
    return None if arm == reference or both is None else difference_over_seeds("1@3", *both)[0]


def untrained_answers(
    results: Results, arm: str, submissions: int | None = None
) -> SampleRatio | None:
    """Independent answers of the untrained model that solve as much as 1@3 of an arm.

    Args:
        results: Of the study.
        arm: Which.
        submissions: ``None``: any right answer counts, pass@k. Else n of n@k.

    Returns:
        ``None`` where there is no exam of such answers.
    """
    records = results.of(BASE, "independent")
    trained = _values(results, Side(arm=arm))
    if not records or not trained:
        return None
    curves = independent_curves(records, submissions)
    return sample_ratio(trained, TRAINED_TURNS, curves, f"{submissions or 'pass'}@k")


def long_exam(results: Results, arm: str) -> ExamName:
    """The exam that tells most of an arm's turns."""
    return "long" if results.seeds(arm, "long") else "feedback"


def rates_by_turn(results: Results, arm: str, exam: ExamName = "feedback") -> list[Rate]:
    """Solve rate with at most 1, 2, ... turns."""
    turns = range(1, EXAMS[exam].turn_limit + 1)
    found = (solve_rate(results, Side(arm=arm, turns=turn, exam=exam)) for turn in turns)
    return [rate for rate in found if rate is not None]


def behaviour(results: Results, arm: str, exam: ExamName = "feedback") -> Behaviour:
    """What happens from turn to turn, over all seeds."""
    return episode_behaviour(results.of(arm, exam), EXAMS[exam].turn_limit)


def repair_rate(results: Results, arm: str) -> Interval:
    """Share of second and third turns that solved their problem; interval over problems."""
    return ratio_interval(repairs_by_problem(results.of(arm), TRAINED_TURNS))


def costs(results: Results, arm: str, exam: ExamName) -> tuple[CostPoint, ...]:
    """Solve rate against answers per problem."""
    records = results.of(arm, exam)
    return cost_curve(records, EXAMS[exam].turn_limit) if records else ()


def curve(results: Results, arm: str, key: str) -> list[tuple[float, float]]:
    """A metric of training as (share of the training done, mean over seeds)."""
    lines = [lines for (name, _), lines in results.metrics.items() if name == arm and lines]
    if not lines:
        return []
    length = min(map(len, lines))
    found = []
    for i in range(length):
        values = [line[i].get(key) for line in lines]
        known = [float(value) for value in values if value is not None]
        if known:
            found.append(((i + 1) / length, fmean(known)))
    return found


def calibration_points(results: Results, arm: str) -> list[CalibrationBin]:
    """The critic's values in the last fifth of training and what became of them, over all seeds.

    Bins as in ``rlef.algorithms.calibration``, without those of fewer than 20 turns.
    """
    lines = [lines for (name, _), lines in results.metrics.items() if name == arm]
    tails = [
        line
        for each in lines
        for line in each[-max(1, len(each) // 5) :]
        if line.get("calibration")
    ]
    points = []
    for place in zip(*(line["calibration"] for line in tails), strict=True):
        filled = [CalibrationBin(*each) for each in place if each[0]]
        count = sum(each.turns for each in filled)
        if count >= _LEAST_TURNS:
            value = sum(each.turns * each.value for each in filled) / count
            solved = sum(each.turns * each.solved for each in filled) / count
            points.append(CalibrationBin(count, value, solved))
    return points


def to_json(results: Results) -> dict[str, object]:
    """All numbers of the page."""
    arms: dict[str, object] = {}
    for arm in results.arms:
        rates = rates_by_turn(results, arm.name)
        difference = against(results, arm.name, RLEF)
        arms[arm.name] = {
            "title": arm.title,
            "words": list(arm.words),
            "seeds": results.seeds(arm.name),
            "solve_rate_by_turn": [
                {**rate.interval._asdict(), "by_seed": rate.by_seed} for rate in rates
            ],
            "trained_tokens": trained_tokens(results, arm.name),
            "calibration": [each._asdict() for each in calibration_points(results, arm.name)],
            "repair_rate": repair_rate(results, arm.name)._asdict(),
            "less_rlef": None if difference is None else asdict(difference),
            "untrained_answers": {
                name: ratio.to_json()
                for name, ratio in (
                    ("any_right", untrained_answers(results, arm.name)),
                    ("one_submitted", untrained_answers(results, arm.name, 1)),
                )
                if ratio is not None
            },
            "behaviour": behaviour(results, arm.name).to_json(),
        }
    claims = [_claim_json(each) for each in claim_results(results)]
    at_second = [_claim_json(each) for each in claim_results(results, also=True)]
    lost = lost_gain(results)
    return {
        "arms": json_value(arms),
        "settings": list(results.settings),
        "claims": json_value(claims),
        "claims_at_second_setting": json_value(at_second),
        "gain_lost_with_random_feedback": json_value(lost._asdict()) if lost else None,
    }


def _claim_json(each: ClaimResult) -> dict[str, object]:
    return {
        "claim": each.claim.text,
        "paper": each.claim.paper,
        "verdict": each.verdict,
        **asdict(each.difference),
        "by_seed": each.by_seed,
    }


def _paired(
    results: Results, lower: Side, higher: Side
) -> tuple[dict[int, Values], dict[int, Values]] | None:
    """Both sides by the seeds that they share; ``None`` without any.

    An arm that is the same with every seed is laid beside all seeds of the other.
    """
    sides: list[dict[int, Values]] = [dict(_values(results, side)) for side in (lower, higher)]
    if not all(sides):
        return None
    for i, side in enumerate((lower, higher)):
        if ARMS[side.arm].is_fixed:
            sides[i] = same_for(sides[1 - i], sides[i])
    seeds = sorted(sides[0].keys() & sides[1].keys())
    first, second = ({seed: side[seed] for seed in seeds} for side in sides)
    return (first, second) if seeds else None


def _values(results: Results, side: Side) -> dict[int, dict[str, list[float]]]:
    """By seed: problem to its results."""
    (spec,) = parse_metrics(f"1@{side.turns}")
    found = {
        seed: values_by_problem(
            results.records[side.arm, seed, side.exam], spec, EXAMS[side.exam].turn_limit
        )
        for seed in results.seeds(side.arm, side.exam)
    }
    return {seed: values for seed, values in found.items() if any(map(len, values.values()))}
