"""Dialogues of every family of chat templates are learnt from, as one sequence and turn by turn."""

import dataclasses
from itertools import pairwise

import pytest
import torch
from chat_families import FAMILIES, USERS, chat_of, encode
from transformers import LlamaConfig, LlamaForCausalLM

from rlef.environment import Conversation, EpisodeRecord, StopReason, TurnRecord
from rlef.learner.config import LearnerConfig
from rlef.learner.models import Policy
from rlef.learner.update import LocalLearner
from rlef.rollout import Rollout, RolloutBatch

CONFIG = LearnerConfig(lr=1e-3, warmup_updates=0, micro_batch_tokens=512)
TURN = TurnRecord(response="r", program="p", public_verdicts=(), feedback=None)


def rollout_of(name: str, turns: str, count: int) -> Rollout:
    """Of ``count`` turns, with log-probabilities that nobody sampled by."""
    family = FAMILIES[name]
    chat = chat_of(family, turns)
    conversation = Conversation(chat)
    conversation.start(USERS[0])
    for turn in range(count):
        ids = [*encode(chat.tokenizer, family.answer), chat.end_of_turn]  # type: ignore[arg-type]
        conversation.add_action(ids, [-5.0] * len(ids))
        conversation.add_observation(USERS[turn % 2 + 1])  # the last one gets no answer
    record = EpisodeRecord(
        problem=f"p{count}", family=None, hidden_detail=None, turns=(TURN,) * count,
        stop=StopReason.TURN_LIMIT, solved=count == 2, final_verdict=None,
    )  # fmt: skip
    rewards = [0.0] * (count - 1) + [1.0 if count == 2 else -1.0]
    return Rollout.of(record, conversation, rewards, [0] * count, seed=0)


def model_of(name: str) -> LlamaForCausalLM:
    """A random model with sharp distributions."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(FAMILIES[name].tokenizer()), hidden_size=16, intermediate_size=24,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        max_position_embeddings=1024, initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def plain_logprobs(model: LlamaForCausalLM, rollout: Rollout) -> torch.Tensor:
    """(T,) by ``transformers`` alone, one sequence at a time; 0 where nothing was sampled."""
    found = torch.zeros(len(rollout.token_ids))
    starts = [*rollout.sequence_starts.tolist(), len(rollout.token_ids)]
    for start, stop in pairwise(starts):
        ids = torch.tensor(rollout.token_ids[start:stop].astype("int64"))
        logits = model(input_ids=ids[None]).logits[0].log_softmax(-1)
        found[start + 1 : stop] = logits[:-1].gather(1, ids[1:, None])[:, 0]
    return found * torch.tensor(rollout.turn_ids >= 0)


@pytest.mark.parametrize("turns", ["append", "per_turn"])
@pytest.mark.parametrize("name", FAMILIES)
def test_two_updates(name: str, turns: str) -> None:
    rollouts = [rollout_of(name, turns, count) for count in (3, 2, 1)]
    sequences = [3, 2, 1] if turns == "per_turn" else [1, 1, 1]
    assert [len(rollout.sequence_starts) for rollout in rollouts] == sequences
    batch = RolloutBatch.from_rollouts(rollouts, num_turns=3)
    model = model_of(name)
    with torch.no_grad():
        found = Policy(model)(batch).logprobs
        for row, rollout in zip(found, rollouts, strict=True):
            plain = plain_logprobs(model, rollout)
            torch.testing.assert_close(row[: len(plain)], plain, atol=2e-5, rtol=0)
        is_new = batch.sequence_ids == 1
        if turns == "per_turn":  # what stands in the second sequence changes nothing elsewhere
            other = torch.where(is_new, (batch.token_ids + 1) % model.vocab_size, batch.token_ids)
            changed = Policy(model)(dataclasses.replace(batch, token_ids=other)).logprobs
            torch.testing.assert_close(changed[~is_new], found[~is_new], atol=2e-6, rtol=0)
            assert (changed - found)[is_new].abs().max() > 0.1
    learner = LocalLearner(model, CONFIG, seed=0)
    metrics = [learner.update(batch, steps=1) for _ in range(2)]
    assert learner.version == 2 and all(m["policy_steps"] == 1 for m in metrics)
    assert metrics[1]["kl"] != 0.0


def test_scores_of_turns_that_are_sequences_are_those_of_each_sequence_alone() -> None:
    rollouts = [rollout_of("qwen3", "per_turn", count) for count in (3, 2, 1)]
    batch = RolloutBatch.from_rollouts(rollouts, num_turns=3)
    learner = LocalLearner(model_of("qwen3"), CONFIG, seed=0, keep_scores=3)
    learner.update(batch, steps=1)
    model, scores = model_of("qwen3"), learner.scores()  # of before the update
    with torch.no_grad():
        plain = [plain_logprobs(model, rollout).numpy() for rollout in rollouts]
    for found, rollout, expected in zip(scores, rollouts, plain, strict=True):
        for logprobs in (found.policy_logprobs, found.ref_logprobs):
            assert logprobs == pytest.approx(expected, abs=2e-5)
        assert found.kl == pytest.approx([0.0] * len(rollout.rewards), abs=1e-5)
        # lambda and gamma are 1: what is still to come is the last turn's reward
        assert found.returns == pytest.approx(
            [rollout.rewards[-1]] * len(rollout.rewards), abs=1e-5
        )
        assert found.advantages is not None and len(found.advantages) == len(rollout.rewards)
    # dialogues that begin alike: what stands beside a turn changes nothing that the critic says
    values = [each.values.tolist() for each in scores if each.values is not None]
    assert values[1] == pytest.approx(values[0][:2], abs=1e-5)
    assert values[2] == pytest.approx(values[0][:1], abs=1e-5)


def test_the_gradient_of_a_turn_stays_in_its_sequence() -> None:
    rollout = rollout_of("qwen3", "per_turn", 3)
    batch = RolloutBatch.from_rollouts([rollout], num_turns=3)
    model = model_of("qwen3")
    seen: list[torch.Tensor] = []

    def watch(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    model.get_input_embeddings().register_forward_hook(watch)
    Policy(model)(batch).logprobs[batch.turn_ids == 1].sum().backward()
    [states] = seen
    assert states.grad is not None
    touched = (states.grad.norm(dim=-1) > 0).flatten().nonzero()[:, 0]
    # all of its own sequence but the last token, wherever the learner lays it, and nothing else
    length = int((batch.sequence_ids == 1).sum()) - 1
    assert touched.tolist() == list(range(int(touched[0]), int(touched[0]) + length))
