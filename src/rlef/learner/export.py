"""A plain Hugging Face folder of a policy that the ranks of a learner wrote, in one process."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig

from rlef.engines.load import load_config
from rlef.engines.weights import as_in_checkpoints
from rlef.learner.checkpoint import distinct_tensors
from rlef.learner.passes import shaped_model
from rlef.learner.sharded_files import ShardedFiles

FILE_BYTES = 5 * 10**9
"""Of a file of weights, at most; a tensor that is larger has one for itself."""


def export_sharded(folder: Path, out: Path, dtype: torch.dtype) -> int:
    """Writes model and settings; a tensor is read at a time, a file's worth of them is in memory.

    Args:
        folder: A checkpoint of ranks, whose policy is trained whole.
        out: Where the model goes; it is made.
        dtype: Of its weights; buffers stay as they are.

    Returns:
        The number of its parameters.

    Raises:
        OSError, ValueError: The folder does not hold such a policy, or ``out`` cannot be written.
        ModelError: The folder holds no settings of a model.
    """
    config = load_config(str(folder))
    model, files = shaped_model(config), ShardedFiles(folder)
    weights = {name for name, _ in model.named_parameters()}

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for name, like in distinct_tensors(model).items():
            value = torch.empty_like(like, device="cpu")
            files.read({f"policy.{name}": value})
            yield name, value.to(dtype) if name in weights else value

    out.mkdir(parents=True, exist_ok=True)
    write_weights(out, as_in_checkpoints(model, tensors()))
    config.architectures, config.dtype = [type(model).__name__], dtype
    config.save_pretrained(out)
    if (folder / "generation_config.json").is_file():
        GenerationConfig.from_pretrained(folder).save_pretrained(out)
    return int(model.num_parameters())


def write_weights(
    folder: Path, tensors: Iterable[tuple[str, Tensor]], most: int = FILE_BYTES
) -> None:
    """Writes the files of weights of a model's folder, and where there are several their index.

    Args:
        folder: Exists.
        tensors: By their names in files.
        most: Bytes of a file.
    """
    parts: list[dict[str, Tensor]] = [{}]
    places: dict[str, int] = {}
    total = size = 0

    def flush() -> None:
        save_file(parts[-1], folder / f"part-{len(parts)}", metadata={"format": "pt"})
        parts[-1] = {}

    for name, tensor in tensors:
        if parts[-1] and size + tensor.nbytes > most:
            flush()
            parts.append({})
            size = 0
        parts[-1][name] = tensor.contiguous()
        places[name] = len(parts)
        size += tensor.nbytes
        total += tensor.nbytes
    flush()
    names = {
        part: f"model-{part:05d}-of-{len(parts):05d}.safetensors"
        for part in range(1, len(parts) + 1)
    }
    if len(parts) == 1:
        names = {1: "model.safetensors"}
    else:
        index = {
            "metadata": {"total_size": total},
            "weight_map": {name: names[part] for name, part in places.items()},
        }
        text = json.dumps(index, indent=2) + "\n"
        (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    for part, name in names.items():
        (folder / f"part-{part}").rename(folder / name)
