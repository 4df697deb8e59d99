"""The study's numbers from episodes made by hand, and its arms."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from rlef.config import ConfigError, dump_config, load_config
from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.rollout import Rollout
from rlef.rollout.ledger import Ledger
from rlef.rollout.records import episode_to_json
from rlef.run import RunError, RunFolder
from rlef.sandbox import Verdict
from rlef.study import Part, Side, arm_config, check_words, chosen_arms, finished, parts
from rlef.study.analysis import (
    calibration_points,
    claim_results,
    error_shares,
    load_results,
    lost_gain,
    rates_by_turn,
    repair_rate,
    solve_rate,
    trained_tokens,
    untrained_answers,
)
from rlef.study.arms import ARMS, CLAIMS, EXAMS, Arm
from rlef.study.config import first_policy, has_second_setting, samples_of
from rlef.study.page import write_study
from rlef.train.loop import policy_path
from rlef.train.recipe import TrainConfig

AC, WA = Verdict.AC, Verdict.WA
UNTRAINED, RLEF = ARMS["untrained"], ARMS["rlef"]


def episode(problem: str, solved_at: int | None, turns: int = 10) -> EpisodeRecord:
    """Solved in a turn, or in none of so many."""
    count = solved_at or turns
    verdicts = [(WA,)] * (count - 1) + [(AC,) if solved_at else (WA,)]
    return EpisodeRecord(
        problem=problem,
        family=None,
        hidden_detail=None,
        turns=tuple(
            TurnRecord(response=f"r{i}", program=f"p{i}", public_verdicts=v, feedback=None)
            for i, v in enumerate(verdicts)
        ),
        stop=StopReason.PUBLIC_PASSED if solved_at else StopReason.TURN_LIMIT,
        solved=solved_at is not None,
        final_verdict=AC if solved_at else WA,
    )


def put(out: Path, part: Part, exam: str, solved_at: list[int | None], turns: int = 10) -> None:
    path = part.folder(out)
    words = [f"seed={part.seed}", "eval.random_feedback=false"]
    config = load_config(TrainConfig, "mini-study", words)
    run = RunFolder.open(path) if RunFolder(path).is_run() else RunFolder.create(path, "")
    run.write_config(dump_config(config))
    records = [episode(f"p{i}", at, turns) for i, at in enumerate(solved_at)]
    run.append_rollouts(f"exam-{exam}", [episode_to_json(record) for record in records])


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two seeds, four problems: untrained solves 1 of 4 by turn 3, RLEF 3 and 2 of 4."""
    for seed in (0, 1):
        put(tmp_path, Part(UNTRAINED, seed), "feedback", [1, None, None, None], 3)
        put(tmp_path, Part(UNTRAINED, seed), "random", [1, None, None, None], 3)
        put(tmp_path, Part(UNTRAINED, seed), "independent", [1, None, None, None], 1)
    put(tmp_path, Part(RLEF, 0), "feedback", [1, 2, 3, None], 3)
    put(tmp_path, Part(RLEF, 1), "feedback", [2, 3, None, None], 3)
    put(tmp_path, Part(RLEF, 0), "long", [2, 3, 7, None])
    for seed in (0, 1):
        put(tmp_path, Part(RLEF, seed), "random", [1, None, None, None], 3)
        put(tmp_path, Part(RLEF, seed), "private", [1, 2, 3, None], 3)
        run = RunFolder.open(Part(RLEF, seed).folder(tmp_path))
        for update in (4, 8):
            line = {"update": update, "solve_rate": 0.1 * update, "kl": 0.0, "entropy": 1.0}
            line |= {f"explained_variance/turn_{turn}": 0.5 for turn in (1, 2, 3)}
            line["explained_variance/turn_3"] = math.nan  # null in the file
            bins = [(0, math.nan, math.nan)] * 10
            bins[2], bins[7] = (30, -0.5, 0.2 + 0.2 * seed), (update, 0.5, 0.8)
            line["calibration"] = bins
            run.append_metrics(line)
    return tmp_path


ALL = [Part(arm, seed) for seed in (0, 1) for arm in (UNTRAINED, RLEF)]


