"""RLEF in TRL: a data set, a reward of single answers, and episodes as its rollout function.

Page: docs/integrations/trl.md.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from datasets import Dataset

from rlef.environment import (
    ChatFormat,
    Conversation,
    Episode,
    JudgedEpisode,
    NotJudgedError,
    episode_metrics,
    episode_reward,
    judged_record,
    problems_by_name,
    settle,
    settle_soon,
)
from rlef.serve import shared_judge


def dataset(spec: str) -> Dataset:
    """Returns problems as TRL takes them; a row names its problem, and has no test."""
    problems = problems_by_name(spec)
    messages = [Episode(problem.public).first_message for problem in problems.values()]
    return Dataset.from_dict(
        {
            "prompt": [[{"role": "user", "content": message}] for message in messages],
            "problem": list(problems),
            "data": [spec] * len(problems),
        }
    )


async def answer_reward(
    completions: list[Any],
    problem: list[str],
    data: list[str],
    log_metric: Callable[[str, float], None] | None = None,
    **_: Any,
) -> list[float | None]:
    """The reward of single answers; ``None`` where one was not judged: TRL leaves it out."""
    episodes = [
        JudgedEpisode(problems_by_name(spec)[name], max_turns=1)
        for name, spec in zip(problem, data, strict=True)
    ]
    for episode, completion in zip(episodes, completions, strict=True):
        episode.answer(completion if isinstance(completion, str) else completion[-1]["content"])
    await asyncio.gather(*(settle_soon(episode, shared_judge()) for episode in episodes))
    return [_reward(episode, 1, log_metric) for episode in episodes]


def episode_rewards(
    episode_reward: list[float | None],
    episode_metrics: list[dict[str, float]],
    log_metric: Callable[[str, float], None] | None = None,
    **_: Any,
) -> list[float | None]:
    """The rewards that ``episodes`` found."""
    for metrics in episode_metrics if log_metric else ():
        for name, value in metrics.items():
            log_metric(f"rlef/{name}", value)  # type: ignore[misc]
    return episode_reward


def episodes(spec: str, max_turns: int = 3) -> Callable[[list[Any], Any], dict[str, Any]]:
    """Returns a ``rollout_func`` that plays episodes on the problems of ``dataset``.

    Sampled ids are kept as they are; feedback is masked out of the loss (``env_mask``).
    """
    known = {Episode(p.public).first_message: p for p in problems_by_name(spec).values()}
    chats: dict[int, ChatFormat] = {}

    def rollout(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        tokenizer = trainer.processing_class
        chat = chats.setdefault(id(tokenizer), ChatFormat(tokenizer, turns="append"))
        played = [
            JudgedEpisode(known[prompt[-1]["content"]], max_turns=max_turns) for prompt in prompts
        ]
        talks = [Conversation(chat) for _ in prompts]
        begins = [
            len(talk.start(str(one.message))) for talk, one in zip(talks, played, strict=True)
        ]
        room = trainer.max_completion_length
        has_logprobs = False
        for _ in range(max_turns):
            asked = [i for i, episode in enumerate(played) if episode.message is not None]
            # every rank has to sample equally often: weights may be gathered for it
            if not asked and trainer.accelerator.num_processes == 1:
                break
            ids, logprobs = trainer._generate_single_turn(
                [talks[i].prompt for i in asked or [0]], None, {}, 1
            )
            has_logprobs = logprobs is not None
            for row, i in enumerate(asked):
                left = begins[i] + room - len(talks[i].token_ids)
                answer = list(ids[row][:left])
                known_logprobs = logprobs[row] if logprobs is not None else [0.0] * left
                talks[i].add_action(answer, list(known_logprobs[: len(answer)]))
                played[i].answer(chat.answer_text(answer))
            settle([played[i] for i in asked], shared_judge().pool)
            for i in asked:
                _ask(played[i], talks[i], begins[i] + room)
        return {
            "prompt_ids": [t.token_ids[:b] for t, b in zip(talks, begins, strict=True)],
            "completion_ids": [t.token_ids[b:] for t, b in zip(talks, begins, strict=True)],
            "logprobs": [t.logprobs[b:] for t, b in zip(talks, begins, strict=True)]
            if has_logprobs
            else None,
            "env_mask": [
                [int(sampled) for sampled in t.action_mask[b:]]
                for t, b in zip(talks, begins, strict=True)
            ],
            "episode_reward": [_reward(episode, max_turns, None) for episode in played],
            "episode_metrics": [_metrics(episode, max_turns) for episode in played],
        }

    return rollout


def _ask(episode: JudgedEpisode, talk: Conversation, most: int) -> None:
    """Appends the next message, if there is one, or ends the episode for want of room."""
    if episode.message is None:
        return
    if len(talk.next_prompt(episode.message)) >= most:
        episode.stop_for_context_limit()
    else:
        talk.add_observation(episode.message)


def _reward(episode: JudgedEpisode, turns: int, log: Callable[..., None] | None) -> float | None:
    for name, value in _metrics(episode, turns).items() if log else ():
        log(f"rlef/{name}", value)
    try:
        return episode_reward(judged_record(episode))
    except NotJudgedError:
        return None


def _metrics(episode: JudgedEpisode, turns: int) -> dict[str, float]:
    try:
        return episode_metrics(judged_record(episode), turns)
    except NotJudgedError:
        return {}
