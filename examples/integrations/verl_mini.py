"""Episodes of verl's agent loop with the mini model, then advantages and loss by verl's functions.

Its trainer needs a GPU; this is what runs on a CPU: rlef's agent loop behind verl's own classes,
the estimator ``rlef_turn`` as the trainer calls it, and verl's clipped loss.

usage: python examples/integrations/verl_mini.py    in an environment with verl
"""

import asyncio
from types import SimpleNamespace
from typing import Any

import rlef_verl
import rlef_verl_advantage
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from torch.nn.utils.rnn import pad_sequence
from verl import DataProto
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.trainer.ppo import ray_trainer
from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.workers.config import FSDPActorConfig
from verl.workers.rollout.replica import TokenOutput

from rlef.engines.load import load_model, load_tokenizer


class MiniServer:
    """Samples as verl's servers do: token ids in, token ids out."""

    def __init__(self) -> None:
        self.model = load_model("mini", "cpu")

    async def generate(self, request_id: str, *, prompt_ids: Any, **words: Any) -> TokenOutput:
        ids = torch.tensor([prompt_ids])
        most = min(words["sampling_params"]["max_tokens"], 96)
        out = self.model.generate(ids, max_new_tokens=most, do_sample=True)
        return TokenOutput(token_ids=out[0, len(prompt_ids) :].tolist())


def agent_loop(server: Any, response_length: int = 512, **multi_turn: Any) -> Any:
    rollout = {"prompt_length": 512, "response_length": response_length}
    rollout["multi_turn"] = {"max_assistant_turns": None, **multi_turn}
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": rollout}, "data": {}})
    return rlef_verl.RLEFAgentLoop(
        trainer_config=DictConfigWrap(config),
        server_manager=server,
        tokenizer=load_tokenizer("mini"),
        processor=None,
        dataset_cls=RLHFDataset,
        data_config=DictConfigWrap(config.data),
    )


async def sample(server: MiniServer, rows: list[dict[str, Any]]) -> list[Any]:
    loop, params = agent_loop(server), {"temperature": 1.0}
    outputs = [loop.run(params, raw_prompt=row["prompt"], **row) for row in rows]
    return [one for one in await asyncio.gather(*outputs) if one != []]


def log_probs(model: Any, output: Any) -> torch.Tensor:
    """Returns (L,) the log-probability of each token of a response."""
    ids = torch.tensor([output.prompt_ids + output.response_ids])
    every = model(ids).logits[0, :-1].log_softmax(-1)
    return every.gather(1, ids[0, 1:, None])[-len(output.response_ids) :, 0]


def main(episodes: int = 8) -> None:
    server = MiniServer()
    rows = rlef_verl.rows(f"mini:train?first={episodes}")
    outputs = asyncio.run(sample(server, rows))
    fields = [output.as_dict() for output in outputs]
    mask = pad_sequence([one["response_mask"] for one in fields], True)
    rewards = pad_sequence([one["rm_scores"] for one in fields], True)
    values = torch.zeros_like(rewards)  # of a critic that has learnt nothing yet
    data = {"token_level_rewards": rewards, "response_mask": mask, "values": values}
    found = ray_trainer.compute_advantage(
        DataProto(batch=TensorDict(data, batch_size=len(mask))),
        adv_estimator=rlef_verl_advantage.NAME,
        config=SimpleNamespace(gamma=1.0, lam=1.0),
    )
    advantages = found.batch["advantages"]
    for output, row in zip(outputs, advantages, strict=True):
        turns, first = output.num_turns // 2, float(row[0])
        print(f"reward {output.reward_score:+.1f}, turns {turns}, advantage {first:+.2f}")
    now = pad_sequence([log_probs(server.model, output) for output in outputs], True)
    actor = FSDPActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    loss, _ = compute_policy_loss_vanilla(now.detach(), now, advantages, mask, config=actor)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(server.model.parameters(), 1.0)
    print(f"policy loss {loss.item():.4f}, gradient norm {norm.item():.3f}")


if __name__ == "__main__":
    main()