def test_rates_are_means_over_seeds_cut_at_the_turn(study: Path) -> None:
    results = load_results(study, ALL)
    assert results.seeds("rlef") == [0, 1]
    rate = solve_rate(results, Side(arm="rlef"))
    assert rate is not None
    assert rate.by_seed == (0.75, 0.5) and rate.interval.estimate == 0.625
    assert rate.spread == pytest.approx(0.25 / math.sqrt(2))
    by_turn = [each.interval.estimate for each in rates_by_turn(results, "rlef")]
    assert by_turn == [0.125, 0.375, 0.625]
    by_turn = [each.interval.estimate for each in rates_by_turn(results, "rlef", "long")]
    assert by_turn == [0, 0.25, 0.5, 0.5, 0.5, 0.5, 0.75, 0.75, 0.75, 0.75]
    assert solve_rate(results, Side(arm="sft")) is None
    # Turns 2: 3 and 4 reached, 1 and 1 solved; turns 3: 2 and 3 reached, 1 and 1 solved.
    assert repair_rate(results, "rlef").estimate == pytest.approx(4 / 12)


def test_claims_compare_what_both_sides_have(study: Path) -> None:
    found = {each.claim.text: each for each in claim_results(load_results(study, ALL))}
    first = found["RLEF solves more than the untrained model"]
    assert (first.difference.a, first.difference.b) == (0.25, 0.625)
    assert first.by_seed == (0.5, 0.25)
    assert first.difference.problems == 4
    private = found["feedback from private tests at inference helps"]
    assert private.by_seed == (0.0, 0.25)
    assert not any("fine-tuning" in text for text in found)


@pytest.mark.parametrize(
    ("low", "high", "by_seed", "verdict"),
    [
        (0.1, 0.2, (0.1, 0.2), "holds"),
        (0.1, 0.2, (0.4, -0.1), "holds"),  # the interval knows of seeds
        (-0.2, -0.1, (-0.1, -0.2), "reversed"),
        (0.1, 0.2, (0.1,), "open"),  # of other seeds nothing is known
        (-0.2, -0.1, (-0.1,), "open"),
        (-0.2, -0.1, (-0.4, 0.0), "reversed"),
        (-1, 1, (0.1,), "open"),
    ],
)
def test_a_claim_holds_where_its_interval_is_above_0(
    low: float, high: float, by_seed: tuple[float, ...], verdict: str
) -> None:
    from dataclasses import replace

    from rlef.evaluation.compare import paired_difference
    from rlef.study import ClaimResult

    difference = replace(paired_difference("m", {"a": [0.0]}, {"a": [1.0]}), low=low, high=high)
    result = ClaimResult(claim=CLAIMS[0], difference=difference, by_seed=by_seed)
    assert result.verdict == verdict


def test_an_untrained_arm_stands_beside_every_seed(study: Path) -> None:
    (seed_0,) = (part for part in ALL if part.arm is UNTRAINED and part.seed == 0)
    trained = [part for part in ALL if part.arm is RLEF]
    results = load_results(study, [seed_0, *trained])
    found = {each.claim.text: each for each in claim_results(results)}
    first = found["RLEF solves more than the untrained model"]
    assert (first.difference.a, first.difference.b, first.by_seed) == (0.25, 0.625, (0.5, 0.25))
    assert not ARMS["few-shot"].is_fixed and UNTRAINED.is_fixed  # examples depend on the seed


def test_answers_of_the_untrained_model_by_hand(study: Path) -> None:
    """RLEF solves 5 of 8, untrained answers 1 of 4 however many there are: two, of two seeds."""
    found = untrained_answers(load_results(study, ALL), "rlef")
    assert found is not None
    assert (found.trained, found.independent, found.most) == (0.625, 0.25, 2)
    assert found.text().startswith("> 2 (")
    put(study, Part(UNTRAINED, 9), "independent", [None, 1, 1, None], 1)
    more = untrained_answers(load_results(study, [*ALL, Part(UNTRAINED, 9)]), "rlef")
    assert more is not None  # any of 1, 2, 3 answers: 1/4 + 2/4 of 1/3, 2/3, 1
    assert more.answers == pytest.approx(1 + (0.625 - 5 / 12) / (1 / 6))
    assert untrained_answers(load_results(study, [Part(RLEF, 0)]), "rlef") is None


