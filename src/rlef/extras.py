"""What needs packages that ``pip install rlef`` alone does not bring, and what brings them.

Imports none of them, and nothing else of rlef, so every layer may ask.
"""

from importlib.util import find_spec

NEEDS = {
    "train": ("torch", "transformers", "tokenizers", "safetensors", "scipy"),
    "lora": ("peft",),
    "data": ("datasets", "datasketch"),
    "view": ("starlette", "uvicorn", "tokenizers", "scipy"),
    "serve": ("starlette", "uvicorn", "uvloop", "httptools"),
    "ray": ("ray",),
    "vllm": ("vllm",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
    "mlflow": ("mlflow",),
}
"""Of each extra of ``pyproject.toml`` that a user may want: the modules that it brings."""


class MissingExtraError(ImportError):
    """Something was asked for that needs another extra; the message says which."""


def missing(extra: str) -> list[str]:
    """The modules of an extra that are not installed."""
    return [name for name in NEEDS[extra] if find_spec(name) is None]


def how_to_install(extra: str) -> str:
    """The command that brings an extra."""
    return f'pip install "rlef[{extra}]" (in a clone: pip install -e ".[{extra}]")'


def require(extra: str, what: str) -> None:
    """Raises MissingExtraError where modules of an extra are not installed.

    Args:
        extra: Its name in ``pyproject.toml``.
        what: What needs it, as the error begins.
    """
    if names := missing(extra):
        raise MissingExtraError(
            f"{what} needs {', '.join(names)}; install with: {how_to_install(extra)}"
        )


def extra_of(module: str) -> str | None:
    """The extra that brings a module; of several the one with most; ``None``: rlef itself."""
    top = module.partition(".")[0]
    return next((extra for extra, names in NEEDS.items() if top in names), None)
