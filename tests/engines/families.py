"""Tiny random models of many families of ``transformers``: two layers, 64 wide, windows of 16.

What is a property of a family here (a window, a chunk, ALiBi, experts, recurrent layers) is on.
"""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

VOCAB = 320
_COMMON: dict[str, Any] = {
    "vocab_size": VOCAB,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LLAMA_LIKE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
}
_GPT: dict[str, Any] = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}
_WINDOW: dict[str, Any] = {"sliding_window": 16}
_MIXED = {**_WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
_QWEN_WINDOW = {**_WINDOW, "use_sliding_window": True, "layer_types": ["sliding_attention"] * 2}
_EXPERTS: dict[str, Any] = {
    "num_local_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
_DELTA_NET: dict[str, Any] = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}
_MAMBA2: dict[str, Any] = {
    "mamba_d_state": 8,
    "mamba_n_heads": 4,
    "mamba_d_head": 32,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
}
_LATENT: dict[str, Any] = {
    "num_key_value_heads": 4,
    "head_dim": None,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 32,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
}
_LONGROPE = {
    "original_max_position_embeddings": 64,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 8,
        "long_factor": [1.0 + i for i in range(8)],
        "original_max_position_embeddings": 64,
    },
}
_DYNAMIC = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", _LLAMA_LIKE),
    "llama-dynamic": ("llama", {**_LLAMA_LIKE, **_DYNAMIC}),
    "mistral": ("mistral", {**_LLAMA_LIKE, **_WINDOW}),
    "ministral": ("ministral", {**_LLAMA_LIKE, **_MIXED}),
    "mixtral": ("mixtral", {**_LLAMA_LIKE, **_WINDOW, **_EXPERTS}),
    "qwen2": ("qwen2", {**_LLAMA_LIKE, **_QWEN_WINDOW}),
    "qwen2-moe": ("qwen2_moe", {**_LLAMA_LIKE, **_EXPERTS, **_QWEN_WINDOW}),
    "qwen3": ("qwen3", {**_LLAMA_LIKE, **_QWEN_WINDOW}),
    "qwen3-moe": ("qwen3_moe", {**_LLAMA_LIKE, **_EXPERTS, **_WINDOW, "use_sliding_window": True}),
    "phi": ("phi", _LLAMA_LIKE),
    "phi3": ("phi3", {**_LLAMA_LIKE, **_WINDOW}),
    "phi3-longrope": ("phi3", {**_LLAMA_LIKE, **_LONGROPE}),
    "phimoe": ("phimoe", {**_LLAMA_LIKE, **_EXPERTS, **_WINDOW}),
    "gemma": ("gemma", _LLAMA_LIKE),
    "gemma2": ("gemma2", {**_LLAMA_LIKE, **_MIXED, "query_pre_attn_scalar": 16}),
    "gemma3": ("gemma3_text", {**_LLAMA_LIKE, **_MIXED, "query_pre_attn_scalar": 16}),
    "gemma3n": (
        "gemma3n_text",
        {
            **_LLAMA_LIKE,
            **_MIXED,
            "hidden_size_per_layer_input": 16,
            "vocab_size_per_layer_input": VOCAB,
            "num_kv_shared_layers": 0,
            "laurel_rank": 8,
            "activation_sparsity_pattern": None,
        },
    ),
    "cohere": ("cohere", {**_LLAMA_LIKE, "logit_scale": 4.0}),
    "cohere2": ("cohere2", {**_LLAMA_LIKE, **_MIXED, "logit_scale": 4.0}),
    "olmo": ("olmo", _LLAMA_LIKE),
    "olmo2": ("olmo2", _LLAMA_LIKE),
    "olmo3": ("olmo3", {**_LLAMA_LIKE, **_MIXED}),
    "granite": ("granite", {**_LLAMA_LIKE, "logits_scaling": 0.5}),
    "granite-moe": ("granitemoe", {**_LLAMA_LIKE, **_EXPERTS, "logits_scaling": 0.5}),
    "starcoder2": ("starcoder2", {**_LLAMA_LIKE, **_WINDOW}),
    "stablelm": ("stablelm", _LLAMA_LIKE),
    "gpt-neox": ("gpt_neox", _LLAMA_LIKE),
    "gpt2": ("gpt2", _GPT),
    "gptj": ("gptj", {**_GPT, "rotary_dim": 8}),
    "gpt-neo": (
        "gpt_neo",
        {
            "hidden_size": 64,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 16,
            "max_position_embeddings": 512,
        },
    ),
    "gpt-bigcode": ("gpt_bigcode", _GPT),
    "codegen": ("codegen", {**_GPT, "rotary_dim": 8}),
    "opt": (
        "opt",
        {"hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
         "max_position_embeddings": 512, "word_embed_proj_dim": 64, "init_std": 0.2},
    ),
    "bloom": ("bloom", {"hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "mpt": ("mpt", {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 512}),
    "falcon": ("falcon", {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}),
    "falcon-alibi": (
        "falcon",
        {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": True},
    ),
    "llama4": (
        "llama4_text",
        {
            **_LLAMA_LIKE,
            **_EXPERTS,
            "num_experts_per_tok": 1,
            "attention_chunk_size": 16,
            "intermediate_size_mlp": 96,
            "layer_types": ["chunked_attention", "full_attention"],
            "no_rope_layers": [1, 0],
            "floor_scale": 16,
        },
    ),
    "gpt-oss": ("gpt_oss", {**_LLAMA_LIKE, **_EXPERTS, **_MIXED}),
    "smollm3": ("smollm3", _LLAMA_LIKE),
    "exaone4": ("exaone4", {**_LLAMA_LIKE, **_MIXED}),
    "modernbert-decoder": (
        "modernbert-decoder",
        {**_LLAMA_LIKE, "local_attention": 16, "global_attn_every_n_layers": 2,
         "layer_types": ["sliding_attention", "full_attention"], "cls_token_id": 1,
         "sep_token_id": 2},
    ),
    "nemotron": ("nemotron", _LLAMA_LIKE),
    "glm4": ("glm4", _LLAMA_LIKE),
    "deepseek-v2": ("deepseek_v2", {**_LLAMA_LIKE, **_LATENT, "topk_method": "greedy"}),
    "deepseek-v3": ("deepseek_v3", {**_LLAMA_LIKE, **_LATENT, "head_dim": 8}),
    "hunyuan": ("hunyuan_v1_dense", _LLAMA_LIKE),
    "ernie4.5": ("ernie4_5", _LLAMA_LIKE),
    "seed-oss": ("seed_oss", _LLAMA_LIKE),
    # what is not only keys and values: without memory, without padding
    "qwen3-next": ("qwen3_next", {**_LLAMA_LIKE, **_EXPERTS, **_DELTA_NET}),
    "qwen3.5": ("qwen3_5_text", {**_LLAMA_LIKE, **_DELTA_NET}),
    "lfm2": ("lfm2", {**_LLAMA_LIKE, "layer_types": ["conv", "full_attention"]}),
    "mamba": ("mamba", {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8}),
    "mamba2": (
        "mamba2",
        {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8, "num_heads": 4,
         "head_dim": 32, "n_groups": 1},
    ),
    "falcon-mamba": ("falcon_mamba", {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8}),
    "falcon-h1": (
        "falcon_h1",
        {**_LLAMA_LIKE, **_MAMBA2, "mamba_d_ssm": 128, "lm_head_multiplier": 2.0},
    ),
    "bamba": ("bamba", {**_LLAMA_LIKE, **_MAMBA2, "attn_layer_indices": [1]}),
    "granite-hybrid": (
        "granitemoehybrid",
        {**_LLAMA_LIKE, **_MAMBA2, **_EXPERTS, "layer_types": ["mamba", "attention"]},
    ),
    "jamba": (
        "jamba",
        {**_LLAMA_LIKE, **_EXPERTS, "mamba_d_state": 8, "attn_layer_period": 2,
         "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
         "use_mamba_kernels": False},
    ),
}  # fmt: skip


def make_family(name: str) -> PreTrainedModel:
    """A random model of a family, in float32 and evaluation mode, the same each time."""
    kind, words = FAMILIES[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **_COMMON | words)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model.eval()
