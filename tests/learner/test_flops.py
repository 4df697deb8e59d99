"""Operations of a pass, counted by hand."""

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from rlef.learner.flops import pass_cost, peak_flops

SHAPE = {
    **{"vocab_size": 50, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "num_key_value_heads": 1},
}
ATTENTION = 2 * (8 * 8 + 2 * 8 * 4 + 8 * 8)
"""Weights of q, k and v, and o, of two layers."""
MLP = 2 * 3 * 8 * 12
PAIRS = 2 * (5**2 + 3**2) * 8 * 2
"""Attention of sequences of 5 and 3 tokens: queries by keys, weights by values, two layers."""


@pytest.mark.parametrize("tied", [True, False])
def test_a_pass_by_hand(tied: bool) -> None:
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=tied))
    forward = 2 * 8 * (ATTENTION + MLP) + 2 * 50 * 8 * 4 + PAIRS
    cost = pass_cost(model, (5, 3), logits=4)
    assert (cost.forward, cost.backward, cost.both) == (forward, 2 * forward, 3 * forward)
    without = pass_cost(model.model, (5, 3), logits=0)
    assert without.both == 3 * (2 * 8 * (ATTENTION + MLP) + PAIRS)


def test_frozen_weights_need_no_gradient() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).requires_grad_(False)
    cost = pass_cost(model, (5, 3), logits=4)
    assert cost.backward == cost.forward + PAIRS


def test_of_experts_only_those_a_token_is_sent_to() -> None:
    config = MixtralConfig(**SHAPE, num_local_experts=4, num_experts_per_tok=2)
    model = MixtralForCausalLM(config).model
    router = 2 * 4 * 8
    wanted = 2 * 8 * (ATTENTION + 2 * MLP + router) + PAIRS
    assert pass_cost(model, (5, 3), logits=0).forward == wanted


def test_positions_are_looked_up_and_not_multiplied() -> None:
    config = GPT2Config(vocab_size=50, n_positions=40, n_embd=8, n_layer=2, n_head=2)
    matrices = 2 * (3 * 8 * 8 + 8 * 8 + 2 * 4 * 8 * 8)
    wanted = 2 * 8 * matrices + PAIRS
    assert pass_cost(GPT2LMHeadModel(config).transformer, (5, 3), logits=0).forward == wanted


def test_a_product_takes_time() -> None:
    assert 1e8 < peak_flops(torch.device("cpu"), torch.float32, seconds=0.05) < 1e14
