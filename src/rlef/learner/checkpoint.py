"""A learner's state on disk: the policy as a Hugging Face folder, the rest beside it."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from rlef.learner.ppo import PPOLearner

_CRITIC, _STATE = "critic.safetensors", "learner.json"
_OPTIMIZERS = {
    "policy_optimizer": "policy-adamw.safetensors",
    "critic_optimizer": "critic-adamw.safetensors",
}


def save_learner(learner: PPOLearner, tokenizer: Any, folder: Path) -> None:
    """Writes what a run needs to go on; the folder is also a model that ``rlef eval`` takes.

    The reference is not written: it is the model that the run began with.
    """
    learner.policy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_file(_contiguous(learner.critic), folder / _CRITIC)
    for name, file in _OPTIMIZERS.items():
        save_file(_optimizer_tensors(getattr(learner, name)), folder / file)
    (folder / _STATE).write_text(json.dumps({"updates": learner.updates}), encoding="utf-8")


def restore_learner(learner: PPOLearner, folder: Path) -> None:
    """Brings a new learner of the same model and settings to the state of ``save_learner``.

    Raises:
        OSError, ValueError, KeyError, RuntimeError: The folder does not hold such a state.
    """
    saved = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    learner.policy.load_state_dict(saved.state_dict())
    learner.critic.load_state_dict(load_file(folder / _CRITIC))
    for name, file in _OPTIMIZERS.items():
        _restore_optimizer(getattr(learner, name), load_file(folder / file))
    updates = json.loads((folder / _STATE).read_text(encoding="utf-8"))["updates"]
    if type(updates) is not int:
        raise ValueError(f"{_STATE}: updates is {updates!r}")
    learner.updates = updates


def _contiguous(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}


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
