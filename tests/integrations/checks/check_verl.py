"""verl's real classes: agent loop worker's seams, reward manager, advantages."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rlef_verl
import rlef_verl_advantage
import torch
import verl_mini
from common import broken_judge
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls
from verl.trainer.ppo import core_algos, ray_trainer
from verl.utils.torch_functional import masked_whiten
from verl.workers.rollout.replica import TokenOutput

from rlef.algorithms import normalize_advantages
from rlef.engines.load import load_tokenizer
from rlef.environment import ChatFormat, NotJudgedError, problems_by_name

DATA = "mini:train?first=4"
ROW = rlef_verl.rows(DATA)[0]
RIGHT = problems_by_name(DATA)[ROW["extra_info"]["problem"]].solutions[0]

# design: two turns of 3 tokens, 4 observation tokens between; reward 1 at the end
MASK = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 1, 1, 1]])
VALUES = torch.tensor([[0.3, 0.3, 0.3, *[0.9] * 4, 0.6, 0.6, 0.6]])
REWARDS = torch.tensor([[0.0] * 9 + [1.0]])


class Server:
    """Answers as ``LLMServerClient`` does, from a list."""

    def __init__(self, *texts: str) -> None:
        tokenizer = load_tokenizer("mini")
        end = ChatFormat(tokenizer).end_of_turn
        self.answers = [[*tokenizer.encode(t, add_special_tokens=False), end] for t in texts]
        self.asked: list[dict[str, Any]] = []

    async def generate(self, request_id: str, **words: Any) -> TokenOutput:
        self.asked.append({"request_id": request_id, **words})
        ids = self.answers.pop(0)
        step = len(self.asked)
        steps = {"global_steps": step, "min_global_steps": step, "max_global_steps": step}
        return TokenOutput(token_ids=ids, log_probs=[-0.5] * len(ids), extra_fields=steps)


def run(server: Server, **multi_turn: Any) -> Any:
    loop = verl_mini.agent_loop(server, response_length=512, **multi_turn)
    return asyncio.run(loop.run({"temperature": 1.0}, raw_prompt=ROW["prompt"], **ROW))


def test_rows_name_problems_and_have_no_test() -> None:
    assert set(ROW) == {"data_source", "agent_name", "prompt", "reward_model", "extra_info"}
    assert ROW["extra_info"] == {"index": 0, "data": DATA, "problem": ROW["extra_info"]["problem"]}


def test_an_episode_of_the_agent_loop() -> None:
    server = Server("nothing", "```python\nprint(0)\n```", f"```python\n{RIGHT}\n```")
    output = run(server)
    assert _agent_loop_registry["rlef"]["_target_"] == "rlef_verl.RLEFAgentLoop"
    assert output.reward_score == pytest.approx(0.8) and output.num_turns == 6
    assert len({asked["request_id"] for asked in server.asked}) == 1  # one server keeps the cache
    mask = output.response_mask
    assert mask[0] == mask[-1] == 1 and len(mask) == len(output.response_ids)
    assert [value == 0 for value in output.response_logprobs] == [bit == 0 for bit in mask]
    whole = output.prompt_ids + output.response_ids
    for asked in server.asked:  # token in, token out: each prompt is a beginning of the whole
        assert whole[: len(asked["prompt_ids"])] == asked["prompt_ids"]
    assert server.asked[0]["sampling_params"]["max_tokens"] == 512
    extra = output.extra_fields
    assert (extra["min_global_steps"], extra["max_global_steps"]) == (1, 3)
    assert extra["reward_extra_info"]["solved_by_turn_3"] == 1
    fields = output.as_dict()  # as the trainer stores it
    assert fields["rm_scores"].tolist()[-1] == pytest.approx(0.8)


def test_turn_limit_of_the_recipe() -> None:
    output = run(Server("nothing"), max_assistant_turns=1)
    assert output.reward_score == -1 and all(output.response_mask)


def test_not_judged_gives_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlef_verl, "shared_judge", broken_judge)
    assert run(Server("```python\nprint(1)\n```")) == []


def judged(text: str) -> dict[str, Any]:
    tokenizer = load_tokenizer("mini")
    ids = tokenizer.encode(text, add_special_tokens=False)
    batch = {
        "prompts": torch.zeros(1, 3, dtype=torch.long),
        "responses": torch.tensor([[*ids, 0, 0]]),
        "attention_mask": torch.tensor([[1] * (3 + len(ids)) + [0, 0]]),
    }
    others = {name: np.array([value], dtype=object) for name, value in ROW.items()}
    data = DataProto(batch=TensorDict(batch, batch_size=1), non_tensor_batch=others)

    async def main() -> dict[str, Any]:
        manager = get_reward_manager_cls("rlef")(OmegaConf.create(), tokenizer, None)
        found: dict[str, Any] = await manager.run_single(data)
        return found

    return asyncio.run(main())


def test_the_reward_manager() -> None:
    found = judged(f"```python\n{RIGHT}\n```")
    assert found["reward_score"] == 1 and found["reward_extra_info"]["solved"] == 1
    assert judged("hm")["reward_score"] == -1


def test_the_reward_manager_raises_where_nothing_was_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rlef_verl, "shared_judge", broken_judge)
    with pytest.raises(NotJudgedError):
        judged("```python\nprint(1)\n```")


@pytest.mark.parametrize(("lam", "first", "second"), [(1.0, 0.7, 0.4), (0.95, 0.68, 0.4)])
def test_conformance_of_the_registered_estimator(lam: float, first: float, second: float) -> None:
    estimate = core_algos.get_adv_estimator_fn("rlef_turn")
    config = SimpleNamespace(gamma=1.0, lam=lam)
    advantages, returns = estimate(
        token_level_rewards=REWARDS,
        response_mask=MASK,
        config=config,
        values=VALUES,
        index=None,
        whiten=False,
    )
    expected = torch.tensor([[first] * 3 + [0.0] * 4 + [second] * 3])
    torch.testing.assert_close(advantages, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(returns, expected + VALUES * MASK, atol=1e-6, rtol=0)


def test_verls_own_gae_counts_tokens() -> None:
    advantages, _ = core_algos.compute_gae_advantage_return(REWARDS, VALUES, MASK, 1.0, 0.95)
    tokens = torch.tensor([[0.580, 0.611, 0.643, *[0.0] * 4, 0.361, 0.380, 0.400]])
    expected = masked_whiten(tokens, MASK) * MASK
    torch.testing.assert_close(advantages * MASK, expected, atol=5e-3, rtol=0)


def batch(values: torch.Tensor | None) -> DataProto:
    fields = {"token_level_rewards": REWARDS, "response_mask": MASK}
    fields |= {} if values is None else {"values": values}
    return DataProto(batch=TensorDict(fields, batch_size=1))


def test_the_trainers_function_hands_the_values_over() -> None:
    config = SimpleNamespace(gamma=1.0, lam=1.0)
    data = ray_trainer.compute_advantage(
        batch(VALUES), adv_estimator="rlef_turn", gamma=1.0, lam=1.0, num_repeat=1, config=config
    )
    turns = normalize_advantages(torch.tensor([[0.7, 0.4]]), torch.tensor([[True, True]]))[0]
    expected = torch.tensor([[turns[0]] * 3 + [0.0] * 4 + [turns[1]] * 3])
    torch.testing.assert_close(data.batch["advantages"], expected)
    with pytest.raises(ValueError, match="critic's values"):
        ray_trainer.compute_advantage(batch(None), adv_estimator="rlef_turn", config=config)


def test_the_present_trainer_takes_that_function() -> None:
    utils = pytest.importorskip("verl.trainer.ppo.v1.utils")
    assert utils.compute_advantage is ray_trainer.compute_advantage
    config = SimpleNamespace(gamma=1.0, lam=1.0)
    data = utils.compute_advantage_for_multi_trajectories(
        batch(VALUES), ["u_0_0"], adv_estimator="rlef_turn", config=config
    )
    assert "advantages" in data.batch


def test_other_estimators_are_verls_own() -> None:
    config = OmegaConf.create({"use_pf_ppo": False})
    data = ray_trainer.compute_advantage(
        batch(VALUES), adv_estimator="gae", gamma=1.0, lam=0.95, config=config
    )
    own = core_algos.compute_gae_advantage_return(REWARDS, VALUES, MASK, 1.0, 0.95)
    torch.testing.assert_close(data.batch["advantages"], own[0])


def test_rows_with_different_numbers_of_turns() -> None:
    mask = torch.tensor([[1, 1, 0, 1, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    rewards = torch.tensor([[0.0, -0.2, 0, 1, 0], [0, 0, -1, 0, 0], [0, 0, 0, 0, 0]])
    advantages, returns = rlef_verl_advantage.rlef_advantage(
        rewards, mask, values=torch.zeros(3, 5), whiten=False
    )
    expected = torch.tensor([[0.8, 0.8, 0, 1, 0], [-1, -1, -1, 0, 0], [0, 0, 0, 0, 0]])
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, expected)


def test_the_example_samples_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    verl_mini.main(episodes=4)
    assert "policy loss" in capsys.readouterr().out


def test_verl_imports_both_by_name() -> None:
    import os
    import subprocess
    import sys

    code = (
        "import verl; from verl.trainer.ppo.core_algos import get_adv_estimator_fn as f; "
        "from verl.experimental.agent_loop.agent_loop import _agent_loop_registry as r; "
        "f('rlef_turn'); r['rlef']"
    )
    names = {"VERL_USE_EXTERNAL_MODULES": "rlef_verl,rlef_verl_advantage"}
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **names}, check=True)
