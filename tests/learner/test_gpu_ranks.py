"""On a GPU: FSDP2 and NCCL. A sharded learner of one rank is the learner of one process.

The rank has no others, but all that is done on several is done: parts of tensors, gathering,
reduction, parts on disk.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_batch import make_batch
from test_checkpoint import chat_tokenizer
from test_ranks import BFLOAT16, CRITIC_LORA, LORA, ROWS, assert_alike, assert_near, state
from transformers import Qwen2Config, Qwen2ForCausalLM

from rlef.learner.config import LearnerConfig
from rlef.learner.ranks import Ranks
from rlef.learner.update import LocalLearner

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
CONFIG = Qwen2Config(
    vocab_size=256, hidden_size=128, intermediate_size=256, num_hidden_layers=3,
    num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
    max_position_embeddings=256, bos_token_id=0, eos_token_id=1, pad_token_id=0,
)  # fmt: skip
CASES: list[dict[str, Any]] = [
    {},
    {"offload": "all"},
    BFLOAT16,
    {**LORA, "precision": "bfloat16"},
    CRITIC_LORA,
]


class OneOfOne(Ranks):
    """A rank without others, of which the learner believes that there are some."""

    @property
    def several(self) -> bool:
        return True


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    import torch.distributed as dist

    where = torch.device(DEVICE)
    backend = "gloo"
    if where.type == "cuda":
        where, backend = torch.device("cuda", 0), "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(where)
    meeting = tmp_path_factory.mktemp("ranks") / "meeting"
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=0, world_size=1)
    try:
        yield OneOfOne(0, 1, where, dist.new_group(backend="gloo"))
    finally:
        dist.destroy_process_group()


def new_learner(ranks: Ranks, changes: dict[str, Any]) -> LocalLearner:
    common = {"lr": 1e-3, "minibatch": 5, "warmup_updates": 0, "micro_batch_tokens": 16}
    torch.manual_seed(0)
    model: Any = Qwen2ForCausalLM(CONFIG)
    model.train(False)
    if not ranks.several:
        model.to(DEVICE)
    config = LearnerConfig(**(common | changes))
    return LocalLearner(model, config, 0, tokenizer=chat_tokenizer(), ranks=ranks)


def near(changes: dict[str, Any]) -> float:
    """Adam's first steps are as long for the smallest gradient: of rounding they make some."""
    return 2e-4 if changes.get("precision") == "bfloat16" else 2e-5


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_a_sharded_learner_is_that_of_one_process(
    one: Ranks, changes: dict[str, Any], tmp_path: Path
) -> None:
    sharded, alone = new_learner(one, changes), new_learner(Ranks(), changes)
    assert any(hasattr(p, "placements") for p in sharded.policy.parameters())
    found = [[learner.update(make_batch(), steps=2)] for learner in (sharded, alone)]
    ours, theirs = state(sharded), {name: x.clone() for name, x in state(alone).items()}
    assert_alike((found[0], ours), (found[1], theirs), near(changes))
    logprobs = [learner.weights().logprobs(ROWS, 2) for learner in (sharded, alone)]
    assert logprobs[0] == pytest.approx(logprobs[1], abs=1e-2)
    sent = dict(sharded.weights().merged())
    assert_near(sent, dict(alone.weights().merged()), near(changes))

    sharded.save(tmp_path)
    sharded.update(make_batch(), steps=2)  # while it is written
    assert sharded.saved(wait=True)
    later = state(sharded)
    for ranks in (one, Ranks()):
        again = new_learner(ranks, changes)
        again.restore(tmp_path)
        assert_near(state(again), ours, 0.0)
        again.update(make_batch(), steps=2)
        assert_near(state(again), later, near(changes))
