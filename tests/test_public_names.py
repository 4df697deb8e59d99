"""Freezes what the public packages export: a change here is a change for users."""

import importlib
import pkgutil

import pytest

import rlef

PUBLIC = {
    "rlef.algorithms": [
        "Advantages",
        "CalibrationBin",
        "KLEstimator",
        "PolicyLoss",
        "approx_kl",
        "calibration",
        "episode_returns",
        "explained_variance",
        "grpo_advantages",
        "kl_estimates",
        "masked_mean",
        "normalize_advantages",
        "ppo_policy_loss",
        "reinforce_pp_advantages",
        "rewards_to_tokens",
        "rloo_advantages",
        "sft_loss",
        "token_entropy",
        "token_level_gae",
        "turn_counts",
        "turn_importance_weights",
        "turn_kl_penalty",
        "turn_level_advantages",
        "turn_policy_loss",
        "turn_sums",
        "turn_value_loss",
        "turns_to_tokens",
    ],
    "rlef.curation": [
        "Change",
        "Finding",
        "Kind",
        "ProblemCheck",
        "ProgramRun",
        "Repair",
        "Repaired",
        "Severity",
        "check_problems",
        "find_duplicates",
        "without_duplicates",
    ],
    "rlef.engines": [
        "ChatCompletion",
        "Completion",
        "Engine",
        "EngineError",
        "FinishReason",
        "HFEngine",
        "Message",
        "ModelError",
        "OpenAIEngine",
        "SamplingParams",
        "StreamingEngine",
        "VLLMEngine",
        "open_engine",
    ],
    "rlef.environment": [
        "ChatFormat",
        "Conversation",
        "Episode",
        "EpisodeRecord",
        "Exchange",
        "FeedbackKind",
        "FeedbackOptions",
        "FeedbackOverride",
        "MessageConversation",
        "Prompts",
        "RandomFeedbackPool",
        "RewardConfig",
        "StopReason",
        "TemplateError",
        "Tokenizer",
        "TurnRecord",
        "extract_program",
        "final_job",
        "join_reports",
        "limits_of",
        "private_job",
        "public_job",
        "repair_dialogues",
        "reveal_private_tests",
        "stop_token_ids",
        "turn_rewards",
        "write_feedback",
    ],
    "rlef.evaluation": [
        "Behaviour",
        "ComparedRun",
        "Comparison",
        "CostPoint",
        "Difference",
        "Fixed",
        "HiddenDetailSplit",
        "Interval",
        "Measured",
        "MetricSpec",
        "Statistics",
        "bootstrap_interval",
        "compare_runs",
        "comparison_markdown",
        "cost_curve",
        "episode_behaviour",
        "episode_statistics",
        "known_units",
        "largest_budget",
        "measure",
        "n_at_k",
        "paired_difference_interval",
        "parse_metrics",
        "pass_at_k",
        "samples_jsonl",
        "solved_by_problem",
        "split_by_hidden_detail",
        "summary_markdown",
    ],
    "rlef.problems": ["Mode", "Problem", "ProblemError", "PublicProblem", "Test", "load_problems"],
    "rlef.report": [
        "comparison_table",
        "evaluation_screen",
        "evaluation_table",
        "learning_figure",
        "metrics_table",
        "seeds_markdown",
        "seeds_table",
        "summary_markdown",
        "summary_table",
        "write_report",
    ],
    "rlef.rollout": [
        "EpisodeRequest",
        "Rollout",
        "RolloutBatch",
        "RolloutTiming",
        "RolloutWorker",
        "derive_seed",
    ],
    "rlef.sandbox": [
        "Isolation",
        "JudgeJob",
        "JudgeReport",
        "Limits",
        "Sandbox",
        "SandboxError",
        "TestReport",
        "Verdict",
        "usable_cores",
    ],
}
PACKAGES = [f"rlef.{module.name}" for module in pkgutil.iter_modules(rlef.__path__) if module.ispkg]


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_frozen(package: str) -> None:
    assert importlib.import_module(package).__all__ == PUBLIC[package]


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_sorted_and_importable(package: str) -> None:
    module = importlib.import_module(package)
    names = getattr(module, "__all__", [])
    assert names == sorted(set(names))
    for name in names:
        assert getattr(module, name) is not None
