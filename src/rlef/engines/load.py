"""Models and tokenizers from a folder, the Hugging Face hub, or the package."""

import json
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

from rlef.engines.adapters import adapter_folders, merge_adapters
from rlef.engines.names import MINI, check_device, read_template
from rlef.engines.types import ModelError
from rlef.environment import ChatFormat, ChatSettings, TemplateError

LOADING_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)
"""What transformers raises of a folder that is no model."""


_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_MAY_BE_MISSING: dict[str, Any] = {"_raise_exceptions_for_missing_entries": False}
_NATIVE = {"trust_remote_code": False}
"""A model's own code is never run; unset, transformers asks on the terminal."""


def model_path(name: str) -> str:
    """Returns where a model's weights are: its name, but for ``"mini"`` and folders of adapters.

    Raises:
        ModelError: A folder of adapters does not say which model they are of.
    """
    return _own_path(adapter_folders(name)[0])


def _own_path(name: str) -> str:
    return str(files("rlef") / "assets" / "mini") if name == MINI else name


def load_config(name: str) -> PreTrainedConfig:
    """Loads a model's settings, without its weights.

    Raises:
        ModelError: They cannot be loaded, or are not those of a causal language model of text.
    """
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(model_path(name), **_NATIVE)
    except LOADING_ERRORS as error:
        raise _model_error(name, error) from None
    if config.is_encoder_decoder:
        raise _wrong_kind(name, config, "a model with an encoder and a decoder")
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if kind is None:
        raise _wrong_kind(name, config, "none that transformers has as a causal language model")
    for part in kind.config_class.sub_configs:
        if part.startswith(("vision", "audio")):
            raise _wrong_kind(name, config, f"a model of more than text (it has a {part})")
    return config


def load_model(
    name: str, device: torch.device | str, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """Loads a causal language model; adapters are added to its weights in the host's memory.

    Args:
        name: ``"mini"``, a folder or a hub id; a folder of adapters needs the model they are of.
        device: Where its weights go.
        dtype: Of its weights.

    Raises:
        ModelError: It cannot be loaded, is of another kind, or weights of it are not there.
    """
    load_config(name)
    try:
        loading: Any = AutoModelForCausalLM.from_pretrained
        model, found = loading(model_path(name), dtype=dtype, output_loading_info=True, **_NATIVE)
    except LOADING_ERRORS as error:
        raise _model_error(name, error) from None
    if missing := sorted(found["missing_keys"]):  # transformers would draw them at random
        raise ModelError(
            f"{name}: {len(missing)} weights of {type(model).__name__} are not there, "
            f"{missing[0]!r} for one; allowed: a model whose files hold all of its weights"
        )
    loaded: PreTrainedModel = model
    for folder in adapter_folders(name)[1]:
        try:
            merge_adapters(loaded, Path(folder))
        except LOADING_ERRORS as error:
            raise _model_error(folder, error) from None
        loaded.name_or_path = folder  # of adapters on adapters these are the base
    loaded.to(device)  # type: ignore[arg-type]
    loaded.train(False)
    return loaded


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a model's files: in which one, its dtype, and how many numbers it has."""

    file: str
    dtype: torch.dtype
    size: int


def stored_tensors(name: str) -> dict[str, StoredTensor]:
    """Returns the tensors in a model's files, by their names there.

    Loaded in the dtype that they have, weights on the CPU are the files themselves (``mmap``): they
    take no memory that the machine could not take back.

    Args:
        name: As for ``load_model``.

    Returns:
        None where there are files of another kind, adapters, or a dtype other than float32 and the
        two of 16 bits.
    """
    path, found = _own_path(name), dict[str, StoredTensor]()
    try:
        if adapter_folders(name)[1]:
            return {}
        names = [SAFE_WEIGHTS_NAME]
        if cached_file(path, SAFE_WEIGHTS_NAME, **_MAY_BE_MISSING) is None:
            index = cached_file(path, SAFE_WEIGHTS_INDEX_NAME, **_MAY_BE_MISSING)
            names = [] if index is None else _files_of(Path(index))
        for one in names:
            file = str(cached_file(path, one))
            with safe_open(file, "pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118  # it is no mapping
                    part = tensors.get_slice(key)
                    dtype = _DTYPES[part.get_dtype()]
                    found[key] = StoredTensor(file, dtype, prod(part.get_shape()))
    except (*LOADING_ERRORS, AttributeError):
        return {}
    return found


def _files_of(index: Path) -> list[str]:
    return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))


