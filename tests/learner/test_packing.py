"""Packed rows: what stands where in them, and that no token sees another sequence."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hand_batch import make_batch, make_model, make_rollouts
from torch import Tensor
from torch.nn.attention import varlen
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from rlef.learner import attention
from rlef.learner.attention import can_pack, enable_packing
from rlef.learner.config import LearnerConfig
from rlef.learner.models import Critic, Policy
from rlef.learner.packing import Packed, bins, of_like_length
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch


def several_sequences() -> RolloutBatch:
    """The batch by hand, each turn a sequence of its own."""
    batch = make_batch()
    starts = [
        torch.arange(batch.token_ids.shape[1]) >= end[:, None]
        for end in (batch.prompt_ends[:, 1:] - 1).clamp(min=0).unbind(1)
    ]
    ids = torch.zeros_like(batch.token_ids)
    for turn, start in enumerate(starts, 1):
        ids += start & batch.turn_mask[:, turn, None]
    return replace(batch, sequence_ids=ids.masked_fill(~batch.token_mask, -1))


def one_by_one(model: PreTrainedModel, batch: RolloutBatch) -> Tensor:
    """Log-probabilities, each sequence of each row read alone."""
    found = torch.zeros(batch.token_ids.shape)
    for row in range(len(batch)):
        for number in range(int(batch.sequence_ids[row].max()) + 1):
            places = (batch.sequence_ids[row] == number).nonzero()[:, 0]
            ids = batch.token_ids[row, places]
            logprobs = model(input_ids=ids[None]).logits[0].log_softmax(-1)
            for i in range(1, len(ids)):
                if batch.turn_ids[row, places[i]] >= 0:
                    found[row, places[i]] = logprobs[i - 1, ids[i]]
    return found


def test_a_packed_row_by_hand() -> None:
    rollouts = make_rollouts()[1:3]  # of 5 + 4 tokens, and of 2 + 1 and 3 + 6
    batch = RolloutBatch.from_rollouts(rollouts, num_turns=2)
    sequence_ids = batch.sequence_ids.clone()
    sequence_ids[1, 3:] = 1
    batch = replace(batch, sequence_ids=sequence_ids)
    packed = Packed.before_actions(batch, packs=True)
    # The last token of each sequence predicts nothing.
    assert packed.sequences.lengths == (8, 2, 8)
    assert packed.sequences.ends.tolist() == [0, 8, 10, 18]
    first, second = (rollout.token_ids.tolist() for rollout in rollouts)
    assert packed.token_ids.tolist() == [first[:8] + second[:2] + second[3:11]]
    assert packed.position_ids is not None
    assert packed.position_ids.tolist() == [[*range(8), 0, 1, *range(8)]]
    assert packed.states.tolist() == [4, 5, 6, 7, 9, *range(12, 18)]
    assert packed.targets.tolist() == first[5:] + second[2:3] + second[6:]
    assert packed.places.tolist() == [5, 6, 7, 8, 14, *range(18, 24)]

    padded = Packed.before_actions(batch, packs=False)
    assert padded.token_ids.tolist() == [first[:8], [*second[:2], *[0] * 6], second[3:11]]
    assert padded.states.tolist() == [4, 5, 6, 7, 9, *range(18, 24)]

    ends = Packed.at_prompt_ends(batch, packs=True)
    assert ends.sequences.lengths == (5, 2, 3)
    assert (ends.states.tolist(), ends.places.tolist()) == ([4, 6, 9], [0, 2, 3])


@pytest.mark.parametrize("packs", [True, False])
def test_sequences_of_a_row_do_not_see_each_other(packs: bool) -> None:
    model, batch = make_model(), several_sequences()
    wanted = one_by_one(model, batch)
    if packs:
        assert enable_packing(model) and can_pack(model)
    policy = Policy(model)
    assert (policy.lay_out(batch).position_ids is not None) == packs
    found = policy(batch).logprobs
    torch.testing.assert_close(found, wanted)
    assert not torch.allclose(found, Policy(make_model())(make_batch()).logprobs)

    critic = Critic(model, seed=0)
    values = critic(batch)
    for row, turn in batch.turn_mask.nonzero().tolist():
        end = int(batch.prompt_ends[row, turn])
        same = batch.sequence_ids[row, : end + 1] == batch.sequence_ids[row, end]
        ids = batch.token_ids[row, : end + 1][same]
        state = critic.backbone(input_ids=ids[None]).last_hidden_state[0, -1]
        torch.testing.assert_close(values[row, turn], critic.head(state)[0])


def test_gradients_of_a_packed_row_are_those_of_padded_ones() -> None:
    batch, gradients = several_sequences(), []
    for packs in (False, True):
        model = make_model()
        if packs:
            enable_packing(model)
        Policy(model)(batch).logprobs.sin().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for padded, packed in zip(*gradients, strict=True):
        torch.testing.assert_close(padded, packed)


def test_a_model_that_does_not_tell_its_attention_of_sequences_is_not_packed() -> None:
    model = make_model()
    forward = model.model.forward
    model.model.forward = lambda **words: forward(**words | {"sequences": None})
    assert not enable_packing(model) and not can_pack(model)
    assert model.config._attn_implementation == "sdpa"


def test_bins_hold_everything_once_within_the_limit() -> None:
    sizes = np.random.default_rng(0).integers(1, 60, 300).tolist()
    found = bins(sizes, 100)
    assert sorted(i for one in found for i in one) == list(range(300))
    assert max(sum(sizes[i] for i in one) for one in found) <= 100
    assert len(found) <= 1.05 * sum(sizes) / 100 + 1
    assert bins([5, 30, 7, 7, 12, 1, 9], 24) == [[1], [4, 6, 5], [2, 3, 0]]


def test_rollouts_of_like_length_stand_together() -> None:
    lengths = [5, 30, 7, 7, 12, 1, 9]
    assert of_like_length(lengths, [1] * 7, 24) == [[1], [4, 6], [2, 3, 0], [5]]
    assert of_like_length([4, 3, 2], [2, 3, 1], 12) == [[0], [1, 2]]


def slow_varlen(
    query: Tensor, key: Tensor, value: Tensor, ends: Tensor, _: Tensor, longest: int, __: int,
    *, scale: float | None, window_size: tuple[int, int], enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """What torch documents of its kernel: (T, A, D); a token looks at so many on its left."""
    assert query.dtype == key.dtype and query.is_contiguous() and ends.dtype == torch.int32
    groups = query.shape[1] // key.shape[1]
    assert enable_gqa or groups == 1
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    found = []
    for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        assert end - start <= longest
        q, k, v = (x[start:end].transpose(0, 1) for x in (query, key, value))
        behind = torch.arange(end - start)[:, None] - torch.arange(end - start)
        look = (behind >= 0) & ((window_size[0] < 0) | (behind <= window_size[0]))
        scores = (q @ k.transpose(1, 2) * (scale or 1.0)).masked_fill(~look, -torch.inf)
        found.append((scores.softmax(-1) @ v).transpose(0, 1))
    assert window_size[1] == 0
    return torch.cat(found)


def old_varlen(*rest: Any, scale: float | None, window_size: tuple[int, int]) -> Tensor:
    """As torch 2.11 has it."""
    return slow_varlen(*rest, scale=scale, window_size=window_size, enable_gqa=False)


def windowed() -> PreTrainedModel:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=40, hidden_size=32, intermediate_size=24, num_hidden_layers=2, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=4, initializer_range=0.3,
    )  # fmt: skip
    return MistralForCausalLM(config).eval()


@pytest.mark.parametrize("kernel", [slow_varlen, old_varlen])
@pytest.mark.parametrize("make", [make_model, windowed])
def test_torchs_kernel_is_given_what_it_wants(
    make: Callable[[], PreTrainedModel], kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, with the kernel written out: windows, groups of heads, ends of sequences."""
    batch = several_sequences()
    wanted = one_by_one(make(), batch)
    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    asked: list[bool] = []
    monkeypatch.setattr(attention, "_kernel_can", lambda *_: not asked.append(True))
    attention._varlen_words.cache_clear()
    model = make()
    assert enable_packing(model)
    torch.testing.assert_close(Policy(model)(batch).logprobs, wanted)
    assert asked
    attention._varlen_words.cache_clear()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("make", [make_model, windowed])
