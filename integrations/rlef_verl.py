"""RLEF in verl: an agent loop and a reward manager. Page: docs/integrations/verl.md.

Where ``VERL_USE_EXTERNAL_MODULES=rlef_verl`` is set, each of verl's processes imports it.
"""

import functools
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput, register
from verl.experimental.reward_loop.reward_manager import register as register_manager
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase
from verl.utils.profiler import simple_timer

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
    settle_soon,
)
from rlef.serve import shared_judge

NAME = "rlef"
TURNS = 3
"""Answers at most where ``rollout.multi_turn.max_assistant_turns`` says nothing."""


def rows(spec: str) -> list[dict[str, Any]]:
    """Returns problems as rows of verl's data sets; a row names its problem, and has no test."""
    return [
        {
            "data_source": NAME,
            "agent_name": NAME,
            "prompt": [{"role": "user", "content": Episode(problem.public).first_message}],
            "reward_model": {"style": "rule", "ground_truth": name},
            "extra_info": {"index": index, "data": spec, "problem": name},
        }
        for index, (name, problem) in enumerate(problems_by_name(spec).items())
    ]


@register(NAME)
class RLEFAgentLoop(AgentLoopBase):
    """One episode: sampled ids are kept as they are, feedback is masked out."""

    async def run(
        self, sampling_params: dict[str, Any], **row: Any
    ) -> AgentLoopOutput | list[AgentLoopOutput]:
        """Plays the episode; no output where it could not be judged: verl leaves it out then."""
        turns = self.rollout_config.multi_turn.max_assistant_turns or TURNS
        room = self.rollout_config.response_length
        problem = problems_by_name(row["extra_info"]["data"])[row["extra_info"]["problem"]]
        episode = JudgedEpisode(problem, max_turns=turns)
        conversation = Conversation(_chat(self.tokenizer))
        begin = len(conversation.start(str(episode.message)))
        request, timing, extra = uuid4().hex, {}, {}  # type: ignore[var-annotated]
        while episode.message is not None:
            left = begin + room - len(conversation.token_ids)
            with simple_timer("generate_sequences", timing):
                output = await self.server_manager.generate(
                    request_id=request,
                    prompt_ids=conversation.prompt,
                    sampling_params={**sampling_params, "max_tokens": left},
                )
            ids = output.token_ids[:left]
            conversation.add_action(ids, (output.log_probs or [0.0] * len(ids))[: len(ids)])
            extra = {**output.extra_fields, **_first(extra, "min_global_steps")}
            episode.answer(conversation.chat.answer_text(ids))
            with simple_timer("tool_calls", timing):
                await settle_soon(episode, shared_judge())
            if episode.message is not None:
                if len(conversation.next_prompt(episode.message)) >= begin + room:
                    episode.stop_for_context_limit()
                    break
                conversation.add_observation(episode.message)
        try:
            record = judged_record(episode)
        except NotJudgedError:
            return []
        known = output.log_probs is not None
        return AgentLoopOutput(
            prompt_ids=conversation.token_ids[:begin],
            response_ids=conversation.token_ids[begin:],
            response_mask=[int(sampled) for sampled in conversation.action_mask[begin:]],
            response_logprobs=conversation.logprobs[begin:] if known else None,
            reward_score=episode_reward(record),
            num_turns=2 * len(record.turns),
            metrics=timing,
            extra_fields={
                **extra,
                "reward_extra_info": episode_metrics(record, turns),
                **{"turn_scores": [], "tool_rewards": []},
            },
        )


@functools.lru_cache(maxsize=4)
def _chat(tokenizer: Any) -> ChatFormat:
    return ChatFormat(tokenizer, turns="append")


def _first(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {name: fields[name]} if name in fields else {}


@register_manager(NAME)
class RLEFRewardManager(RewardManagerBase):
    """The reward of single answers, for verl's own agent loops."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)

    async def run_single(self, data: Any) -> dict[str, Any]:
        """Judges the last answer.

        Raises:
            NotJudgedError: The judge could not do its work; verl leaves the answer out.
        """
        item = data[-1]
        ids, mask = item.batch["responses"], item.batch["attention_mask"]
        ids = ids[: int(mask[-len(ids) :].sum())]
        text = await self.loop.run_in_executor(
            None, lambda: self.tokenizer.decode(ids, skip_special_tokens=True)
        )
        row = item.non_tensor_batch["extra_info"]
        episode = JudgedEpisode(problems_by_name(row["data"])[row["problem"]], max_turns=1)
        episode.answer(text)
        await settle_soon(episode, shared_judge())
        record = judged_record(episode)
        score = episode_reward(record)
        return {"reward_score": score, "reward_extra_info": episode_metrics(record, 1)}
