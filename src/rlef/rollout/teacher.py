"""A batch's later answers as a teacher reads them: behind a first message that tells feedback anew.

All of it follows from the rollouts as they are stored, so a run that goes on finds the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rlef.environment import ChatFormat, FeedbackOptions, Prompts
from rlef.environment.restated import restated_message
from rlef.problems import Problem
from rlef.rollout.batch import RolloutBatch
from rlef.rollout.types import Rollout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TeacherBatch:
    """N answers of a batch, each behind the prompt that the teacher reads.

    Attributes:
        answers: rollouts of one turn, in the order of the batch's rollouts and turns.
        rows: (N,) int64, the rollout in the batch.
        turns: (N,) int64, the turn there.
    """

    answers: RolloutBatch
    rows: Tensor
    turns: Tensor

    def taught(self, batch: RolloutBatch) -> Tensor:
        """Returns which tokens of the batch the answers' action tokens are, in order: (B, L) bool.

        Raises:
            ValueError: They are not those of the batch.
        """
        turns = torch.zeros_like(batch.turn_mask)
        turns[self.rows, self.turns] = True
        found = batch.action_mask & turns.gather(1, batch.turn_ids.clamp(min=0))
        ours = self.answers.token_ids[self.answers.action_mask]
        if not torch.equal(batch.token_ids[found], ours):
            raise ValueError("the teacher's answers are not those of the batch")
        return found


def teacher_batch(
    rollouts: Sequence[Rollout],
    problems: Mapping[str, Problem],
    *,
    chat: ChatFormat,
    prompts: Prompts,
    feedback: FeedbackOptions,
    max_context: int,
) -> TeacherBatch | None:
    """Returns the answers that a teacher can say something of: see ``restated_message``.

    Args:
        rollouts: Those of the batch, in its order.
        problems: By name; private tests are not looked at.
        chat: The model's chat format.
        prompts: The templates.
        feedback: What messages between turns told.
        max_context: Tokens of a prompt and its answer; what is longer is not taught.

    Returns:
        ``None`` where there is none.
    """
    found: list[Rollout] = []
    places: list[tuple[int, int]] = []
    for row, rollout in enumerate(rollouts):
        problem, told = problems[rollout.record.problem].public, rollout.record.turns
        hidden = len(told) - len(rollout.prompt_ends)  # turns that are part of the first prompt
        for turn in range(len(rollout.prompt_ends)):
            message = restated_message(problem, told[: hidden + turn], prompts, feedback)
            if message is None:
                continue
            answer = behind(rollout, turn, chat.prompt_ids(message))
            if len(answer.token_ids) <= max_context:
                found.append(answer)
                places.append((row, turn))
    if not found:
        return None
    rows, turns = torch.tensor(places).unbind(1)
    return TeacherBatch(answers=RolloutBatch.from_rollouts(found, 1), rows=rows, turns=turns)


def behind(rollout: Rollout, turn: int, prompt: Sequence[int]) -> Rollout:
    """Returns the answer of a turn behind another prompt, as a rollout of one turn."""
    chosen = rollout.turn_ids == turn
    actions, before = int(chosen.sum()), len(prompt)
    return replace(
        rollout,
        token_ids=np.concatenate([np.array(prompt, np.int32), rollout.token_ids[chosen]]),
        sequence_starts=np.zeros(1, np.int32),
        turn_ids=np.repeat(np.array([-1, 0], np.int32), [before, actions]),
        logprobs=np.concatenate([np.zeros(before, np.float32), rollout.logprobs[chosen]]),
        prompt_ends=np.array([before - 1], np.int32),
        rewards=rollout.rewards[turn : turn + 1],
        policy_versions=rollout.policy_versions[turn : turn + 1],
    )
