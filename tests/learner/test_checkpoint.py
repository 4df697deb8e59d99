"""A checkpoint is a model to others, and what a run goes on from."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_batch import VOCAB, make_batch, make_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from rlef.learner import checkpoint
from rlef.learner.checkpoint import restore_policy, save_policy, saved_precision
from rlef.learner.config import LearnerConfig
from rlef.learner.tally import Tally
from rlef.learner.update import LocalLearner

LORA = {"lora": {"rank": 2}}


def settings(**changes: Any) -> LearnerConfig:
    return LearnerConfig(**({"lr": 1e-2, "minibatch": 5, "warmup_updates": 0} | changes))


def chat_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE()))
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    return tokenizer


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=torch.arange(2, 20)[None]).logits
    return found


def new_learner(
    model: PreTrainedModel, changes: dict[str, Any], dtype: Any = "float32"
) -> LocalLearner:
    config = settings(**changes)
    return LocalLearner(model, config, 0, tokenizer=chat_tokenizer(), save_dtype=dtype)


def trained(learner: LocalLearner) -> list[Tensor]:
    critic = [] if learner.critic is None else [*learner.critic.parameters()]
    return [p for p in [*learner.policy.parameters(), *critic] if p.requires_grad]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("whole", [True, False], ids=["checkpoint", "best"])
def test_a_folder_is_a_model_and_nothing_else_to_others(
    dtype: Any, whole: bool, tmp_path: Path
) -> None:
    model = make_model()
    model.generation_config.eos_token_id = [1, 3]
    learner = new_learner(model, {}, dtype)
    learner.update(make_batch(), steps=2)
    ours = logits(model)
    if whole:
        learner.save(tmp_path)
    else:
        save_policy(learner.weights().model, chat_tokenizer(), tmp_path, dtype)
    weights = {
        p.name for end in ("safetensors", "bin", "pt", "pth") for p in tmp_path.glob("*." + end)
    }
    assert weights == {"model.safetensors"}
    names = load_file(tmp_path / "model.safetensors").keys()
    assert names == make_model().state_dict().keys() - {"lm_head.weight"}  # tied
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert loaded.dtype is getattr(torch, dtype) and loaded.config.dtype is loaded.dtype
    exact = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    close = {"rtol": 0, "atol": 1e-5} if dtype == "float32" else {"rtol": 0, "atol": 0.1}
    torch.testing.assert_close(logits(exact), ours, **close)
    assert loaded.generation_config.eos_token_id == [1, 3]
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == chat_tokenizer().chat_template


@pytest.mark.parametrize("changes", [{}, LORA, {**LORA, "advantage": "rloo"}], ids=str)
def test_a_rounded_model_goes_on_exactly(changes: dict[str, Any], tmp_path: Path) -> None:
    learner = new_learner(make_model(), changes, "bfloat16")
    learner.update(make_batch(), steps=2)
    learner.save(tmp_path)
    other = LocalLearner(make_model(), settings(**changes), seed=0)
    other.restore(tmp_path)
    assert other.version == 2 and saved_precision(tmp_path) == "float32"
    for one in (learner, other):
        one.update(make_batch(), steps=2)
    for a, b in zip(trained(learner), trained(other), strict=True):
        assert torch.equal(a, b)


def test_optimizers_are_restored_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``offload=all`` there is room on a GPU for the states of one."""
    old = new_learner(make_model(), {})
    old.update(make_batch(), steps=1)
    old.save(tmp_path)
    new = new_learner(make_model(), {})
    assert new.critic is not None
    networks = new.policy, new.critic
    known = [t for one in networks for t in (*one.parameters(), *one.buffers())]
    alive: list[int] = []
    fill = checkpoint._restore_optimizer

    def filled(*words: Any) -> None:
        alive.append(tally.now)
        fill(*words)

    monkeypatch.setattr(checkpoint, "_restore_optimizer", filled)
    with Tally(known) as tally:
        new.restore(tmp_path)
    states = [8 * sum(p.numel() for p in one.parameters()) for one in networks]
    assert states[0] <= alive[0] < states[0] + 2000 < sum(states) <= alive[1]
    new.update(make_batch(), steps=1)
    old.update(make_batch(), steps=1)
    assert all(map(torch.equal, trained(new), trained(old)))


