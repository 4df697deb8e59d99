"""Adapters: what learns, what is shared, how they are stored and what others read of them."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_batch import make_batch, make_model
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from test_checkpoint import chat_tokenizer, deepseek, mixtral, new_learner, qwen3, settings, trained
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlef.engines.load import end_token_ids, load_config, load_model, load_tokenizer, model_path
from rlef.engines.names import check_known_context, check_model
from rlef.engines.types import ModelError
from rlef.engines.weights import merged_tensors
from rlef.learner.attention import enable_packing
from rlef.learner.checkpoint import restore_policy, save_policy
from rlef.learner.config import LoraSettings
from rlef.learner.frozen import freeze, frozen_copy
from rlef.learner.lora import add_adapters
from rlef.learner.models import Policy, WithoutAdapters
from rlef.learner.update import LocalLearner

LORA: dict[str, Any] = {"lora": {"rank": 2}, "lr": 0.1}
BFLOAT16: dict[str, Any] = {"precision": "bfloat16", "frozen_dtype": "bfloat16"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A whole model on the disk, for adapters to stand on."""
    save_policy(make_model(), chat_tokenizer(), tmp_path / "base")
    return tmp_path / "base"


def loaded(path: Path | str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    return load_model(str(path), "cpu", dtype)


def saved(base: Path, folder: Path, **changes: Any) -> LocalLearner:
    """A learner after two steps, in a folder."""
    learner = new_learner(loaded(base), LORA | changes)
    learner.update(make_batch(), steps=2)
    folder.mkdir(exist_ok=True)
    learner.save(folder)
    return learner


# --- what learns and what is shared ---------------------------------------------------------------


def test_adapters_are_all_that_learns_and_share_what_they_stand_on() -> None:
    learner = LocalLearner(make_model(), settings(lora={"rank": 2}), seed=0)
    assert learner.critic is not None and isinstance(learner.reference, WithoutAdapters)
    assert learner.reference.policy is learner.policy
    names = [n for n, p in learner.policy.named_parameters() if p.requires_grad]
    assert names and all(".lora_" in name for name in names)
    assert not any("lm_head" in name for name in names)
    theirs = {n for n, p in learner.critic.named_parameters() if p.requires_grad}
    assert {"head.weight", "head.bias"} <= theirs
    ours = {p.data_ptr() for p in learner.policy.parameters() if not p.requires_grad}
    for name, p in learner.critic.named_parameters():
        assert p.requires_grad or p.data_ptr() in ours, name


@pytest.mark.parametrize("precision", [{}, BFLOAT16], ids=str)
def test_a_critic_of_adapters_stands_on_the_reference(precision: dict[str, Any]) -> None:
    learner = LocalLearner(make_model(), settings(critic_lora={"rank": 2}, **precision), seed=0)
    assert learner.critic is not None and isinstance(learner.reference, Policy)
    assert all(p.requires_grad for p in learner.policy.parameters())
    frozen = [p for p in learner.critic.parameters() if not p.requires_grad]
    assert {id(p) for p in frozen} == {id(p) for p in learner.reference.parameters()}
    dtype = torch.bfloat16 if precision else torch.float32
    assert {p.dtype for p in frozen if p.ndim > 1} == {dtype}
    assert all(p.dtype is torch.float32 for p in trained(learner))
    before = [p.detach().clone() for p in trained(learner)]
    learner.update(make_batch(), steps=2)
    pairs = zip(before, trained(learner), strict=True)
    assert all(not torch.equal(a, b) for a, b in pairs if a.ndim > 1)


def test_the_critics_adapters_may_have_a_size_of_their_own() -> None:
    config = settings(lora={"rank": 2}, critic_lora={"rank": 3})
    learner = LocalLearner(make_model(), config, seed=0)
    assert learner.critic is not None
    for network, rank in ((learner.policy, 2), (learner.critic, 3)):
        sizes = {p.shape[0] for n, p in network.named_parameters() if ".lora_A." in n}
        assert sizes == {rank}


def test_without_its_adapters_a_policy_is_the_reference() -> None:
    batch = make_batch()
    plain = make_model()
    enable_packing(plain)
    first = Policy(plain)(batch).logprobs.detach()
    learner = LocalLearner(make_model(), settings(lora={"rank": 2}, lr=0.1), seed=0)
    assert learner.update(batch, steps=2)["kl"] == 0.0  # new adapters add nothing
    assert learner.reference is not None
    with torch.no_grad():
        assert torch.equal(learner.reference(batch).logprobs, first)
        assert not torch.allclose(learner.policy(batch).logprobs, first)
    assert all(p.requires_grad for n, p in learner.policy.named_parameters() if ".lora_" in n)


@pytest.mark.parametrize("embeddings", ["as published", "in float32"])
def test_how_far_an_unmoved_policy_is_from_its_rounded_reference(embeddings: str) -> None:
    model = make_model()
    if embeddings == "as published":  # in bfloat16
        for parameter in model.parameters():
            parameter.data = parameter.data.bfloat16().float()
    learner = LocalLearner(model, settings(**BFLOAT16), seed=0)
    scored = learner.score(make_batch())
    assert scored.penalty is not None
    gap = float(scored.penalty.abs().max())
    assert gap == 0 if embeddings == "as published" else 0 < gap < 0.03


def test_a_rounded_copy_keeps_norms_and_adds_up_in_float32() -> None:
    model = make_model()
    copied = frozen_copy(model, torch.bfloat16)
    for (name, ours), theirs in zip(model.named_parameters(), copied.parameters(), strict=True):
        assert theirs.dtype is (torch.bfloat16 if ours.ndim > 1 else torch.float32), name
        assert torch.equal(theirs, ours.to(theirs.dtype)) and not theirs.requires_grad
        assert theirs.data_ptr() != ours.data_ptr() and ours.requires_grad
    embedded = copied.get_input_embeddings()(torch.tensor([1]))  # type: ignore[no-untyped-call]
    assert embedded.dtype is torch.float32
    assert copied.lm_head.weight is copied.model.embed_tokens.weight  # tied


def test_products_in_float32_want_frozen_weights_in_float32() -> None:
    with pytest.raises(ValueError, match="frozen_dtype is bfloat16, but precision is float32"):
        settings(frozen_dtype="bfloat16")


def test_adapters_on_frozen_embeddings_get_their_gradient_under_checkpointing() -> None:
    gradients = []
    for gradient_checkpointing in (False, True):
        config = settings(lora={"rank": 2}, gradient_checkpointing=gradient_checkpointing)
        policy = LocalLearner(make_model(), config, seed=0).policy
        policy(make_batch()).logprobs.sum().backward()
        gradients.append([p.grad for p in policy.parameters() if p.requires_grad])
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain is not None and recomputed is not None
        torch.testing.assert_close(plain, recomputed)
    assert any(gradient.any() for gradient in gradients[1])


def test_a_small_adapter_is_not_swallowed_by_a_weight_in_bfloat16() -> None:
    model = make_model()
    freeze(model, torch.bfloat16)
    plain = {name: p.detach().clone() for name, p in model.named_parameters()}
    add_adapters(model, LoraSettings(rank=1, alpha=1), seed=0)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            parameter.data.fill_(1e-2)
    name = "model.layers.0.mlp.up_proj.weight"
    merged = dict(merged_tensors(model))[name]
    assert merged.dtype is torch.float32
    torch.testing.assert_close(merged - plain[name].float(), torch.full_like(merged, 1e-4))
    assert (plain[name] + 1e-4 == plain[name]).float().mean() > 0.5  # it would be


# --- in a folder ----------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["checkpoint", "best"])
def test_a_folder_of_adapters_is_what_peft_and_transformers_read(
    base: Path, tmp_path: Path, whole: bool
) -> None:
    folder = tmp_path / "adapters"
    learner = saved(base, folder)
    if not whole:
        folder = tmp_path / "best"
        folder.mkdir()
        save_policy(learner.policy.model, chat_tokenizer(), folder)
    weights = {path.name for path in folder.glob("*.safetensors")}
    assert weights == {"adapter_model.safetensors"}
    assert not (folder / "config.json").exists()
    facts = json.loads((folder / "adapter_config.json").read_text())
    assert facts["peft_type"] == "LORA" and facts["task_type"] == "CAUSAL_LM"
    assert facts["base_model_name_or_path"] == str(base)
    assert (facts["r"], facts["lora_alpha"], facts["bias"]) == (2, 32, "none")
    tensors = load_file(folder / "adapter_model.safetensors")
    theirs = get_peft_model_state_dict(learner.policy.model)
    assert tensors.keys() == {f"base_model.model.{name}" for name in theirs}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    ours = learner.policy(make_batch()).logprobs.detach()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)  # peft's
        with_peft: Any = PeftModel.from_pretrained(loaded(base), folder)
    for model in (
        with_peft.merge_and_unload(),
        AutoModelForCausalLM.from_pretrained(folder),
        loaded(folder),
    ):
        torch.testing.assert_close(Policy(model)(make_batch()).logprobs.detach(), ours)


