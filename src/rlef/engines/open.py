"""One way to open any engine by its name."""

from typing import TYPE_CHECKING, Any

from rlef.engines.adapters import adapter_folders
from rlef.engines.names import DTYPES, check_engine, check_packages
from rlef.engines.types import Engine, ModelError

if TYPE_CHECKING:
    from rlef.engines.hf_settings import HFSettings
    from rlef.engines.vllm_settings import VLLMSettings
    from rlef.environment import ChatFormat, ChatSettings


def open_engine(
    kind: str,
    model: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    base_url: str | None = None,
    concurrency: int = 16,
    max_context: int | None = None,
    seed: int = 0,
    chat_settings: "ChatSettings | None" = None,
    hf: "HFSettings | None" = None,
    vllm: "VLLMSettings | None" = None,
) -> "tuple[Engine, ChatFormat | None]":
    """Opens an engine, with the chat format that a ``LocalRollouts`` needs beside it.

    Args:
        kind: ``"hf"`` (transformers), ``"vllm"`` (vLLM in this process) or ``"openai"`` (a server
            with OpenAI's chat completions).
        model: ``"mini"``, a folder or a hub id; for ``"openai"`` the server's name of it.
        device: ``"auto"`` or a torch device, for ``"hf"``; the others have their own.
        dtype: What it computes in: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``; auto
            is float32 for ``"hf"``, as stored for ``"vllm"``; a server has its own.
        base_url: Of the server, usually ending in ``/v1``; ``None``: ``OPENAI_BASE_URL``, else
            OpenAI's own.
        concurrency: Prompts that sample at once, at most.
        max_context: Tokens of prompt and answer together; ``None``: what the model was made for,
            with ``"hf"`` as far as there is memory for one such text.
        seed: Of the engine; each prompt brings its own.
        chat_settings: How the model's chat template is used; of a server only ``system`` and
            ``template_arguments`` can be set, which go along with every request.
        hf: More settings of ``"hf"``.
        vllm: More settings of ``"vllm"``.

    Returns:
        The engine; and its chat format, ``None`` where the engine takes messages.

    Raises:
        ModelError: The model, the server or the engine's package cannot be used.
        TemplateError: The model's chat template cannot be used so.
        ValueError: The device cannot be used.
    """
    check_engine(kind, dtype, device, base_url)
    if concurrency < 1:
        raise ModelError(f"concurrency is {concurrency}; allowed: 1 or more")
    if kind == "openai":
        from rlef.engines.openai import OpenAIEngine

        sent = _sent_to_server(chat_settings)
        return OpenAIEngine(model, base_url=base_url, concurrency=concurrency, **sent), None
    check_packages("hf")  # what reading a model's config takes

    from rlef.engines.context import check_context, context_limit
    from rlef.engines.load import load_chat, load_config

    config = load_config(model)
    check_context(config, max_context or context_limit(config), model, "max_context")
    chat = load_chat(model, chat_settings)
    check_packages(kind)
    if kind == "vllm":
        from rlef.engines.vllm import VLLMEngine

        sampler = VLLMEngine(
            model,
            stop_token_ids=chat.stop_token_ids,
            dtype=dtype,
            max_context=max_context or context_limit(config),
            concurrency=concurrency,
            seed=seed,
            settings=vllm,
        )
        if adapter_folders(model)[1]:
            from rlef.engines.load import load_model
            from rlef.engines.weights import ModelWeights

            # vLLM began with what they stand on; its own kind of adapters fits fewer layers
            merged = load_model(model, "cpu", sampler.dtype)
            sampler.load_weights(ModelWeights(version=0, model=merged))
        return sampler, chat
    return _open_hf(model, chat, device, dtype, concurrency, max_context, hf), chat


def _sent_to_server(chat: "ChatSettings | None") -> dict[str, Any]:
    """Returns what a server can be told of a chat template, which it has itself.

    Raises:
        ModelError: Something else is set.
    """
    if chat is None:
        return {}
    sent = {"system", "template_arguments"}
    others = sorted(chat.model_fields_set - sent)
    for name in others:
        if getattr(chat, name) != type(chat).model_fields[name].default:
            raise ModelError(
                f"{name} is set, but a server has a chat template of its own; allowed with the "
                "engine openai: system and template_arguments"
            )
    return {"system": chat.system, "template_arguments": chat.template_arguments}


def _open_hf(
    model: str,
    chat: "ChatFormat",
    device: str,
    dtype: str,
    concurrency: int,
    max_context: int | None,
    settings: "HFSettings | None",
) -> Engine:
    import torch

    from rlef.engines.check import check_engine, check_vocabulary
    from rlef.engines.hf import HFEngine
    from rlef.engines.load import load_model, resolve_device

    dtypes = {"auto": torch.float32, **{name: getattr(torch, name) for name in DTYPES[1:]}}
    loaded = load_model(model, resolve_device(device), dtypes[dtype])
    check_vocabulary(loaded, chat, model)
    engine = HFEngine(
        loaded,
        stop_token_ids=chat.stop_token_ids,
        max_context=max_context,
        max_batch=concurrency,
        dtype=dtypes[dtype],
        settings=settings,
    )
    check_engine(engine, model)
    return engine
