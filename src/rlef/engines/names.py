"""What is wrong with the name of a model, device, dtype or server: said before anything is loaded.

Needs no torch.
"""

import json
import os
import re
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from rlef import extras
from rlef.engines.adapters import adapter_folders, base_model
from rlef.engines.types import ModelError
from rlef.environment import ChatSettings, TemplateError
from rlef.environment.template_text import check_syntax, template_words

MINI = "mini"
"""Name of the small model whose weights come with rlef."""
SHARDS = Path("learner", "sharded")
"""In a checkpoint: where the ranks of a learner wrote their parts of tensors."""
KINDS = ("hf", "vllm", "openai")
DTYPES = ("auto", "float32", "bfloat16", "float16")
VLLM_HINT = (
    f"on a machine with a GPU: {extras.how_to_install('vllm')}, without one: see docs/engines.md"
)
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_WAIT_S = 10.0
_CONFIGS = ("config.json", "adapter_config.json")
_UNREACHABLE = {"TransportError", "ConnectionError", "Timeout", "OfflineModeIsEnabled"}
"""Names of exceptions: which HTTP library raises them depends on the version."""
_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


def check_engine(kind: str, dtype: str, device: str, base_url: str | None) -> None:
    """Raises ModelError for words that no engine knows."""
    if kind not in KINDS:
        raise ModelError(f"no engine {kind!r}; allowed: {', '.join(KINDS)}")
    if dtype not in DTYPES:
        raise ModelError(f"dtype is {dtype!r}; allowed: {', '.join(DTYPES)}")
    check_device(device)
    if base_url is None:
        return
    if kind != "openai":
        raise ModelError(f"a base URL is of no use to the engine {kind}; allowed: with openai only")
    try:
        url = urlsplit(base_url)
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        good = False
    if not good:
        raise ModelError(
            f"the base URL is {base_url!r}; allowed: http://... or https://..., such as "
            "http://127.0.0.1:8000/v1"
        )


def read_template(path: str) -> str:
    """Returns a chat template.

    Raises:
        ModelError: There is no such file, or no text in it.
        TemplateError: It is not in Jinja.
    """
    try:
        template = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise ModelError(f"{path}: {why}; allowed: a file with a template in Jinja") from None
    if not template.strip():
        raise ModelError(f"{path}: empty; allowed: a file with a template in Jinja")
    try:
        check_syntax(template)
    except TemplateError as error:
        raise TemplateError(f"{path}: {error.fault}", "a template in Jinja") from None
    return template


def check_chat(name: str, settings: ChatSettings) -> None:
    """Looks at chat settings without a tokenizer, where the template lies in a file.

    Raises:
        ModelError: The file of the template cannot be read.
        TemplateError: It is not in Jinja, or is told what it does not read.
    """
    own = settings.chat_template
    template = _known_template(name) if own is None else read_template(own)
    if template is None:
        return
    try:
        template_words(template, settings.template_arguments, settings.today)
    except TemplateError as error:
        raise TemplateError(f"{own or name}: {error.fault}", error.allowed) from None


def check_device(name: str) -> None:
    """Raises ModelError for what is no device anywhere; whether it is here, torch must say."""
    if not _DEVICE.fullmatch(name):
        raise ModelError(f"device is {name!r}; allowed: auto, cpu, cuda, cuda:1, ...")


def check_model(name: str, *, ask_hub: bool = True) -> None:
    """Looks for a model's folder; what is no path, in the cache and then on the Hub.

    Args:
        name: Of the model.
        ask_hub: Whether to look past folders at all.

    Raises:
        ModelError: It is nowhere, or the Hub cannot be asked.
    """
    allowed = f"allowed: {MINI!r}, a folder, or the id of a causal language model on the Hub"
    if name == MINI:
        return
    if name and os.path.isdir(name):
        if not any(os.path.isfile(os.path.join(name, file)) for file in _CONFIGS):
            raise ModelError(f"{name}: a folder without config.json; allowed: that of a model")
        if is_sharded(name):
            raise ModelError(
                f"{name} holds a policy in parts, as the ranks of its learner wrote them; allowed: "
                "what rlef export makes of it"
            )
        _check_base(name, ask_hub)
        return
    if os.path.isfile(name):
        raise ModelError(f"{name}: a file; {allowed}")
    if not _HUB_ID.fullmatch(name) or name.startswith(".") or name.endswith((".", "-")):
        raise ModelError(f"no folder {name!r}; {allowed}")
    reason = _not_on_hub(name) if ask_hub else ""
    if reason:
        raise ModelError(f"no folder {name!r}, and {reason}; {allowed}")


