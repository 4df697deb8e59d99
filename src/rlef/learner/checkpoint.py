"""A learner's state on disk: the policy as a Hugging Face folder, the rest in a folder in it.

vLLM and others read every ``*.safetensors`` of a model's folder, so nothing else may stand there.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlef.learner.config import SaveDtype
from rlef.learner.lora import adapter_state, load_adapter_state, merged
from rlef.learner.models import Critic
from rlef.learner.ppo import PPOLearner

STATE_FOLDER = "learner"
"""In a checkpoint: all that a run goes on from beside the model."""
_ADAPTERS, _EXACT = "policy-lora.safetensors", "policy-float32.safetensors"
_CRITIC, _STATE = "critic.safetensors", "learner.json"
_POLICY_OPTIMIZER, _CRITIC_OPTIMIZER = "policy-adamw.safetensors", "critic-adamw.safetensors"


def save_learner(
    learner: PPOLearner, tokenizer: Any, folder: Path, dtype: SaveDtype = "float32"
) -> None:
    """Writes what a run needs to go on; the folder is also a model that anything loads.

    The reference is not written: it is the model that the run began with. So is what adapters
    stand on.

    Args:
        learner: What to write.
        tokenizer: Of its policy.
        folder: Where to; made if it is not there.
        dtype: Of the model; what the run goes on from is float32 whatever it says.
    """
    save_policy(learner.policy, tokenizer, folder, dtype)
    inner = folder / STATE_FOLDER
    inner.mkdir(exist_ok=True)
    save_file(_optimizer_tensors(learner.policy_optimizer), inner / _POLICY_OPTIMIZER)
    if learner.critic is not None and learner.critic_optimizer is not None:
        save_file(_critic_state(learner.critic), inner / _CRITIC)
        save_file(_optimizer_tensors(learner.critic_optimizer), inner / _CRITIC_OPTIMIZER)
    state = {"updates": learner.updates, "precision": learner.precision}
    (inner / _STATE).write_text(json.dumps(state), encoding="utf-8")


def restore_learner(learner: PPOLearner, folder: Path) -> None:
    """Brings a new learner of the same model and settings to the state of ``save_learner``.

    Raises:
        OSError, ValueError, KeyError, RuntimeError: The folder does not hold such a state.
    """
    restore_policy(learner.policy, folder)
    inner = _inner(folder)
    _restore_optimizer(learner.policy_optimizer, load_file(inner / _POLICY_OPTIMIZER))
    if learner.critic is not None and learner.critic_optimizer is not None:
        _restore_critic(learner.critic, load_file(inner / _CRITIC))
        _restore_optimizer(learner.critic_optimizer, load_file(inner / _CRITIC_OPTIMIZER))
    updates = _read_state(folder)["updates"]
    if type(updates) is not int:
        raise ValueError(f"{_STATE}: updates is {updates!r}")
    learner.updates = updates


def saved_precision(folder: Path) -> str | None:
    """Returns what ``precision`` came to where a checkpoint was written; ``None``: not told.

    Raises:
        OSError, ValueError: The folder holds no state of a learner.
    """
    precision = _read_state(folder).get("precision")
    return precision if precision in ("float32", "bfloat16") else None


def save_policy(
    policy: PreTrainedModel, tokenizer: Any, folder: Path, dtype: SaveDtype = "float32"
) -> None:
    """Writes a model that anything of ``transformers`` loads, adapters added to its weights.

    What the sum or ``dtype`` rounds stands in a folder beside it as well, in float32: the adapters
    where there are some, else the weights.
    """
    plain = merged(policy)
    plain.save_pretrained(folder, state_dict=_rounded(plain) if dtype == "bfloat16" else None)
    tokenizer.save_pretrained(folder)
    exact, name = adapter_state(policy), _ADAPTERS
    if dtype == "bfloat16":
        _name_dtype(folder / "config.json", dtype)
        if not exact:
            exact, name = dict(policy.named_parameters()), _EXACT
    if exact:
        (folder / STATE_FOLDER).mkdir(exist_ok=True)
        save_file(_contiguous(exact), folder / STATE_FOLDER / name)


def restore_policy(policy: PreTrainedModel, folder: Path) -> None:
    """Takes over the weights that ``save_policy`` wrote of a model with the same adapters or none.

    Raises:
        OSError, ValueError, KeyError, RuntimeError: The folder does not hold such weights.
    """
    inner = _inner(folder)
    if adapter_state(policy):
        load_adapter_state(policy, load_file(inner / _ADAPTERS))
        return
    if (inner / _EXACT).is_file():
        exact, ours = load_file(inner / _EXACT), dict(policy.named_parameters())
        if exact.keys() != ours.keys():
            raise ValueError(f"{_EXACT}: {len(exact)} tensors, not the {len(ours)} of this model")
        policy.load_state_dict(exact, strict=False)
        return
    saved = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    policy.load_state_dict(saved.state_dict())


def _inner(folder: Path) -> Path:
    """Where the learner's own files are: runs of rlef 0.1 have them beside the model's."""
    inner = folder / STATE_FOLDER
    return inner if inner.is_dir() else folder


def _read_state(folder: Path) -> dict[str, Any]:
    state = json.loads((_inner(folder) / _STATE).read_text(encoding="utf-8"))
    if not isinstance(state, dict) or "updates" not in state:
        raise ValueError(f"{_STATE} says nothing of updates")
    return state


def _rounded(model: PreTrainedModel) -> dict[str, Tensor]:
    """The model's tensors with weights in bfloat16; what was one tensor under two names stays so.

    Buffers stay as they are: some models read theirs in float32.
    """
    rounded = {id(p): p.detach().to(torch.bfloat16) for p in model.parameters()}
    state = model.state_dict(keep_vars=True)
    return {name: rounded.get(id(tensor), tensor.detach()) for name, tensor in state.items()}


def _name_dtype(config: Path, dtype: str) -> None:
    values = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(values | {"dtype": dtype}, indent=2) + "\n", encoding="utf-8")


def _critic_state(critic: Critic) -> dict[str, Tensor]:
    """All of it, or head and adapters where these are what is trained."""
    adapters = adapter_state(critic)
    if not adapters:
        return _contiguous(critic.state_dict())
    return _contiguous({**adapters, **critic.head.state_dict(prefix="head.")})


def _restore_critic(critic: Critic, state: dict[str, Tensor]) -> None:
    if not adapter_state(critic):
        critic.load_state_dict(state)
        return
    head = {name: state.pop(f"head.{name}") for name in ("weight", "bias")}
    critic.head.load_state_dict(head)
    load_adapter_state(critic, state)


def _contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of each parameter, as ``INDEX.NAME``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": tensor.contiguous()
        for index, values in state.items()
        for name, tensor in values.items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
