"""A learner's state on disk: the policy as a Hugging Face folder, the rest beside it."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlef.learner.lora import adapter_state, load_adapter_state, merged
from rlef.learner.models import Critic
from rlef.learner.ppo import PPOLearner

_ADAPTERS = "policy-lora.safetensors"
_CRITIC, _STATE = "critic.safetensors", "learner.json"
_POLICY_OPTIMIZER, _CRITIC_OPTIMIZER = "policy-adamw.safetensors", "critic-adamw.safetensors"


def save_learner(learner: PPOLearner, tokenizer: Any, folder: Path) -> None:
    """Writes what a run needs to go on; the folder is also a model that ``rlef eval`` takes.

    The reference is not written: it is the model that the run began with. So is what adapters
    stand on.
    """
    save_policy(learner.policy, tokenizer, folder)
    save_file(_optimizer_tensors(learner.policy_optimizer), folder / _POLICY_OPTIMIZER)
    if learner.critic is not None and learner.critic_optimizer is not None:
        save_file(_critic_state(learner.critic), folder / _CRITIC)
        save_file(_optimizer_tensors(learner.critic_optimizer), folder / _CRITIC_OPTIMIZER)
    (folder / _STATE).write_text(json.dumps({"updates": learner.updates}), encoding="utf-8")


def restore_learner(learner: PPOLearner, folder: Path) -> None:
    """Brings a new learner of the same model and settings to the state of ``save_learner``.

    Raises:
        OSError, ValueError, KeyError, RuntimeError: The folder does not hold such a state.
    """
    restore_policy(learner.policy, folder)
    _restore_optimizer(learner.policy_optimizer, load_file(folder / _POLICY_OPTIMIZER))
    if learner.critic is not None and learner.critic_optimizer is not None:
        _restore_critic(learner.critic, load_file(folder / _CRITIC))
        _restore_optimizer(learner.critic_optimizer, load_file(folder / _CRITIC_OPTIMIZER))
    updates = json.loads((folder / _STATE).read_text(encoding="utf-8"))["updates"]
    if type(updates) is not int:
        raise ValueError(f"{_STATE}: updates is {updates!r}")
    learner.updates = updates


def save_policy(policy: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    """Writes a model that anything of ``transformers`` loads, adapters added to its weights.

    Adapters stand beside it as well: the sum is rounded, and a run goes on from them exactly.
    """
    merged(policy).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if adapters := _contiguous(adapter_state(policy)):
        save_file(adapters, folder / _ADAPTERS)


def restore_policy(policy: PreTrainedModel, folder: Path) -> None:
    """Takes over the weights that ``save_policy`` wrote of a model with the same adapters or none.

    Raises:
        OSError, ValueError, KeyError, RuntimeError: The folder does not hold such weights.
    """
    if adapter_state(policy):
        load_adapter_state(policy, load_file(folder / _ADAPTERS))
        return
    saved = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    policy.load_state_dict(saved.state_dict())


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