def is_sharded(name: str) -> bool:
    """Whether a folder holds a policy of which each rank of a learner wrote a part."""
    path = Path(name)
    return (path / SHARDS).is_dir() and not any(path.glob("*.safetensors"))


def _check_base(name: str, ask_hub: bool) -> None:
    base = base_model(name)
    if base is None:
        return
    try:
        check_model(base, ask_hub=ask_hub)
    except ModelError as error:
        raise ModelError(f"{name} holds adapters of another model: {error}") from None


def check_installed(kind: str, base_url: str | None) -> None:
    """Raises ModelError where an engine lacks its packages, or OpenAI's own server a key."""
    if kind == "vllm":
        check_packages(kind)
    variables = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
    if kind == "openai" and base_url is None and not any(map(os.environ.get, variables)):
        raise ModelError(
            "neither OPENAI_API_KEY nor a base URL is set; allowed: a key of OpenAI in it, or "
            "the address of another server"
        )


def check_packages(kind: str) -> None:
    """Raises ModelError where packages of an engine are not installed."""
    if kind == "vllm" and extras.missing("vllm"):
        raise ModelError(f"the engine vllm is not installed; {VLLM_HINT}")
    if kind != "openai" and (names := extras.missing("train")):
        raise ModelError(
            f"the engine {kind} needs {', '.join(names)}; install with: "
            f"{extras.how_to_install('train')}, or ask a server by the engine openai"
        )


def check_known_context(name: str, wanted: int, setting: str) -> None:
    """Raises ModelError for more tokens than the ``config.json`` of a model in a folder states."""
    longest = _known_context(name)
    if longest is not None and wanted > longest:
        raise ModelError(
            f"{setting} is {wanted}, but {name} was made for {longest} tokens; "
            f"allowed: up to {longest}"
        )


def _folder(name: str) -> Path:
    return Path(str(files("rlef") / "assets" / "mini")) if name == MINI else Path(name)


def _known_template(name: str) -> str | None:
    """The chat template in a model's folder; ``None`` where ``transformers`` must find it."""
    folder = _folder(name)
    try:
        if (path := folder / "chat_template.jinja").is_file():
            return path.read_text(encoding="utf-8")
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    template = settings.get("chat_template") if isinstance(settings, dict) else None
    return template if isinstance(template, str) else None


def _known_context(name: str) -> int | None:
    folder = _folder(adapter_folders(name)[0])
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    inner = config.get("text_config") if isinstance(config, dict) else None
    found = [
        part[key]
        for part in (config, inner)
        if isinstance(part, dict)
        for key in _LENGTHS
        if type(part.get(key)) is int
    ]
    return max(found, default=None)


def _not_on_hub(name: str) -> str:
    """Why a model is not to be had; empty if it is in the cache or the Hub has it."""
    import logging

    if find_spec("huggingface_hub") is None:
        return ""  # it comes with what loads models, which is missing: that is said next

    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return ""
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        HfApi().model_info(name, timeout=_HUB_WAIT_S)
    except HFValidationError:
        return "it is no id of the Hub"
    except GatedRepoError:
        return "on the Hub it wants your consent and a token (hf auth login)"
    except RepositoryNotFoundError:
        return "no such model on the Hub (a private one wants a token: hf auth login)"
    except Exception as error:
        if _UNREACHABLE & {kind.__name__ for kind in type(error).__mro__}:
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            return f"the Hub cannot be asked ({reason})"
    return ""  # any other answer: loading will tell