def test_the_page_has_all_of_it(study: Path) -> None:
    results = load_results(study, ALL)
    page = write_study(results, study, title="Study <1>", notes=["a & b"])
    html, text = page.read_text(), (study / "study.md").read_text()
    assert "Study &lt;1&gt;" in html and "a &amp; b" in html
    assert html.count("data:image/png;base64,") == 4
    for words in ("RLEF solves more than the untrained model", "| RLEF | rlef | 2 | 12.5", "holds"):
        assert words in text
    data = json.loads((study / "study.json").read_text())
    assert data["arms"]["rlef"]["solve_rate_by_turn"][2]["estimate"] == 0.625
    assert data["arms"]["rlef"]["less_rlef"] is None
    assert data["arms"]["untrained"]["less_rlef"]["difference"] == pytest.approx(0.25 - 0.625)
    assert next(claim["verdict"] for claim in data["claims"]) in ("holds", "open")
    for name in ("by_turn", "budget", "curves", "calibration"):
        assert (study / "figures" / f"{name}.png").stat().st_size > 5000


def test_calibration_is_over_seeds_without_small_bins(study: Path) -> None:
    (point,) = calibration_points(load_results(study, ALL), "rlef")
    assert (point.turns, point.value) == (60, -0.5)  # the other bin has 8 turns of each seed
    assert point.solved == pytest.approx(0.3)


def test_tokens_are_those_sampled_with_a_seed(study: Path) -> None:
    for seed, answers in ((0, [2, 3]), (1, [4])):
        run = RunFolder.open(Part(RLEF, seed).folder(study))
        Ledger(run.training_path).add([(0, rollout(answers))])
    results = load_results(study, ALL)
    assert trained_tokens(results, "rlef") == 4.5
    assert math.isnan(trained_tokens(results, "untrained"))


def rollout(answers: list[int]) -> Rollout:
    """Of turns with two prompt tokens and so many of an answer each."""
    turn_ids = [turn for i, count in enumerate(answers) for turn in (-1, -1, *[i] * count)]
    ends = [sum(answers[:i]) + 2 * i + 1 for i in range(len(answers))]
    return Rollout(
        record=episode("p0", len(answers), len(answers)),
        token_ids=np.zeros(len(turn_ids), np.int32),
        sequence_starts=np.zeros(1, np.int32),
        turn_ids=np.array(turn_ids, np.int32),
        logprobs=np.zeros(len(turn_ids), np.float32),
        prompt_ends=np.array(ends, np.int32),
        rewards=np.zeros(len(answers), np.float32),
        policy_versions=np.zeros(len(answers), np.int64),
        seed=0,
    )


def test_an_arm_without_seeds_is_marked_where_rlef_has_one(study: Path) -> None:
    def untrained(parts: list[Part]) -> str:
        write_study(load_results(study, parts), study, title="", notes=[])
        text = (study / "study.md").read_text()
        return next(line for line in text.splitlines() if "| untrained |" in line and "±" in line)

    assert ")* |" in untrained(ALL[:2]) and ")* |" not in untrained(ALL)


def test_words_of_evaluations_are_those_of_exams() -> None:
    part = Part(RLEF, 0)
    twice = arm_config("mini-study", ["eval.also.temperature=1", "eval.also.top_p=1"], part)
    assert not has_second_setting(twice)  # it is the first
    several = arm_config("mini-study", ["eval.samples=5"], part)
    assert [samples_of(EXAMS[name], several) for name in ("feedback", "long", "independent")] == [
        *(5, 1, 20)
    ]
    with pytest.raises(
        ConfigError, match=r"eval\.turn_limit is 5, but a study's exams .* null or 3"
    ):
        arm_config("mini-study", ["eval.turn_limit=5"], part)


def test_the_gain_that_random_feedback_takes_by_hand(study: Path) -> None:
    # Of four problems a resample may hold none that later turns solve: no share, so no interval.
    few = lost_gain(load_results(study, ALL))
    assert few is not None and few.estimate == pytest.approx((0.625 - 0.25) / (0.625 - 0.125))
    assert math.isnan(few.low) and math.isnan(few.high)
    many = [1, 2, 3, None] * 25
    put(study, Part(RLEF, 7), "feedback", many, 3)
    put(study, Part(RLEF, 7), "random", [1, 2, None, None] * 25, 3)
    found = lost_gain(load_results(study, [Part(RLEF, 7)]))
    assert found is not None
    assert found.estimate == 0.5
    assert 0.3 < found.low < 0.5 < found.high < 0.7


def test_errors_by_turn_are_shares_of_all_episodes(study: Path) -> None:
    shares = error_shares(load_results(study, ALL), "rlef")
    assert shares == {"WA": [7 / 8, 5 / 8, 3 / 8]}


