"""A rollout as a teacher reads it: each turn behind a prompt that tells anew what feedback told."""

from dataclasses import replace

import numpy as np

from rlef.environment import ChatFormat, FeedbackOptions, Prompts
from rlef.environment.restated import restated_message
from rlef.problems import Problem
from rlef.rollout.types import Rollout


def restated_rollout(
    rollout: Rollout,
    problem: Problem,
    chat: ChatFormat,
    prompts: Prompts,
    options: FeedbackOptions,
) -> Rollout:
    """Returns it with the same answers, each in a sequence of its own.

    A turn before which no feedback told of an expected output keeps the prompt that it had.
    """
    ids: list[int] = []
    turn_ids: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    logprobs: list[float] = []
    for turn, end in enumerate(rollout.prompt_ends.tolist()):
        message = restated_message(problem.public, rollout.record.turns[:turn], prompts, options)
        start = int(rollout.sequence_starts[rollout.sequence_starts <= end].max())
        prompt = rollout.token_ids[start : end + 1].tolist()
        if message is not None:
            prompt = chat.prompt_ids(message)
        chosen = rollout.turn_ids == turn
        answer = rollout.token_ids[chosen].tolist()
        starts.append(len(ids))
        ids += prompt
        ends.append(len(ids) - 1)
        ids += answer
        turn_ids += [-1] * len(prompt) + [turn] * len(answer)
        logprobs += [0.0] * len(prompt) + rollout.logprobs[chosen].tolist()
    return replace(
        rollout,
        token_ids=np.array(ids, np.int32),
        sequence_starts=np.array(starts, np.int32),
        turn_ids=np.array(turn_ids, np.int32),
        logprobs=np.array(logprobs, np.float32),
        prompt_ends=np.array(ends, np.int32),
    )
