"""A model of which only a tensor at a time is read from its files."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hand_batch import make_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedModel

from rlef.engines.load import load_model, stored_tensors
from rlef.learner.models import prepare
from rlef.learner.reading import in_float32, load_to_read

ROWS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 10, 11, 2]])


def gemma3() -> PreTrainedModel:
    """Its embeddings are scaled by a number that no file holds."""
    return Gemma3ForCausalLM(
        Gemma3TextConfig(
            vocab_size=40, hidden_size=20, intermediate_size=24, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        )
    )  # fmt: skip


def in_files() -> Iterator[range]:
    """Where in this process's memory files of weights are."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        words = line.split()
        if words[-1].endswith(".safetensors"):
            first, end = words[0].split("-")
            yield range(int(first, 16), int(end, 16))


def is_in_files(model: PreTrainedModel) -> bool:
    areas = list(in_files())
    return all(any(p.data_ptr() in area for area in areas) for p in model.parameters())


def assert_reads_as(model: PreTrainedModel, whole: PreTrainedModel) -> None:
    """Its tensors are those of a model in float32, and so are its passes, to the bit."""
    theirs: dict[str, Tensor] = dict(whole.named_parameters()) | dict(whole.named_buffers())
    ours = dict(model.named_parameters()) | dict(model.named_buffers())
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name].to(tensor.dtype), tensor), name
    stored = [(p.dtype, p.data_ptr()) for p in model.parameters()]
    with torch.no_grad(), in_float32(model, list(model.model.layers)):
        prepare(model, "float32", model.device)
        logits = model(ROWS).logits
    prepare(whole, "float32", whole.device)
    assert model.config._attn_implementation == whole.config._attn_implementation
    with torch.no_grad():
        assert torch.equal(logits, whole(ROWS).logits)
    assert stored == [(p.dtype, p.data_ptr()) for p in model.parameters()]


@pytest.mark.parametrize("make", [make_model, gemma3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_of_files_take_no_memory_until_their_turn(
    make: Callable[[], PreTrainedModel], dtype: torch.dtype, tmp_path: Path
) -> None:
    make().to(dtype).save_pretrained(tmp_path, max_shard_size="1KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert {tensor.dtype for tensor in stored_tensors(str(tmp_path)).values()} == {dtype}
    model = load_to_read(str(tmp_path), torch.float32)
    assert is_in_files(model) and {p.dtype for p in model.parameters()} == {dtype}
    assert model.config.dtype == torch.float32
    assert_reads_as(model, load_model(str(tmp_path), "cpu"))


def test_what_is_in_another_dtype_than_the_rest_is_not_rounded(tmp_path: Path) -> None:
    make_model().to(torch.bfloat16).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"] = torch.randn(len(tensors["model.norm.weight"]))
    tensors["model.layers.0.mlp.up_proj.weight"] = torch.randn(
        tensors["model.layers.0.mlp.up_proj.weight"].shape
    ).half()
    save_file(tensors, file, {"format": "pt"})
    model = load_to_read(str(tmp_path), torch.float32)
    assert is_in_files(model)
    assert_reads_as(model, load_model(str(tmp_path), "cpu"))
    tensors["model.layers.0.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"].to(
        torch.float8_e4m3fn
    )
    save_file(tensors, file, {"format": "pt"})
    assert stored_tensors(str(tmp_path)) == {}  # of such nothing is known
    assert load_to_read(str(tmp_path), torch.float32).dtype == torch.float32


def test_files_that_would_be_rounded_to_bfloat16_are_read_as_that(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path)
    model = load_to_read(str(tmp_path), torch.bfloat16)
    assert model.dtype == torch.bfloat16 and not is_in_files(model)