def test_a_half_taken_exam_is_not_finished(study: Path) -> None:
    words = ["eval.problems=4", "seed=0"]
    for part in ALL:
        config = load_config(TrainConfig, "mini-study", words)
        RunFolder.open(part.folder(study)).write_config(dump_config(config))
    first = Part(UNTRAINED, 0, True)
    put(study, first, "long", [None] * 4)
    RunFolder.open(first.folder(study)).write_config(dump_config(config))
    assert finished(study, [first, Part(RLEF, 9)]) == []  # 4 of 80 independent answers
    assert finished(study, [Part(RLEF, 0)]) == [Part(RLEF, 0)]
    put(study, first, "independent", [None] * 76, 1)
    RunFolder.open(first.folder(study)).write_config(dump_config(config))
    assert finished(study, [first]) == [first]
    also = load_config(TrainConfig, "mini-study", [*words, "eval.also.temperature=0.2"])
    RunFolder.open(Part(RLEF, 0).folder(study)).write_config(dump_config(also))
    assert finished(study, [Part(RLEF, 0)]) == []  # nothing at the second setting


def test_a_page_needs_the_words_of_its_runs(study: Path) -> None:
    check_words("mini-study", [], ALL, study)
    with pytest.raises(RunError, match="seed-0 was begun with other values of updates"):
        check_words("mini-study", ["updates=8"], ALL, study)


def test_where_a_study_works_may_change(study: Path) -> None:
    check_words("mini-study", ["judge.url=http://127.0.0.1:1"], ALL, study)
    for word in ("cluster.address=local", "trackers=[mlflow]"):
        with pytest.raises(ConfigError, match=f"{word.partition('=')[0]} is .* but a study"):
            check_words("mini-study", [word], ALL, study)


def test_a_study_may_be_moved(tmp_path: Path) -> None:
    part = Part(ARMS["repair"], 0)
    config = arm_config("mini-study", [], part)
    RunFolder.create(part.folder(tmp_path / "new"), dump_config(config))
    check_words("mini-study", [], [part], tmp_path / "new")
    with pytest.raises(RunError, match="begun with other values of updates; "):
        check_words("mini-study", ["updates=8"], [part], tmp_path / "new")


def test_a_repair_model_follows_the_policy_that_is_examined(tmp_path: Path) -> None:
    valid = ["eval.every=16", "data.valid=mini:valid"]
    for words, name in (([], "update-000064"), (valid, "best"), (["updates=8"], "update-000008")):
        found = first_policy("mini-study", words, Part(ARMS["repair"], 1), tmp_path)
        assert found == str(tmp_path / "single-turn" / "seed-1" / "checkpoints" / name)
        assert first_policy("mini-study", words, Part(RLEF, 1), tmp_path) is None
    late = load_config(TrainConfig, "mini-study", ["eval.every=128", "data.valid=mini:valid"])
    assert policy_path(late, RunFolder(tmp_path)).name == "best"  # the last one is evaluated


def test_a_study_of_one_untrained_arm_has_a_page(tmp_path: Path) -> None:
    put(tmp_path, Part(UNTRAINED, 0), "feedback", [None, None], 3)
    results = load_results(tmp_path, [Part(UNTRAINED, 0), Part(RLEF, 0)])
    assert claim_results(results) == []
    assert "untrained" in write_study(results, tmp_path, title="t", notes=[]).read_text()


@pytest.mark.parametrize("arm", ARMS.values(), ids=lambda arm: arm.name)
def test_every_arm_is_a_valid_recipe(arm: Arm) -> None:
    config = arm_config("mini-study", [], Part(arm, 3))
    assert config.seed == 3 and not config.eval.random_feedback
    base = load_config(TrainConfig, "mini-study", [])
    assert config.updates == base.updates * arm.rollouts


def test_claims_name_arms_and_exams_that_there_are() -> None:
    for claim in CLAIMS:
        for side in (claim.lower, claim.higher):
            assert side.exam in ARMS[side.arm].exams
            assert side.turns <= EXAMS[side.exam].turn_limit


@pytest.mark.parametrize("arm", ARMS.values(), ids=lambda arm: arm.name)
def test_a_recipe_may_set_what_only_critics_have(arm: Arm) -> None:
    words = ["learner.lam=0.95", "learner.critic_warmup_updates=4"]
    config = arm_config("mini-study", words, Part(arm, 0))
    assert config.learner.lam == (0.95 if config.learner.has_critic else 1)


