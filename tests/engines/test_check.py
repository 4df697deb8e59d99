"""What is wrong with a model is one line before anything runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BartConfig, Gemma3Config, LlamaConfig, LlamaForCausalLM, T5Config

from rlef.engines import HFEngine, ModelError, SamplingParams, open_engine
from rlef.engines.load import end_token_ids, load_chat, load_config, load_model, load_tokenizer


def save_model(folder: Path, **words: Any) -> Path:
    """A random model with the tokenizer of the mini model."""
    tokenizer = load_tokenizer("mini")
    torch.manual_seed(0)
    shape = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
        "max_position_embeddings": 256, "tie_word_embeddings": False,
        "bos_token_id": None, "eos_token_id": 3, "pad_token_id": 0,
    }  # fmt: skip
    LlamaForCausalLM(LlamaConfig(**shape | words)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


def edit(path: Path, **words: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | words))


def test_a_model_that_is_whole_opens(folder: Path) -> None:
    engine, _ = open_engine("hf", str(folder), device="cpu")
    assert isinstance(engine, HFEngine) and engine.max_context == 256


def test_each_declared_end_ends_answers_of_the_engine(tmp_path: Path) -> None:
    path = save_model(tmp_path)
    assert end_token_ids(str(path)) == (3,)
    edit(path / "generation_config.json", eos_token_id=[3, 9, 11])
    edit(path / "config.json", eos_token_id=12)
    engine, chat = open_engine("hf", str(path), device="cpu")
    assert isinstance(engine, HFEngine) and chat is not None
    assert set(engine.stop_token_ids) == {3, 9, 11, 12} == set(chat.stop_token_ids)
    params = SamplingParams(max_new_tokens=200)
    done = engine.generate_batch([[20, 21]] * 32, params, range(32))
    assert all(not {9, 11, 12} & set(answer.token_ids[:-1]) for answer in done)
    assert {9, 11, 12} & {answer.token_ids[-1] for answer in done}


def test_an_end_that_only_the_class_names_is_none(tmp_path: Path) -> None:
    path = save_model(tmp_path)
    (path / "generation_config.json").unlink()
    config = json.loads((path / "config.json").read_text())
    del config["eos_token_id"]  # LlamaConfig would say 2
    (path / "config.json").write_text(json.dumps(config))
    assert end_token_ids(str(path)) == ()
    assert load_chat(str(path)).stop_token_ids == (3,)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = save_model(tmp_path)
    weights = load_file(path / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights of LlamaForCausalLM .* 'lm_head.weight'"):
        load_model(str(path), "cpu")


def test_a_tokenizer_that_is_larger_than_the_embedding(tmp_path: Path) -> None:
    path = save_model(tmp_path, vocab_size=len(load_tokenizer("mini")) - 1)
    with pytest.raises(ModelError, match="as token 1023, but the model embeds only 1023 tokens"):
        open_engine("hf", str(path), device="cpu")


def test_an_embedding_that_is_larger_than_the_tokenizer_is_padded(tmp_path: Path) -> None:
    path = save_model(tmp_path, vocab_size=1088)
    open_engine("hf", str(path), device="cpu")


def test_special_tokens_that_no_prompt_has_may_lie_beyond_the_embedding(tmp_path: Path) -> None:
    path = save_model(tmp_path)  # as the image token of Gemma 3's text models
    tokenizer = load_tokenizer(str(path))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|image|>"]})
    tokenizer.save_pretrained(path)
    open_engine("hf", str(path), device="cpu")


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (T5Config(), "t5 is a model with an encoder and a decoder"),
        (BartConfig(), "bart is a model with an encoder and a decoder"),
        (Gemma3Config(), "gemma3 is a model of more than text"),
    ],
)
def test_models_of_another_kind(tmp_path: Path, config: Any, line: str) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"{line}.*; allowed: a causal language model of text"):
        load_config(str(tmp_path))


def test_code_of_a_model_is_not_run_and_nobody_is_asked(tmp_path: Path) -> None:
    names = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": names}))
    (tmp_path / "own.py").write_text("raise SystemExit('was run')")
    with pytest.raises(ModelError, match="custom code"):
        load_config(str(tmp_path))


@pytest.mark.parametrize("kind", ["hf", "vllm"])
def test_a_context_beyond_the_models_is_refused(kind: str) -> None:
    line = "max_context is 100000000, but mini was made for 1024 tokens; allowed: up to 1024"
    with pytest.raises(ModelError, match=f"^{line}$"):
        open_engine(kind, "mini", device="cpu", max_context=10**8)
