import copy
from types import SimpleNamespace

import pytest
import torch
from hand_batch import make_batch, make_model, make_rollouts, slow_logprobs
from transformers import MixtralConfig, MixtralForCausalLM

from rlef.learner import logprobs
from rlef.learner.head import check_output_head
from rlef.learner.models import Critic, Policy


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_action_logprobs_equal_those_of_whole_logits(temperature: float) -> None:
    model, batch = make_model(), make_batch()
    ours = Policy(model, temperature)(batch, with_entropy=True)
    torch.testing.assert_close(ours.logprobs, slow_logprobs(model, batch, temperature))
    assert (ours.entropy[batch.action_mask] > 0).all()
    assert (ours.entropy[~batch.action_mask] == 0).all()


def test_chunks_change_neither_values_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch()
    gradients = []
    for most in (2**25, 3 * 40 * 4):
        monkeypatch.setitem(logprobs.LOGIT_BYTES, "cpu", most)
        model = make_model()
        out = Policy(model)(batch)
        (out.logprobs.sin().sum()).backward()
        gradients.append([p.grad for p in model.parameters()])
    for whole, chunked in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, chunked)


def test_padding_does_not_change_a_row() -> None:
    model, batch = make_model(), make_batch()
    alone = batch.select(torch.tensor([2]))
    assert alone.token_ids.shape[1] == 12
    ours = Policy(model)(batch).logprobs[2, :12]
    torch.testing.assert_close(ours, Policy(model)(alone).logprobs[0])


def test_critic_reads_the_state_at_each_prompts_last_token() -> None:
    model, batch = make_model(), make_batch()
    critic = Critic(copy.deepcopy(model), seed=0)
    values = critic(batch)
    for row, rollout in enumerate(make_rollouts()):
        for turn, end in enumerate(rollout.prompt_ends):
            prompt = torch.from_numpy(rollout.token_ids[None, : end + 1])
            state = model.base_model(input_ids=prompt).last_hidden_state[0, -1]
            torch.testing.assert_close(values[row, turn], critic.head(state)[0])
    assert (values[~batch.turn_mask] == 0).all()


def test_critic_heads_are_random_and_seeded() -> None:
    heads = [Critic(make_model(), seed).head.weight for seed in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_a_model_that_changes_its_logits_is_refused() -> None:
    model = make_model()
    check_output_head(model)
    forward = model.forward
    model.forward = lambda **words: SimpleNamespace(logits=forward(**words).logits / 2)
    with pytest.raises(ValueError, match="LlamaForCausalLM makes other logits"):
        check_output_head(model)


def test_what_a_router_would_add_to_the_loss_is_not_in_it() -> None:
    gradients = []
    for output in (False, True):
        torch.manual_seed(0)
        config = MixtralConfig(
            vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, num_local_experts=4,
            num_experts_per_tok=2, output_router_logits=output, router_aux_loss_coef=10.0,
        )  # fmt: skip
        model = MixtralForCausalLM(config).eval()
        Policy(model)(make_batch()).logprobs.sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for without, with_router in zip(*gradients, strict=True):
        assert torch.equal(without, with_router)


def test_rows_of_the_vocabulary_that_no_token_has_count_as_in_transformers() -> None:
    """A padded embedding: the policy is what the model's softmax says, these rows in it."""
    model, batch = make_model(), make_batch()
    model.resize_token_embeddings(64)
    ours = Policy(model)(batch).logprobs
    torch.testing.assert_close(ours, slow_logprobs(model, batch, 1.0))
