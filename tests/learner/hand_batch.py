"""Batches made by hand, and models to run them on."""

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.rollout import Rollout, RolloutBatch
from rlef.rollout.teacher import TeacherBatch, behind

VOCAB = 40


def make_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
        initializer_range=0.3, bos_token_id=0, eos_token_id=1, pad_token_id=0,
        tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.train(False)
    return model


def make_rollout(turns: list[tuple[int, int]], seed: int, solved: bool = True) -> Rollout:
    """A rollout with, per turn, so many prompt tokens and so many action tokens."""
    generator = torch.Generator().manual_seed(seed)
    token_ids: list[int] = []
    turn_ids: list[int] = []
    logprobs: list[float] = []
    ends: list[int] = []
    for turn, (prompt, actions) in enumerate(turns):
        token_ids += torch.randint(2, VOCAB, (prompt + actions,), generator=generator).tolist()
        turn_ids += [-1] * prompt + [turn] * actions
        sampled = (-4 * torch.rand(actions, generator=generator)).tolist()
        logprobs += [0.0] * prompt + sampled
        ends.append(len(token_ids) - actions - 1)
    record = EpisodeRecord(
        problem=f"p{seed}", family=None, hidden_detail=None,
        turns=tuple(
            TurnRecord(response="r", program="p", public_verdicts=(), feedback=None) for _ in turns
        ),
        stop=StopReason.PUBLIC_PASSED if solved else StopReason.TURN_LIMIT,
        solved=solved, final_verdict=None,
    )  # fmt: skip
    rewards = [0.0] * (len(turns) - 1) + [1.0 if solved else -1.0]
    return Rollout(
        record=record,
        token_ids=np.array(token_ids, np.int32),
        sequence_starts=np.zeros(1, np.int32),
        turn_ids=np.array(turn_ids, np.int32),
        logprobs=np.array(logprobs, np.float32),
        prompt_ends=np.array(ends, np.int32),
        rewards=np.array(rewards, np.float32),
        policy_versions=np.zeros(len(ends), np.int64),
        seed=seed,
    )


def make_rollouts() -> list[Rollout]:
    return [
        make_rollout([(3, 2), (4, 3), (2, 1)], seed=1, solved=False),
        make_rollout([(5, 4)], seed=2),
        make_rollout([(2, 1), (3, 6)], seed=3),
        make_rollout([(4, 3), (3, 2)], seed=4, solved=False),
        make_rollout([(6, 2)], seed=5, solved=False),
    ]


def make_batch() -> RolloutBatch:
    return RolloutBatch.from_rollouts(make_rollouts(), num_turns=3)


LESSONS = [(0, 1), (0, 2), (2, 1), (3, 1)]
"""Rollouts and turns that ``make_lessons`` is of: 3, 1, 6 and 2 tokens."""


def make_lessons() -> TeacherBatch:
    """Some answers of ``make_batch`` behind other prompts."""
    rollouts = make_rollouts()
    answers = [
        behind(rollouts[row], turn, [5 + number, 3, 4, 9][: 2 + number % 3])
        for number, (row, turn) in enumerate(LESSONS)
    ]
    rows, turns = torch.tensor(LESSONS).unbind(1)
    return TeacherBatch(answers=RolloutBatch.from_rollouts(answers, 1), rows=rows, turns=turns)


def slow_logprobs(model: torch.nn.Module, batch: RolloutBatch, temperature: float) -> Tensor:
    """Row by row, without padding, from whole logits."""
    found = torch.zeros(batch.token_ids.shape)
    for row, length in enumerate(batch.lengths.tolist()):
        ids = batch.token_ids[row, :length]
        logits = model(input_ids=ids[None]).logits[0] / temperature
        for i in range(1, length):
            if batch.turn_ids[row, i] >= 0:
                found[row, i] = torch.log_softmax(logits[i - 1], 0)[ids[i]]
    return found