def end_token_ids(name: str) -> tuple[int, ...]:
    """Returns the ids that a model's files declare as ends of its answers, each once.

    ``generation_config.json`` names them, and ``config.json``; what neither names is not an end:
    the default of a class may be an ordinary token.

    Raises:
        ModelError: The model cannot be found.
    """
    path = model_path(name)
    try:
        settings, _ = PreTrainedConfig.get_config_dict(path)
    except LOADING_ERRORS as error:
        raise _model_error(name, error) from None
    text = settings.get("text_config") or {}
    found = [settings.get("eos_token_id"), text.get("eos_token_id")]
    with suppress(*LOADING_ERRORS):  # many models have none
        found.insert(0, GenerationConfig.from_pretrained(path).eos_token_id)
    ends = [end for ids in found for end in (ids if isinstance(ids, list) else [ids])]
    return tuple(dict.fromkeys(end for end in ends if isinstance(end, int)))


def load_chat(name: str, settings: ChatSettings | None = None) -> ChatFormat:
    """Loads a model's tokenizer and its chat format, with all ends of answers that it declares.

    Args:
        name: ``"mini"``, a folder or a hub id.
        settings: How the chat template is used; ``None``: all as it is by default.

    Raises:
        ModelError: It cannot be loaded, or has no chat template.
        TemplateError: The template cannot be used so.
    """
    settings = settings or ChatSettings()
    tokenizer = load_tokenizer(name, settings.chat_template)
    try:
        return ChatFormat(
            tokenizer,
            end_token_ids=end_token_ids(name),
            template_arguments=settings.template_arguments,
            system=settings.system,
            today=settings.today,
            turns=settings.turns,
        )
    except TemplateError as error:
        place = settings.chat_template or name
        raise TemplateError(f"{place}: {error.fault}", error.allowed) from None


def load_tokenizer(name: str, chat_template: str | None = None) -> Any:
    """Loads a model's tokenizer.

    Args:
        name: ``"mini"``, a folder or a hub id.
        chat_template: A file with the template that it gets; ``None``: it has its own.

    Raises:
        ModelError: It cannot be loaded, or has no chat template.
    """
    template = None if chat_template is None else read_template(chat_template)
    try:
        tokenizer = AutoTokenizer.from_pretrained(_own_path(name), **_NATIVE)
    except LOADING_ERRORS as error:
        raise _model_error(name, error) from None
    if template is not None:
        tokenizer.chat_template = template
    if not tokenizer.chat_template:
        raise ModelError(
            f"the tokenizer of {name!r} has no chat template; allowed: an instruction-tuned model, "
            "or a template of your own (model.chat_template, in rlef eval --chat-template)"
        )
    return tokenizer


def resolve_device(name: str) -> torch.device:
    """Returns the device of a name; ``"auto"`` takes a GPU where there is one.

    Raises:
        ModelError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    check_device(name)
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device is {name!r}, but torch sees no GPU here; allowed: auto, cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise ModelError(f"device is {name!r}; allowed: auto, cpu, cuda:0 to cuda:{last}")
    return device


def _wrong_kind(name: str, config: PreTrainedConfig, what: str) -> ModelError:
    return ModelError(
        f"{name}: {config.model_type} is {what}; allowed: a causal language model of text"
    )


def _model_error(name: str, error: Exception) -> ModelError:
    if name and Path(name).is_dir():
        return ModelError(f"{name}: no model that transformers can load: {_first_line(error)}")
    return ModelError(
        f"no model {name!r}: {_first_line(error)}; allowed: {MINI!r}, a folder, or the id of a "
        "causal language model on the Hugging Face hub"
    )


def _first_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
