"""What a run came to: the contents of ``summary.json``."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlef.environment import EpisodeRecord
from rlef.evaluation import paired_difference_interval, solved_by_problem
from rlef.evaluation.stage import stage_summary
from rlef.train.recipe import SamplingSection, TrainConfig


def summarize(
    config: TrainConfig,
    parameters: int,
    metrics: Sequence[Mapping[str, Any]],
    evaluations: Mapping[str, Sequence[Sequence[EpisodeRecord]]],
    evaluation_s: float,
) -> dict[str, object]:
    """Returns the summary of a finished run as JSON values.

    Args:
        config: The recipe.
        parameters: Of the policy.
        metrics: The lines of ``metrics.jsonl``.
        evaluations: "before", "after" and, where it was asked for, "random_feedback": the
            episodes at each of the recipe's ``eval.samplings``.
        evaluation_s: Seconds spent on them.
    """
    turns = config.eval_turn_limit
    main, *also = (
        _at_one_setting({name: found[i] for name, found in evaluations.items()}, turns, sampling)
        for i, sampling in enumerate(config.eval.samplings)
    )
    generate, waiting, rollout, update = (
        sum(float(line[key]) for line in metrics)
        for key in ("generate_s", "judge_wait_s", "rollout_s", "update_s")
    )
    rollouts_s = {
        "sampling": generate,
        "waiting for the judge": waiting,
        "rest of rollouts": rollout - generate - waiting,
    }
    if config.rollout.max_staleness:  # sampling goes on beside the updates
        rollouts_s = {"waiting for rollouts": rollout}
    return {
        "recipe": config.name,
        "seed": config.seed,
        "updates": config.updates,
        "wall_s": rollout + update + evaluation_s,
        "parameters": parameters,
        "turn_limit": turns,
        "test_problems": len({record.problem for record in evaluations["before"][0]}),
        "samples_per_problem": config.eval.samples,
        **main,
        **({"also": also[0]} if also else {}),
        "timing_s": {**rollouts_s, "updates": update, "evaluation": evaluation_s},
        "idle": {
            "sampler": max(0.0, 1 - generate / (rollout + update)),
            "learner": rollout / (rollout + update),
        },
        "rollouts": len(metrics) * config.rollout.batch,
        "masked_infra": sum(int(line["masked_infra"]) for line in metrics),
        "masked_no_room": sum(int(line["masked_no_room"]) for line in metrics),
        "batches": len(metrics),
        "idle_batches": sum(not line["policy_moved"] for line in metrics),
    }


def _at_one_setting(
    evaluations: Mapping[str, Sequence[EpisodeRecord]], turns: int, sampling: SamplingSection
) -> dict[str, object]:
    before, after = evaluations["before"], evaluations["after"]
    gain = paired_difference_interval(solved_by_problem(before), solved_by_problem(after))
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        **{name: stage_summary(records, turns) for name, records in evaluations.items()},
        "gain": {"mean": gain.estimate, "low": gain.low, "high": gain.high},
    }
