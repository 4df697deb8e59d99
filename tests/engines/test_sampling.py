import math

import pytest
import torch

from rlef.engines.sampling import draw_tokens
from rlef.engines.types import SamplingParams

INF = math.inf
LOGITS = torch.tensor([[-INF, math.log(0.5), -INF, math.log(0.3), math.log(0.2), -INF]])


@pytest.mark.parametrize(
    ("uniform", "token", "prob"),
    [(0.0, 1, 0.5), (0.49, 1, 0.5), (0.51, 3, 0.3), (0.79, 3, 0.3), (0.81, 4, 0.2),
     (1 - 1e-12, 4, 0.2)],
)  # fmt: skip
def test_the_distribution_function_is_inverted(uniform: float, token: int, prob: float) -> None:
    draw = draw_tokens(LOGITS, torch.tensor([uniform], dtype=torch.float64), SamplingParams())
    assert draw.tokens.tolist() == [token]
    assert draw.logprobs.item() == pytest.approx(math.log(prob), abs=1e-6)


@pytest.mark.parametrize(
    ("params", "probs"),
    [
        (SamplingParams(top_k=2), [0.625, 0.375, 0.0]),
        (SamplingParams(top_k=9), [0.5, 0.3, 0.2]),
        (SamplingParams(top_p=0.49), [1.0, 0.0, 0.0]),
        (SamplingParams(top_p=0.79), [0.625, 0.375, 0.0]),
        (SamplingParams(top_p=0.81), [0.5, 0.3, 0.2]),
        (SamplingParams(temperature=0.5), [25 / 38, 9 / 38, 4 / 38]),
        (SamplingParams(top_k=2, top_p=0.6), [1.0, 0.0, 0.0]),
    ],
)
def test_cut_distributions_by_hand(params: SamplingParams, probs: list[float]) -> None:
    count = 2000
    uniforms = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    draw = draw_tokens(LOGITS.expand(count, -1), uniforms, params)
    for token, prob in zip((1, 3, 4), probs, strict=True):
        chosen = draw.tokens == token
        assert chosen.double().mean().item() == pytest.approx(prob, abs=1 / count)
        for logprob in draw.logprobs[chosen].tolist():
            assert logprob == pytest.approx(math.log(prob), abs=1e-5)


def test_half_precision_logits_give_float32_logprobs() -> None:
    draw = draw_tokens(LOGITS.bfloat16(), torch.zeros(1, dtype=torch.float64), SamplingParams())
    assert draw.logprobs.dtype == torch.float32
