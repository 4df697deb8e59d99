"""A learner on several ranks is the learner of one process."""

from typing import Any

import pytest
import torch
from hand_batch import make_batch, make_model
from on_ranks import on_ranks
from test_checkpoint import chat_tokenizer
from torch import Tensor

from rlef.engines.sharded import whole
from rlef.learner.config import LearnerConfig
from rlef.learner.passes import shaped_model
from rlef.learner.ranks import Ranks
from rlef.learner.update import LocalLearner

LORA = {"lora": {"rank": 2}, "critic_lora": {"rank": 3}}
CHECKPOINTED = {"critic_lora": {"rank": 2}, "gradient_checkpointing": True}


def new_learner(ranks: Ranks, changes: dict[str, Any]) -> LocalLearner:
    common = {"lr": 1e-3, "minibatch": 5, "warmup_updates": 0, "micro_batch_tokens": 16}
    model = make_model() if ranks.first else shaped_model(make_model().config)
    config = LearnerConfig(**(common | changes))
    return LocalLearner(model, config, 0, tokenizer=chat_tokenizer(), ranks=ranks)


def state(learner: LocalLearner) -> dict[str, Tensor]:
    """All weights, whole; every rank has to ask."""
    found = {}
    for name, network in (("policy", learner.policy), ("critic", learner.critic)):
        for key, tensor in ({} if network is None else network.state_dict()).items():
            found[f"{name}.{key}"] = whole(tensor).clone()
    return found


def trained(ranks: Ranks, changes: dict[str, Any], steps: int) -> tuple[list[Any], Any]:
    learner = new_learner(ranks, changes)
    metrics = [learner.update(make_batch(), steps=2) for _ in range(steps // 2)]
    return metrics, (state(learner), learner.version, learner.policy_moved)


def several(ranks: Ranks, cases: list[dict[str, Any]], steps: int) -> list[Any]:
    found = [trained(ranks, changes, steps) for changes in cases]
    return found if ranks.first else []


def assert_alike(ours: Any, theirs: Any, near: float) -> None:
    (metrics, (weights, *rest)), (their_metrics, (their_weights, *their_rest)) = ours, theirs
    assert rest == their_rest and weights.keys() == their_weights.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, their_weights[name], rtol=0, atol=near, msg=name)
    for line, other in zip(metrics, their_metrics, strict=True):
        assert line.keys() == other.keys()
        for key in line.keys() - {"score_s"}:
            wanted = pytest.approx(other[key], rel=20 * near, abs=20 * near, nan_ok=True)
            assert line[key] == wanted, key


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_twenty_steps_equal_those_of_one_process(size: int) -> None:
    cases = [{}, LORA, CHECKPOINTED, {"precision": "bfloat16"}]
    found = on_ranks(size, several, cases, 20)[0]
    for changes, ours in zip(cases, found, strict=True):
        near = 1e-3 if "precision" in changes else 2e-5
        assert_alike(ours, trained(Ranks(), changes, 20), near)
