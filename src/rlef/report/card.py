"""The card of an exported policy: a README with the Hub's metadata, made of a run's files."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rlef import __version__
from rlef.problems.load import DATA_SETS
from rlef.problems.options import Options
from rlef.report.tables import COLUMNS, Summary, setting_name, stage_rows
from rlef.text import markdown_table

SETTINGS = "rlef/recipe.yaml"
"""In an exported folder: the run's config, by a name that makes no run of the folder it is in."""
_PAPER = "https://arxiv.org/abs/2410.02089"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FOLDERS = re.compile(r"(?<=:)/(?:[^:?]*/)?")
"""The way to a file on the disk of who trained, which says nothing to others."""
_SETTINGS = (
    *("updates", "seed", "rollout.batch", "rollout.per_problem", "rollout.turn_limit"),
    *("rollout.temperature", "rollout.max_new_tokens", "rollout.max_context", "rollout.prompts"),
    *("rollout.max_staleness", "feedback.kind", "learner.advantage", "learner.kl", "learner.lr"),
    *("learner.critic_lr", "learner.minibatch", "learner.beta", "learner.clip", "learner.lora"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was measured of an exported policy.

    Attributes:
        title: Which problems, and when.
        data: Their specification.
        turn_limit: Most answers in an episode.
        sampling: How answers were sampled.
        stages: Heading to what was measured (``stage_summary``); the last one is of the policy.
    """

    title: str
    data: str
    turn_limit: int
    sampling: str
    stages: Mapping[str, Summary]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What a card is made of.

    Attributes:
        name: Of the model.
        config: The run's.
        update: Updates that the policy has behind it, if that is known.
        parameters: Of the policy; of its adapters, where it is those.
        dtype: Of the weights.
        is_adapter: Whether adapters alone are there.
        is_finished: Whether the run had come to its end.
        results: What was measured; may be empty.
        inputs: Of ``inputs.jsonl``.
        wall_s: Seconds that training took, if that is known.
    """

    name: str
    config: Mapping[str, Any]
    update: int | None
    parameters: int
    dtype: str
    is_adapter: bool
    is_finished: bool
    results: Sequence[Result]
    inputs: Sequence[Mapping[str, Any]] = ()
    wall_s: float | None = None


def results_of(config: Mapping[str, Any], summary: Summary) -> list[Result]:
    """The results on the test problems in a run's summary, at each setting of evaluation."""
    found = []
    for one in (summary, summary.get("also")):
        if one is None:
            continue
        names = {"before": "before training", "after": "this model"}
        names["random_feedback"] = "this model, random feedback"
        stages = {
            names[key]: one[key] for key in ("before", "random_feedback", "after") if one.get(key)
        }
        assert set(names) == set(COLUMNS)
        problems, samples = summary["test_problems"], summary["samples_per_problem"]
        episodes = "one episode" if samples == 1 else f"{samples} episodes"
        found.append(
            Result(
                title=f"{problems} test problems, {episodes} each",
                data=str(setting(config, "data.test")),
                turn_limit=int(summary["turn_limit"]),
                sampling=setting_name(one) if "temperature" in one else "",
                stages=stages,
            )
        )
    return found


def model_card(facts: CardFacts) -> str:
    """The text of ``README.md``: metadata that the Hub reads, then what people read."""
    data = yaml.safe_dump(_metadata(facts), sort_keys=False, allow_unicode=True, width=10**6)
    parts = [_introduction(facts), *_results(facts), _training(facts), _data(facts)]
    parts += [_reproduction(facts), _use(facts)]
    return f"---\n{data}---\n\n# {facts.name}\n\n" + "\n\n".join(parts) + "\n"


def setting(config: Mapping[str, Any], key: str) -> Any:
    """A value of a config by its key with dots; ``None`` where there is none."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def public_spec(spec: object) -> str:
    """A specification of problems without the folders of this machine."""
    return _FOLDERS.sub("", str(spec))


def _metadata(facts: CardFacts) -> dict[str, Any]:
    base = str(setting(facts.config, "model.name"))
    found: dict[str, Any] = {
        "library_name": "peft" if facts.is_adapter else "transformers",
        "pipeline_tag": "text-generation",
    }
    if _HUB_ID.fullmatch(base) and not Path(base).exists():
        relation = "adapter" if facts.is_adapter else "finetune"
        found |= {"base_model": base, "base_model_relation": relation}
    specs = [setting(facts.config, f"data.{part}") for part in ("train", "valid")]
    sets = list(dict.fromkeys(name for spec in specs if spec for name in _hub_names(str(spec))))
    found |= {"datasets": sets} if sets else {}
    found["tags"] = ["rlef", "code", "reinforcement-learning", "execution-feedback"]
    results = [entry for result in facts.results for entry in _index_entries(result)]
    if results:
        found["model-index"] = [{"name": facts.name, "results": results}]
    return found


def _index_entries(result: Result) -> list[dict[str, Any]]:
    """An entry of ``model-index``: rates in percent, of this model only."""
    stage = list(result.stages.values())[-1]
    name, metrics = f"1@{result.turn_limit}", []
    rates = [("solve", name, f"{name}, with execution feedback", stage.get("solve"))]
    rates += [
        ("turn", f"solved-by-turn-{turn}", f"solved by turn {turn}", rate)
        for turn, rate in enumerate(stage.get("solve_rate_by_turn") or (), start=1)
    ]
    for _, kind, title, rate in rates:
        if rate is None or rate.get("mean") is None:
            continue
        low, high = rate.get("low"), rate.get("high")
        span = "" if low is None or high is None else f", 95 % {100 * low:.1f} to {100 * high:.1f}"
        metrics.append(
            {
                "type": kind,
                "name": f"{title} (%{span})",
                "value": round(100 * float(rate["mean"]), 2),
                "verified": False,
            }
        )
    if not metrics:
        return []
    spec = public_spec(result.data)
    return [
        {
            "task": {"type": "text-generation", "name": "code generation, turn by turn"},
            "dataset": {
                "type": next(iter(_hub_names(result.data)), spec.partition(":")[0]),
                "name": f"{spec} ({result.sampling})" if result.sampling else spec,
            },
            "metrics": metrics,
        }
    ]


def _hub_names(spec: str) -> list[str]:
    """The data set of the Hub that problems are from, wherever they were read."""
    scheme = spec.partition(":")[0]
    hub = DATA_SETS[scheme].hub if scheme in DATA_SETS else None
    return [] if hub is None else [hub(Options(spec)).name]


def _introduction(facts: CardFacts) -> str:
    base = public_spec(setting(facts.config, "model.name"))
    base = base if _HUB_ID.fullmatch(base) else Path(base).name
    what = "Adapters of" if facts.is_adapter else "A model made from"
    turns = setting(facts.config, "rollout.turn_limit")
    at = "" if facts.update is None else f" It has {facts.update} updates behind it"
    at += "" if facts.is_finished or not at else ", in a run that had not come to its end"
    return (
        f"{what} `{base}`, trained by reinforcement learning from execution feedback "
        f"([RLEF]({_PAPER})): it writes a program, public tests run it, what failed comes back as "
        f"the next message, and it tries again, up to {turns} turns. Private tests decided the "
        f"reward.{at}{'.' if at else ''} {facts.parameters:,} parameters, {facts.dtype}."
    )


def _results(facts: CardFacts) -> list[str]:
    if not facts.results:
        return ["## Results\n\nThis policy was not evaluated."]
    parts = ["## Results"]
    for result in facts.results:
        rows = stage_rows(list(result.stages.values()), result.turn_limit)
        at = f", {result.sampling}" if result.sampling else ""
        parts.append(f"`{public_spec(result.data)}`: {result.title}{at}.")
        parts.append(markdown_table(["%", *result.stages], [row.line for row in rows]))
    return [
        *parts,
        "± is half a 95 % bootstrap interval over problems. "
        "1@n: the last of up to n answers passes all tests, public and private.",
    ]


def _training(facts: CardFacts) -> str:
    rows = [(key, setting(facts.config, key)) for key in _SETTINGS]
    lines = [f"| `{key}` | {_text(value)} |" for key, value in rows if value is not None]
    took = (
        ""
        if facts.wall_s is None
        else f"\n\nTraining and evaluation took {facts.wall_s / 3600:.1f} h."
    )
    return (
        "## Training\n\n| setting | |\n|---|---|\n"
        + "\n".join(lines)
        + f"\n\nAll settings: `{SETTINGS}`.{took}"
    )


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    text = str(value)
    return (Path(text).name if text.startswith("/") else text).replace("|", "\\|")


def _data(facts: CardFacts) -> str:
    lines = []
    for part, use in (("train", "training"), ("valid", "choosing"), ("test", "the results")):
        spec = setting(facts.config, f"data.{part}")
        if spec is not None:
            lines.append(f"- {use}: `{public_spec(spec)}`")
    for one in facts.inputs:
        name = Path(str(one.get("path"))).name
        lines.append(f"- `{name}` ({one.get('setting')}): SHA-256 `{one.get('sha256')}`")
    return "## Data\n\n" + "\n".join(lines)


def _reproduction(facts: CardFacts) -> str:
    return (
        "## How to reproduce\n\n```bash\n"
        f"pip install rlef=={__version__}\n"
        f"rlef train {SETTINGS} --out runs/again\n```\n\n"
        "Paths in that file are those of the machine that trained. The same seed gives the same "
        "run on one kind of CPU only."
    )


def _use(facts: CardFacts) -> str:
    prompts = setting(facts.config, "rollout.prompts") or "default"
    prompts = prompts if not str(prompts).endswith(".txt") else "PROMPTS.txt"
    turns = setting(facts.config, "rollout.turn_limit") or 3
    tokens = setting(facts.config, "rollout.max_new_tokens")
    spec = shlex.quote(public_spec(setting(facts.config, "data.test")))
    length = "" if tokens is None else f" --max-new-tokens {tokens}"
    return (
        "## How to use\n\n```bash\n"
        f"rlef eval FOLDER --data {spec} --prompts {prompts} --turns {turns}{length}\n```\n\n"
        "It was trained on these prompts; with others it may do worse. Run its programs in a "
        "sandbox. Its licence follows from those of the base model and the data."
    )
