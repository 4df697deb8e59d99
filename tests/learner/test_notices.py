import math

import pytest
import torch
from hand_batch import make_model
from transformers import AutoConfig, AutoModelForCausalLM, GptOssConfig, GptOssForCausalLM

from rlef.learner.config import LoraSettings
from rlef.learner.lora import add_adapters
from rlef.learner.notices import adapter_line, gap_alarm


@pytest.mark.parametrize(
    ("gap", "bfloat16", "alarms"),
    [(9e-4, 0, False), (2e-3, 0, True), (0.02, 1, False), (0.04, 1, True), (math.nan, 0, True)],
)
def test_a_gap_that_rounding_does_not_explain(gap: float, bfloat16: int, alarms: bool) -> None:
    line = gap_alarm({"logprob_gap": gap, "bfloat16": float(bfloat16)})
    assert (line is not None) == alarms


@pytest.mark.parametrize(
    ("gap", "bfloat16", "alarms"),
    [(9e-5, 0, False), (-2e-4, 0, True), (2e-3, 1, False), (4e-3, 1, True), (math.nan, 1, True)],
)
def test_a_gap_to_one_side(gap: float, bfloat16: int, alarms: bool) -> None:
    metrics = {"logprob_gap": abs(gap), "logprob_gap_signed": gap, "bfloat16": float(bfloat16)}
    line = gap_alarm({**metrics, "logprob_gap": 0.0})
    assert (line is not None) == alarms
    assert line is None or "on average" in line


def test_all_layers_of_a_llama_have_adapters_and_a_model_without_says_nothing() -> None:
    model = make_model()
    assert adapter_line(model) is None
    add_adapters(model, LoraSettings(rank=2), 0)
    line = adapter_line(model)
    assert line is not None and "without adapters" not in line
    assert "(down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj)" in line


def test_experts_without_adapters_are_named() -> None:
    config = GptOssConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=2, head_dim=8,
        num_attention_heads=2, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    model = GptOssForCausalLM(config)
    add_adapters(model, LoraSettings(rank=2), 0)
    line = adapter_line(model)
    # q, k, v, o of 2 layers: each 2 x (16 + 16) numbers
    assert line is not None
    assert line.startswith("LoRA: 8 layers have adapters (k_proj, o_proj, q_proj, v_proj); 512 ")
    assert "without adapters: experts.down_proj, " in line and "mlp.router" in line


_SHAPE = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "initializer_range": 0.2}
_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 16}
_ROUTED = {**_HEADS, "num_local_experts": 4, "num_experts_per_tok": 1, "head_dim": 8}


@pytest.mark.parametrize(
    ("kind", "words", "left_alone"),
    [
        ("phimoe", {**_ROUTED, "num_experts_per_tok": 2}, "router"),
        ("llama4_text", {**_ROUTED, "intermediate_size_mlp": 16}, "router"),
        ("mamba", {"state_size": 4}, "out_proj"),
        ("bamba", {**_HEADS, "attn_layer_indices": [1], "mamba_n_heads": 2, "mamba_d_head": 16,
                   "mamba_d_state": 4}, "out_proj"),
    ],
)  # fmt: skip
def test_layers_that_do_not_work_with_an_adapter_get_none(
    kind: str, words: dict[str, object], left_alone: str
) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **_SHAPE, **words)
    model = AutoModelForCausalLM.from_config(config).eval()
    ids = torch.arange(2, 12)[None]
    before = model(input_ids=ids).logits
    add_adapters(model, LoraSettings(rank=2), 0)
    line = adapter_line(model)
    assert line is not None
    has, _, has_none = line.partition("without adapters")
    assert left_alone in has_none and left_alone not in has
    assert torch.allclose(model(input_ids=ids).logits, before, atol=1e-6)  # at first they add 0