def test_a_run_that_goes_on_remembers_the_steps_that_were_skipped_in_a_row(tmp_path: Path) -> None:
    learner, other = (new_learner(make_model(), {}) for _ in range(2))
    with torch.no_grad():
        learner.policy.model.get_output_embeddings().weight.fill_(float("nan"))
    learner.update(make_batch(), steps=2)
    learner.save(tmp_path)
    other.restore(tmp_path)
    with pytest.raises(FloatingPointError, match=r"^update 3: the gradient .* 3 times in a row"):
        other.update(make_batch(), steps=1)


def test_a_critic_that_has_seen_no_batch_gets_its_bias_after_going_on(tmp_path: Path) -> None:
    learner, other = (new_learner(make_model(), {"critic_bias": "mean_return"}) for _ in range(2))
    learner.pass_over(2)
    learner.save(tmp_path)
    other.restore(tmp_path)
    metrics = [one.update(make_batch(), steps=1)["value"] for one in (learner, other)]
    assert metrics[0] == metrics[1]
    assert learner.critic is not None and other.critic is not None
    assert torch.equal(learner.critic.head.bias, other.critic.head.bias)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_damaged_or_foreign_checkpoint_is_refused(dtype: Any, tmp_path: Path) -> None:
    save_policy(make_model(), chat_tokenizer(), tmp_path, dtype)
    file = tmp_path / "learner" / "policy-float32.safetensors"
    if dtype == "float32":
        assert not file.exists()
        file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    name = "model.norm.weight"
    for changed, words in (
        ({"model.other.weight": torch.ones(16)}, "model.other.weight is no tensor of this model"),
        ({name: torch.ones(1)}, r"size mismatch of model.norm.weight: \(1,\), not \(16,\)"),
    ):
        save_file({**tensors, **changed}, file)
        with pytest.raises(ValueError, match=words):
            restore_policy(make_model(), tmp_path)
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, file)
    with pytest.raises(ValueError, match=r"1 of \d+ tensors of this model are not there"):
        restore_policy(make_model(), tmp_path)


def test_a_policy_is_restored_in_place_without_a_second_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    save_policy(model, chat_tokenizer(), tmp_path)
    other = make_model()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    places = [parameter.data_ptr() for parameter in other.parameters()]
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    restore_policy(other, tmp_path)
    assert places == [parameter.data_ptr() for parameter in other.parameters()]
    assert all(map(torch.equal, model.parameters(), other.parameters()))


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    save_policy(make_model(), chat_tokenizer(), tmp_path, "bfloat16")
    shutil.copy(tmp_path / "learner" / "policy-float32.safetensors", tmp_path / "other")
    learner = LocalLearner(make_model(), settings(**LORA, advantage="rloo"), seed=0)
    with pytest.raises(OSError, match="adapter_model"):
        restore_policy(learner.policy.model, tmp_path)


# --- experts, whose weights are one tensor --------------------------------------------------------


SMALL: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "num_experts_per_tok": 2, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip


def qwen3() -> PreTrainedModel:
    return Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**SMALL, moe_intermediate_size=8, num_experts=4, head_dim=8)
    )


def mixtral() -> PreTrainedModel:
    return MixtralForCausalLM(MixtralConfig(**SMALL, num_local_experts=4))


def deepseek() -> PreTrainedModel:
    return DeepseekV3ForCausalLM(
        DeepseekV3Config(
            **SMALL, moe_intermediate_size=8, n_routed_experts=4, n_group=1, topk_group=1,
            first_k_dense_replace=1, q_lora_rank=8, kv_lora_rank=8, qk_rope_head_dim=4,
            qk_nope_head_dim=4, v_head_dim=8, n_shared_experts=1,
        )
    )  # fmt: skip


@pytest.mark.parametrize("make", [qwen3, mixtral, deepseek])
def test_experts_that_files_hold_in_another_form_are_restored_whole(
    make: Any, tmp_path: Path
) -> None:
    config = {"advantage": "rloo", "kl": "none"}
    model = make()
    learner = new_learner(model, config)
    learner.save(tmp_path)
    other = new_learner(make(), config)
    assert not all(map(torch.equal, model.parameters(), other.policy.parameters()))
    other.restore(tmp_path)
    assert all(map(torch.equal, model.parameters(), other.policy.parameters()))
