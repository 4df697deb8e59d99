"""Models and tokenizers from a folder, the Hugging Face hub, or the package."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from rlef.engines.types import ModelError

LOADING_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)
"""What transformers raises of a folder that is no model."""
MINI = "mini"
"""Name of the small model whose weights come with rlef."""


def model_path(name: str) -> str:
    """Returns the folder of the packaged model for ``"mini"``, else the name itself."""
    return str(files("rlef") / "assets" / "mini") if name == MINI else name


def load_model(
    name: str, device: torch.device | str, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """Loads a causal language model.

    Args:
        name: ``"mini"``, a folder or a hub id.
        device: Where its weights go.
        dtype: Of its weights.

    Raises:
        ModelError: It cannot be loaded.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(model_path(name), dtype=dtype)
    except LOADING_ERRORS as error:
        raise _model_error(name, error) from None
    loaded: PreTrainedModel = model.to(device)  # type: ignore[arg-type]
    loaded.train(False)
    return loaded


def load_tokenizer(name: str) -> Any:
    """Loads a model's tokenizer.

    Raises:
        ModelError: It cannot be loaded, or has no chat template.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_path(name))
    except LOADING_ERRORS as error:
        raise _model_error(name, error) from None
    if not tokenizer.chat_template:
        raise ModelError(
            f"the tokenizer of {name!r} has no chat template; allowed: an instruction-tuned model, "
            "or one with a chat_template.jinja beside its tokenizer"
        )
    return tokenizer


def resolve_device(name: str) -> torch.device:
    """Returns the device of a name; ``"auto"`` takes a GPU where there is one.

    Raises:
        ValueError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device is {name!r}; allowed: auto, cpu, cuda, cuda:1, ...") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device is {name!r}; allowed: auto, cpu, cuda, cuda:1, ...")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {name!r}, but torch sees no GPU here; allowed: auto, cpu")
    return device


def _model_error(name: str, error: Exception) -> ModelError:
    if name and Path(name).is_dir():
        return ModelError(f"{name}: no model that transformers can load: {_first_line(error)}")
    return ModelError(
        f"no model {name!r}: {_first_line(error)}; allowed: {MINI!r}, a folder, or the id of a "
        "causal language model on the Hugging Face hub"
    )


def _first_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