def test_torchs_kernel_on_a_gpu(make: Callable[[], PreTrainedModel]) -> None:
    batch, found = several_sequences(), []
    for packs in (False, True):
        model = make().cuda()
        if packs:
            assert enable_packing(model, "bfloat16")
        with torch.autocast("cuda", torch.bfloat16):
            logprobs = Policy(model)(batch).logprobs
        logprobs.sin().sum().backward()
        found.append((logprobs.detach(), model.model.layers[0].self_attn.q_proj.weight.grad))
    for padded, packed in zip(*found, strict=True):
        assert float((padded - packed).norm() / padded.norm()) < 0.05


@pytest.mark.parametrize("packs", [True, False])
def test_a_rollout_without_action_tokens_is_in_no_micro_batch(packs: bool) -> None:
    batch = make_batch()
    turn_ids, turn_mask = batch.turn_ids.clone(), batch.turn_mask.clone()
    turn_ids[1], turn_mask[1] = -1, False
    masked = replace(batch, turn_ids=turn_ids, turn_mask=turn_mask)
    groups = Packed.before_actions(masked, packs=packs).groups(24)
    assert sorted(row for group in groups for row in group) == [0, 2, 3, 4]
    nothing = replace(batch, turn_ids=turn_ids * 0 - 1, turn_mask=turn_mask & False)
    assert Packed.at_prompt_ends(nothing, packs=packs).groups(24) == []


def test_a_rollout_without_action_tokens_changes_no_gradient() -> None:
    rows, learners = torch.tensor([0, 2, 3, 4]), [learner_of(make_model()) for _ in range(2)]
    batch = make_batch()
    turn_ids, turn_mask = batch.turn_ids.clone(), batch.turn_mask.clone()
    turn_ids[1], turn_mask[1] = -1, False
    masked = replace(batch, turn_ids=turn_ids, turn_mask=turn_mask)
    learners[0].update(batch.select(rows), steps=1)
    learners[1].update(masked, steps=1)
    pairs = zip(learners[0].policy.parameters(), learners[1].policy.parameters(), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="no rollout of the batch has an action token"):
        learners[0].update(replace(batch, turn_ids=turn_ids * 0 - 1), steps=1)


def learner_of(model: PreTrainedModel) -> LocalLearner:
    return LocalLearner(model, LearnerConfig(lr=1e-3, minibatch=5, warmup_updates=0), seed=0)
