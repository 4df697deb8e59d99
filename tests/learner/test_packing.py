"""Packed rows: what stands where in them, and that no token sees another sequence."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hand_batch import make_batch, make_model, make_rollouts
from torch import Tensor
from transformers import PreTrainedModel

from rlef.learner.attention import can_pack, enable_packing
from rlef.learner.models import Critic, Policy
from rlef.learner.packing import Packed, bins, of_like_length
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
