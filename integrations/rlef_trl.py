"""RLEF in TRL: a data set, a reward of single answers, and episodes as its rollout function.

Page: docs/integrations/trl.md.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from accelerate.utils import gather_object
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
    found = [_found(episode, 1) for episode in episodes]
    _log([metrics for _, metrics in found], log_metric)
    return [reward for reward, _ in found]


def episode_rewards(
    episode_reward: list[float | None],
    episode_metrics: list[dict[str, float]],
    log_metric: Callable[[str, float], None] | None = None,
    **_: Any,
) -> list[float | None]:
    """The rewards that ``episodes`` found."""
    _log(episode_metrics, log_metric)
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
        asked_for = [prompt[-1]["content"] for prompt in prompts]
        if others := [text for text in asked_for if text not in known]:
            raise ValueError(f"no problem of {spec} begins with the prompt {others[0][:60]!r}")
        played = [JudgedEpisode(known[text], max_turns=max_turns) for text in asked_for]
        talks = [Conversation(chat) for _ in prompts]
        begins = [
            len(talk.start(str(one.message))) for talk, one in zip(talks, played, strict=True)
        ]
        room = trainer.max_completion_length
        has_logprobs = False
        for _ in range(max_turns):
            asked = [i for i, episode in enumerate(played) if episode.message is not None]
            # equally many on every rank: TRL cuts what vLLM answers to all by that number, and
            # weights may be gathered to sample
            if not (most := max(gather_object([len(asked)]))):
                break
            filled = [*asked, *[0] * (most - len(asked))]
            ids, logprobs = trainer._generate_single_turn(
                [talks[i].prompt for i in filled], None, {}, 1
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
        both = list(zip(talks, begins, strict=True))
        return {
            "prompt_ids": [talk.token_ids[:begin] for talk, begin in both],
            "completion_ids": [talk.token_ids[begin:] for talk, begin in both],
            "logprobs": [t.logprobs[begin:] for t, begin in both] if has_logprobs else None,
            "env_mask": [[int(bit) for bit in talk.action_mask[begin:]] for talk, begin in both],
            "episode_reward": [_found(episode, max_turns)[0] for episode in played],
            "episode_metrics": [_found(episode, max_turns)[1] for episode in played],
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


def _found(episode: JudgedEpisode, turns: int) -> tuple[float | None, dict[str, float]]:
    """Returns reward and metrics; nothing of an episode that was not judged."""
    try:
        record = judged_record(episode)
    except NotJudgedError:
        return None, {}
    return episode_reward(record), episode_metrics(record, turns)


def _log(metrics: Sequence[dict[str, float]], log: Callable[[str, float], None] | None) -> None:
    for one in metrics if log else ():
        for name, value in one.items():
            log(f"rlef/{name}", value)  # type: ignore[misc]
