"""An engine that did not take its weights is found out; one that rounds is not."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from rlef.engines import EngineError
from rlef.engines.fresh import WeightsCheck, following
from rlef.engines.load import load_model
from rlef.engines.weights import ModelWeights


def test_way_of_an_engine_by_hand() -> None:
    before, now = np.array([-1.0, -2.0]), np.array([-2.0, -4.0])
    found = following((before, np.array([-1.4, -2.8])), (before, now), 1e-6)
    assert found.gap == pytest.approx(0.9) and found.moved == pytest.approx(2.5**0.5)
    assert found.share == pytest.approx(0.4)
    assert found.stale and not found.fresh
    still = following((before, before), (before, before), 1e-6)
    assert still.share == 1 and still.error == float("inf") and not still.stale


def test_noise_larger_than_the_way_tells_nothing() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        way, noise = rng.normal(size=(2, 256))
        for share in (0, 1):
            found = following(
                (0 * way, 1e-3 * share * way + 6e-3 * noise), (0 * way, 1e-3 * way), 1e-3
            )
            assert not found.stale and not found.fresh
            sure = following(
                (0 * way, 0.1 * share * way + 6e-3 * noise), (0 * way, 0.1 * way), 1e-3
            )
            assert sure.fresh if share else sure.stale


class Engine:
    """Scores by a copy of the weights, rounded as an engine would, that can stop following."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        self.copy = load_model("mini", "cpu", dtype)
        self.check = WeightsCheck(self.sample, coarse=dtype is not torch.float32)
        self.model, self.version = model, 0

    def sample(self, rows: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
        ids = torch.tensor(rows)
        return self.copy.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens
        ).tolist()

    def score(self, rows: Sequence[Sequence[int]], first: int) -> np.ndarray:
        ids = torch.tensor(rows)
        with torch.inference_mode():
            logits = self.copy(ids).logits[:, first - 1 : -1].float()
        found = logits.log_softmax(-1).gather(2, ids[:, first:, None])
        return found.flatten().double().numpy()

    def load(self, without: str | None = "") -> None:
        """Takes all weights but those whose name has this in it; ``None``: no weights."""
        if without is not None:
            theirs = self.model.state_dict()
            kept = {name: t for name, t in theirs.items() if not without or without not in name}
            self.copy.load_state_dict(kept, strict=False)
        self.version += 1
        self.check.look(self.score, ModelWeights(version=self.version, model=self.model))

    @torch.no_grad()
    def update(self, size: float) -> None:
        for weight in self.model.parameters():
            weight += size * torch.randn_like(weight).sign()


@pytest.fixture(params=[torch.float32, torch.bfloat16])
def engine(request: pytest.FixtureRequest) -> Engine:
    torch.manual_seed(0)
    return Engine(load_model("mini", "cpu"), request.param)


def test_an_honest_engine_raises_no_alarm(engine: Engine) -> None:
    for size in (0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-3):
        for _ in range(4):
            engine.update(size)
            engine.load()


def test_an_engine_without_the_new_weights_stops_the_run(engine: Engine) -> None:
    engine.load()
    engine.update(1e-4)
    with pytest.raises(
        EngineError, match=r"still samples from older weights after version 2 .* 0%"
    ):
        engine.load(without=None)


def test_small_steps_are_found_out_later(engine: Engine) -> None:
    engine.load()
    with pytest.raises(EngineError, match="older weights"):
        for _ in range(100):
            engine.update(3e-6)
            engine.load(without=None)


def test_a_layer_that_stays_behind_stops_the_run_in_the_end(engine: Engine) -> None:
    engine.load()
    with pytest.raises(EngineError, match="other weights"):
        for _ in range(100):
            engine.update(1e-2)
            engine.load(without="layers.2.")