def test_a_folder_of_adapters_is_a_model_by_its_name(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapters"
    learner = saved(base, folder)
    name = str(folder)
    check_model(name, ask_hub=False)
    check_known_context(name, 64, "max_context")
    with pytest.raises(ModelError, match=r"max_context is 65, but .* was made for 64 tokens"):
        check_known_context(name, 65, "max_context")
    assert model_path(name) == str(base) and load_config(name).vocab_size == 40
    assert end_token_ids(name) == (1,)
    assert load_tokenizer(name).chat_template == chat_tokenizer().chat_template
    model = loaded(folder)
    assert model.state_dict().keys() == make_model().state_dict().keys()
    assert not hasattr(model, "peft_config") and not model.training
    rounded = dict(loaded(folder, torch.bfloat16).named_parameters())
    for name, merged in merged_tensors(learner.policy.model):
        near = {"rtol": 2**-8, "atol": 2**-8}
        torch.testing.assert_close(rounded[name].float(), merged.detach(), **near)


def test_adapters_on_adapters_are_all_added(base: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    saved(base, first)
    learner = new_learner(loaded(first), LORA)
    learner.update(make_batch(), steps=2)
    second.mkdir()
    learner.save(second)
    assert model_path(str(second)) == str(base)
    ours = learner.policy(make_batch()).logprobs.detach()
    found = Policy(loaded(second))(make_batch()).logprobs.detach()
    torch.testing.assert_close(found, ours)


@pytest.mark.parametrize("changes", [{}, BFLOAT16], ids=str)
def test_a_run_of_adapters_goes_on_exactly(
    base: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = tmp_path / "adapters"
    learner = saved(base, folder, **changes)
    other = new_learner(loaded(base), LORA | changes)
    other.restore(folder)
    for one in (learner, other):
        one.update(make_batch(), steps=2)
    for a, b in zip(trained(learner), trained(other), strict=True):
        assert a.dtype is torch.float32 and torch.equal(a, b)


def test_what_is_wrong_with_a_folder_of_adapters_is_one_line(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapters"
    saved(base, folder)
    other = new_learner(make_model(), {"lora": {"rank": 3}})
    with pytest.raises(ValueError, match="size mismatch"):
        restore_policy(other.policy.model, folder)
    tensors, file = load_file(folder / "adapter_model.safetensors"), folder / "adapter_config.json"
    save_file(dict(list(tensors.items())[1:]), folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"adapters: .* 1 of 28 tensors .* are not there"):
        loaded(folder)
    facts = json.loads(file.read_text())
    file.write_text(json.dumps(facts | {"base_model_name_or_path": str(tmp_path / "nothing")}))
    with pytest.raises(ModelError, match="holds adapters of another model: no folder"):
        check_model(str(folder), ask_hub=False)
    file.write_text(json.dumps(facts | {"base_model_name_or_path": None}))
    with pytest.raises(ModelError, match="names no base_model_name_or_path; allowed: the model"):
        check_model(str(folder), ask_hub=False)
    file.write_text("{")
    with pytest.raises(ModelError, match="names no base_model_name_or_path"):
        load_config(str(folder))


# --- experts, whose weights are one tensor: an adapter around another one -------------------------


@pytest.mark.parametrize("make", [qwen3, mixtral, deepseek])
def test_adapters_of_experts_are_saved_and_go_on(make: Any, tmp_path: Path) -> None:
    def seeded() -> PreTrainedModel:
        torch.manual_seed(0)
        model: PreTrainedModel = make()
        model.train(False)
        return model

    batch, base, folder = make_batch(), tmp_path / "base", tmp_path / "adapters"
    save_policy(seeded(), chat_tokenizer(), base)
    learner = saved(base, folder)
    changed = [n for n, p in learner.policy.named_parameters() if "lora_B" in n and p.any()]
    assert any("experts" in name for name in changed)
    tensors = load_file(folder / "adapter_model.safetensors")
    theirs = get_peft_model_state_dict(learner.policy.model)
    assert tensors.keys() == {f"base_model.model.{name}" for name in theirs}
    ours = learner.policy(batch).logprobs.detach()
    merged = loaded(folder)
    assert merged.state_dict().keys() == seeded().state_dict().keys()
    found = Policy(merged)(batch).logprobs.detach()
    torch.testing.assert_close(found, ours, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, Policy(seeded())(batch).logprobs, atol=1e-3)
    other = new_learner(loaded(base), LORA)
    other.restore(folder)
    for a, b in zip(trained(learner), trained(other), strict=True):
        assert torch.equal(a, b)


# --- making them ----------------------------------------------------------------------------------


def test_seeds_decide_adapters_and_no_other_draw() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(5)
        model = make_model()
        torch.manual_seed(5)
        add_adapters(model, LoraSettings(rank=2), seed)
        assert torch.equal(torch.rand(1), expected)
        models.append([p for n, p in model.named_parameters() if "lora_A" in n])
    assert all(map(torch.equal, models[0], models[1]))
    assert not any(map(torch.equal, models[0], models[2]))


def test_missing_peft_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(
        ValueError, match=r'learner\.lora needs the package peft; .*: pip install "rlef\[lora\]"'
    ):
        LocalLearner(make_model(), settings(lora={"rank": 2}), seed=0)


def test_weights_that_were_loaded_in_bfloat16_are_as_good_as_rounded_ones(tmp_path: Path) -> None:
    model = make_model()
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    save_policy(model, chat_tokenizer(), tmp_path)
    metrics = []
    for dtype in (torch.float32, torch.bfloat16):
        learner = new_learner(loaded(tmp_path, dtype), LORA | BFLOAT16)
        assert all(p.dtype is torch.float32 for p in learner.policy.parameters() if p.ndim == 1)
        metrics.append(str(learner.update(make_batch(), steps=2) | {"score_s": 0.0}))
    assert metrics[0] == metrics[1]