@pytest.mark.parametrize("words", [["rollout.max_staleness=1"], ["learner.teacher={}"]])
def test_a_recipe_may_set_what_not_all_arms_can(words: list[str]) -> None:
    for arm in ARMS.values():
        arm_config("mini-study", words, Part(arm, 0))


def test_exams_that_no_claim_needs_are_taken_once(tmp_path: Path) -> None:
    names = [exam.name for exam in Part(RLEF, 0, True).exams()]
    assert names == ["feedback", "random", "private", "long"]
    assert [exam.name for exam in Part(RLEF, 1).exams(also=True)][-1] == "also"
    assert [exam.name for exam in Part(RLEF, 1).exams()] == ["feedback", "random", "private"]
    assert [exam.name for exam in Part(ARMS["grpo"], 0, True).exams()] == ["feedback"]
    put(tmp_path, Part(ARMS["grpo"], 0), "feedback", [1, 3, None, None], 3)
    put(tmp_path, Part(RLEF, 0), "feedback", [1, 3, None, None], 3)
    put(tmp_path, Part(RLEF, 0), "long", [1, 3, 5, None])
    for arm in (ARMS["grpo"], RLEF):
        line = {"update": 4, "solve_rate": 0.1, "kl": 0.0, "entropy": 1.0}
        RunFolder.open(Part(arm, 0).folder(tmp_path)).append_metrics(line)
    results = load_results(tmp_path, [Part(ARMS["grpo"], 0), Part(RLEF, 0)])
    rates = [rate.interval.estimate for rate in rates_by_turn(results, "grpo")]
    assert rates == [0.25, 0.25, 0.5]
    write_study(results, tmp_path, title="t", notes=[])
    text = (tmp_path / "study.md").read_text()
    assert re.search(r"\| GRPO, 4 per problem (\| [0-9.]+ ±[0-9.]+ ){3}\| - \| - \|", text)
    assert re.search(r"\| RLEF (\| [0-9.]+ ±[0-9.]+ ){3}\| 75.0 ±[0-9.]+ \| 75.0 ±", text)
    assert re.search(r"\| \+0.0 \(\+0.0 to \+0.0\)\* \| - \|", text)  # one seed


def test_claims_are_looked_at_at_both_settings(study: Path) -> None:
    assert claim_results(load_results(study, ALL), also=True) == []
    for part in ALL:
        put(study, part, "also", [1, None, None, None], 3)
        words = [f"seed={part.seed}", "eval.also.temperature=0.2", "eval.also.top_p=0.95"]
        config = load_config(TrainConfig, "mini-study", words)
        RunFolder.open(part.folder(study)).write_config(dump_config(config))
    results = load_results(study, ALL)
    assert results.settings == ("temperature 1", "temperature 0.2, top-p 0.95")
    (found,) = claim_results(results, also=True)  # the others are about other exams
    assert (found.difference.a, found.difference.b) == (0.25, 0.25)
    write_study(results, study, title="t", notes=[])
    text = (study / "study.md").read_text()
    assert "That was at temperature 1. At temperature 0.2, top-p 0.95:" in text
    assert "| 1@3, temperature 0.2, top-p 0.95 |" in text
    assert len(json.loads((study / "study.json").read_text())["claims_at_second_setting"]) == 1


def test_arms_are_chosen_by_name_or_budget() -> None:
    assert [arm.name for arm in chosen_arms("rlef, untrained", full=False)] == ["untrained", "rlef"]
    assert len(chosen_arms(None, full=True)) == len(ARMS) > len(chosen_arms(None, full=False)) > 3
    with pytest.raises(ValueError, match="no arm 'nonsense'; allowed: untrained, few-shot"):
        chosen_arms("rlef,nonsense", full=False)
    two = parts([UNTRAINED, RLEF, ARMS["grpo"]], 5, 2, 1)
    assert [(part.arm.name, part.seed, part.is_first) for part in two] == [
        ("untrained", 5, True),
        ("rlef", 5, True),
        ("grpo", 5, True),
        ("rlef", 6, False),
    ]
    assert len(parts([UNTRAINED, RLEF, ARMS["grpo"]], 5, 2)) == 5
    assert len(parts(chosen_arms(None, full=True), 0, 3, 1)) == 40
    assert len(parts([UNTRAINED], 0, 3)) == 1
