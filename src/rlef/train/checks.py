"""What is wrong with a recipe's words, said before torch, problems or models are loaded."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlef import extras
from rlef.config import ConfigError, flat_values, value_text
from rlef.config.types import COMMAND_LINE
from rlef.distributed.reach import check_cluster
from rlef.engines.names import (
    VLLM_HINT,
    check_chat,
    check_device,
    check_known_context,
    check_model,
    read_template,
)
from rlef.environment import Prompts
from rlef.problems import load_problems
from rlef.problems.load import DATA_SETS, check_words

if TYPE_CHECKING:
    from rlef.problems import Problem
    from rlef.train.recipe import TrainConfig

_HUB = re.compile(r"hub|[A-Za-z0-9][\w.-]*/[\w-]+")
_SMALL_BYTES = 4_000_000
"""Of problems that are read to see whether they can be: less than a second."""


def check_training(
    config: "TrainConfig", places: Mapping[str, str] | None = None, *, ask_hub: bool = True
) -> None:
    """Looks at names of devices, prompts, models and problems, and at problems in small files.

    Args:
        config: The recipe.
        places: Where each key stands, for the error; what stands on the command line has to have an
            effect.
        ask_hub: Whether to look for models on the Hub, problems and a cluster; a dry run does not.

    Raises:
        ConfigError: One line: where, what, and what is allowed.
    """
    rollout, data = config.rollout, config.data
    _refuse_idle(config, places or {})
    if ask_hub:
        check_cluster(config.cluster)
    checks: list[tuple[str, Callable[[str], object], str | None]] = [
        ("device", check_device, config.device),
        ("rollout.prompts", Prompts.load, rollout.prompts),
        ("data.train", check_spec, data.train),
        ("data.valid", check_spec, data.valid),
        ("data.test", check_spec, data.test),
        ("model.chat_template", read_template, config.model.chat_template),
        ("model.name", partial(check_model, ask_hub=ask_hub), config.model.name),
    ]
    here = config.cluster.address is None  # engines of a cluster are on other machines
    if rollout.engine == "vllm" and here and extras.missing("vllm"):
        raise ConfigError(
            f"{_place('rollout.engine', places)} is vllm, which is not installed; {VLLM_HINT}"
        )
    for name in config.trackers:
        if not extras.missing(name):
            continue
        raise ConfigError(
            f"{_place('trackers', places)} holds {name}, which is not installed; allowed: "
            f"{extras.how_to_install(name)} first, or a recipe without it"
        )
    found: dict[str, Any] = {}
    for key, check, value in checks:
        if value is None or (key.startswith("data.") and not ask_hub):
            continue
        try:
            found[key] = check(value)
        except ValueError as error:
            what = str(error).removeprefix(f"{key} ")
            raise ConfigError(
                f"{_place(key, places)}{' ' if what != str(error) else ': '}{what}"
            ) from None
    check_chat(config.model.name, config.model)
    if config.learner.teacher is not None and not found["rollout.prompts"].tell_outputs:
        raise ConfigError(
            f"{_place('rollout.prompts', places)} is {rollout.prompts}, whose section "
            "'wrong_answer' does not show both {input} and {expected}, so there is nothing to "
            "teach (learner.teacher); allowed: prompts that do, or learner.teacher=null"
        )
    test = found.get("data.test")
    kind = config.eval.feedback or config.feedback.kind
    is_random = config.has_control or kind == "random"
    if isinstance(test, list) and is_random and len({problem.name for problem in test}) < 2:
        raise ConfigError(
            f"{_place('data.test', places)} has one problem, too few for random feedback; "
            "allowed: two or more, or eval.random_feedback=false"
        )
    if rollout.max_new_tokens >= rollout.max_context:
        raise ConfigError(
            f"{_place('rollout.max_new_tokens', places)} is {rollout.max_new_tokens}; allowed: "
            f"below rollout.max_context, {rollout.max_context}, where the prompts go too"
        )
    setting = _place("rollout.max_context", places)
    check_known_context(config.model.name, rollout.max_context, setting)


def _refuse_idle(config: "TrainConfig", places: Mapping[str, str]) -> None:
    """Raises ConfigError for a word without effect, unless it says the default.

    What a recipe holds a word may make idle.
    """
    defaults = flat_values(type(config)())
    for key, value in flat_values(config).items():
        if places.get(key) != COMMAND_LINE or value == defaults.get(key):
            continue
        for idle, why, *neutral in _idle(config):
            if f"{key}.".startswith(f"{idle}.") and value not in neutral:
                raise ConfigError(
                    f"{COMMAND_LINE}: {key} is {value_text(value)}, but {why}, so it has no "
                    "effect; allowed: to leave it out"
                )


def _idle(config: "TrainConfig") -> Iterator[tuple[object, ...]]:
    """Settings and sections without effect: each key, why, and values that say just that.

    Defaults are not among these.
    """
    learner, rollout, cluster = config.learner, config.rollout, config.cluster
    if not learner.has_critic:
        why = f"learner.advantage {learner.advantage} has no critic"
        yield "learner.critic_lr", why
        yield "learner.critic_bias", why
        yield "learner.value_clip", why, None
    if learner.compares_groups:
        why = f"learner.advantage {learner.advantage} whitens nothing"
        yield "learner.normalize", why, "none"
    if learner.kl == "none":
        yield "learner.beta", "learner.kl is none", 0
    if learner.importance != "decoupled":
        yield "learner.importance_cap", f"learner.importance is {learner.importance}"
    yield (
        "rollout.vllm" if rollout.engine == "hf" else "rollout.hf",
        f"rollout.engine is {rollout.engine}",
    )
    if config.judge.url is not None:
        yield "rollout.judge_workers", "judge.url is set"
    if cluster.address is None:
        for name in type(cluster).model_fields.keys() - {"address"}:
            yield f"cluster.{name}", "cluster.address is null"


def _place(key: str, places: Mapping[str, str] | None) -> str:
    where = (places or {}).get(key)
    return key if where in (None, "default") else f"{where}: {key}"


def check_spec(spec: str) -> "list[Problem] | None":
    """Reads problems that lie in small files; of others, looks at the specification only.

    Returns:
        The problems, if they were read.

    Raises:
        ProblemError: They cannot be used; one line says where and why.
    """
    scheme, _, rest = spec.partition(":")
    place = rest.partition("?")[0]
    if scheme == "mini":
        check_words(spec)
        return None
    paths = [Path(name) for name in (rest, place, place.rpartition(":")[0]) if name]
    there = next((path for path in paths if path.exists()), None)
    on_hub = there is None and _HUB.fullmatch(place.partition(":")[0]) is not None
    if scheme in DATA_SETS and (on_hub or (there is not None and _size(there) > _SMALL_BYTES)):
        check_words(spec)
        return None
    log = logging.getLogger("rlef.problems")
    level = log.level
    log.setLevel(logging.ERROR)  # what is left out is said when they are loaded for use
    try:
        return list(load_problems(spec))
    finally:
        log.setLevel(level)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())
