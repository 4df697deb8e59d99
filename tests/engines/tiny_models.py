"""Random models small enough to compare with slow references."""

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCAB = 48


def make_model(kind: str, vocab: int = VOCAB) -> PreTrainedModel:
    """A model with sharp, varied distributions, in float32."""
    torch.manual_seed(0)
    shape = {
        "vocab_size": vocab,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=4))
    if kind == "llama-eager":
        config = LlamaConfig(**shape, num_key_value_heads=2, attn_implementation="eager")
        return LlamaForCausalLM(config)
    if kind == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=2))
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocab, n_positions=128, n_embd=32, n_layer=2, n_head=4,
            initializer_range=0.3, bos_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip
