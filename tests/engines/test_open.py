import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from rlef.engines import HFEngine, ModelError, SamplingParams
from rlef.engines.adapters import adapter_state, save_adapters
from rlef.engines.load import load_chat, load_model, load_tokenizer
from rlef.engines.open import open_engine
from rlef.engines.weights import ModelWeights, merged_tensors
from rlef.environment import ChatSettings, TemplateError
from rlef.extras import how_to_install
from rlef.learner.config import LoraSettings
from rlef.learner.lora import add_adapters


def test_hf_by_name_samples_as_ever() -> None:
    engine, chat = open_engine("hf", "mini", device="cpu", concurrency=3, max_context=200)
    assert isinstance(engine, HFEngine) and chat is not None
    assert (engine.concurrency, engine.max_context) == (3, 200)
    assert engine.stop_token_ids == chat.stop_token_ids
    assert str(engine.model.dtype) == "torch.float32"
    [completion] = engine.generate_batch(
        [chat.prompt_ids("Hello.")], SamplingParams(max_new_tokens=4), [1]
    )
    assert 1 <= len(completion.token_ids) <= 4
    lower, _ = open_engine("hf", "mini", device="cpu", dtype="bfloat16")
    assert isinstance(lower, HFEngine) and lower.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("kind", "words", "line"),
    [
        ("ollama", {}, "no engine 'ollama'; allowed: hf, vllm, openai"),
        (
            "hf",
            {"dtype": "int8"},
            "dtype is 'int8'; allowed: auto, float32, bfloat16, float16",
        ),
        ("hf", {"concurrency": 0}, "concurrency is 0; allowed: 1 or more"),
        (
            "vllm",
            {"base_url": "http://x/v1"},
            "a base URL is of no use to the engine vllm; allowed: with openai only",
        ),
    ],
)
def test_wrong_words(kind: str, words: dict[str, object], line: str) -> None:
    with pytest.raises(ModelError) as caught:
        open_engine(kind, "mini", **words)
    assert str(caught.value) == line


def test_without_torch_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    line = (
        f"the engine hf needs torch; install with: {how_to_install('train')}, "
        "or ask a server by the engine openai"
    )
    with pytest.raises(ModelError) as caught:
        open_engine("hf", "mini")
    assert str(caught.value) == line


def test_no_engine_is_imported_before_it_is_opened() -> None:
    import subprocess

    code = (
        "import sys, rlef.engines.open\n"
        "print([m for m in ('torch', 'vllm', 'openai', 'transformers') if m in sys.modules])"
    )
    words: Sequence[str] = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


FORGETS = (
    "{% for m in messages %}{% set text = m.content.split('</think>')[-1] %}"
    "{{ '<|' + m.role + '|>' + text + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    "{% if brief is defined and brief %}{{ 'So: ' }}{% endif %}"
)


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.jinja"
    path.write_text(FORGETS)
    chat = load_chat("mini", ChatSettings(chat_template=str(path)))
    assert chat.turns == "per_turn" and chat.tokenizer.chat_template == FORGETS  # type: ignore[attr-defined]
    settings = ChatSettings(
        chat_template=str(path), turns="append", template_arguments={"brief": True}
    )
    chat = load_chat("mini", settings)
    assert chat.turns == "append" and chat.decode(chat.prompt_ids("x")).endswith("So: ")
    path.write_text("{% for m in messages %}")
    with pytest.raises(TemplateError, match=r"own\.jinja: the chat template failed: line 1: "):
        load_chat("mini", ChatSettings(chat_template=str(path)))
    with pytest.raises(ModelError, match=r"nope: No such file or directory; allowed: a file"):
        load_chat("mini", ChatSettings(chat_template="nope"))
    with pytest.raises(
        TemplateError, match=r"mini: no system message can be set .* roles: user, assis"
    ):
        load_chat("mini", ChatSettings(system="Be brief."))


class NoVLLM:
    """Stands for ``VLLMEngine``; keeps the weights that it is given."""

    def __init__(self, model: str, *, dtype: str, **words: object) -> None:
        self.dtype = torch.float16 if dtype == "auto" else getattr(torch, dtype)  # as stored

    def load_weights(self, weights: ModelWeights) -> None:
        self.loaded = dict(weights.merged())


@pytest.mark.parametrize("dtype", ["auto", "float16", "float32"])
def test_vllm_gets_adapters_merged_in_the_dtype_that_it_computes_in(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft", reason='pip install "rlef[lora]"')
    base, adapters = tmp_path / "base", tmp_path / "adapters"
    load_model("mini", "cpu", torch.float16).save_pretrained(base)
    load_tokenizer("mini").save_pretrained(adapters)
    adapted = load_model(str(base), "cpu")
    add_adapters(adapted, LoraSettings(rank=2), 0)
    for tensor in adapter_state(adapted).values():
        torch.nn.init.normal_(tensor)
    save_adapters(adapted, adapters)
    exact = {name: tensor.detach().clone() for name, tensor in merged_tensors(adapted)}
    monkeypatch.setattr("rlef.engines.open.check_packages", lambda kind: None)
    monkeypatch.setattr("rlef.engines.vllm.VLLMEngine", NoVLLM)
    engine, _ = open_engine("vllm", str(adapters), dtype=dtype)
    assert isinstance(engine, NoVLLM) and engine.loaded.keys() == exact.keys()
    for name, tensor in engine.loaded.items():
        assert torch.equal(tensor, exact[name].to(engine.dtype)), name
