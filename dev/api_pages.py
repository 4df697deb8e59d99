"""Writes docs/api/*.md: a page per layer that names its public names, for mkdocstrings to fill in.

usage: python dev/api_pages.py
"""

import importlib
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "docs" / "api"
PAGES = {
    "problems": "Problems and their loaders. How to: [data sets](../data.md), "
    "[your own problems](../own-problems.md).",
    "sandbox": "The judge. How it works, verdicts, checkers, threat model: "
    "[the sandbox](../sandbox.md).",
    "environment": "The episode: messages, programs in answers, feedback, rewards.",
    "engines": "What samples answers. Which, when: [engines](../engines.md).",
    "rollout": "Episodes with an engine and a judge; the batch that a learner takes.",
    "algorithms": "The formulas as functions on tensors. In context: [algorithm](../algorithm.md).",
    "learner": "Policy, critic and reference, and the update that trains them.",
    "evaluation": "n@k, pass@k, rates by turn, intervals, comparisons. In context: "
    "[evaluation](../evaluation.md).",
    "train": "The loop, its recipe and its seams. In context: [architecture](../architecture.md).",
    "serve": "The judge over HTTP, for clients. In context: [the judge as a service](../serve.md).",
    "curation": "Checks of problem sets. In context: [checking data](../data-check.md).",
    "report": "Tables, figure and [page](../viewer.md#a-page-to-mail) of a run.",
    "run": "The run folder, and recipes as checked configs.",
}
ALSO = {
    "problems": ["rlef.problems.jsonl.write_jsonl"],
    "engines": [f"rlef.engines.load.{name}" for name in ("load_model", "load_tokenizer")]
    + ["rlef.engines.load.load_chat", "rlef.engines.load.resolve_device"],
    "learner": [
        "rlef.learner.service.Learner",
        "rlef.learner.update.LocalLearner",
        "rlef.learner.config.LearnerConfig",
        "rlef.learner.advantages.rewards_less_penalty",
        "rlef.learner.advantages.ADVANTAGES",
        "rlef.learner.advantages.Scored",
        "rlef.learner.objective.policy_loss",
        "rlef.learner.objective.value_loss",
        "rlef.learner.models.Policy",
        "rlef.learner.models.Critic",
        "rlef.learner.models.build_models",
        "rlef.learner.logprobs.token_logprobs",
    ],
    "train": [
        "rlef.train.loop.train",
        "rlef.train.loop.learn",
        "rlef.train.loop.Trainer",
        "rlef.train.place.Variant",
        "rlef.train.recipe.TrainConfig",
        "rlef.train.settings.setting_rows",
    ],
    "report": ["rlef.view.page.write_report", "rlef.view.snapshot.Bounds"],
    "run": [
        "rlef.run.training.read_training_rollouts",
        "rlef.config.load_config",
        "rlef.config.ConfigError",
    ],
}


def pages() -> dict[str, str]:
    """Each page's text by its file name."""
    texts = {"index.md": _index()}
    for name, intro in PAGES.items():
        package = f"rlef.{name}"
        public = getattr(importlib.import_module(package), "__all__", [])
        names = [f"{package}.{one}" for one in public] + ALSO.get(name, [])
        lines = [f"# {package}", "", intro, ""]
        lines += [line for one in names for line in (f"::: {one}", "")]
        texts[f"{name}.md"] = "\n".join(lines)
    return texts


def _index() -> str:
    rows = [f"| [rlef.{name}]({name}.md) | {intro} |" for name, intro in PAGES.items()]
    return "\n".join(
        [
            "# API reference",
            "",
            "The public names of each layer, from their docstrings; each layer works alone.",
            "These pages are filled in by `mkdocs build`; in the repository they hold names only.",
            "",
            "| layer | |",
            "|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
