"""Log-probabilities from hidden states, against autograd on whole logits."""

import pytest
import torch
from torch import Tensor, nn

from rlef.algorithms import token_entropy
from rlef.learner.head import OutputHead
from rlef.learner.logprobs import token_logprobs

ON_GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
)
HIDDEN, VOCAB, TOKENS = 16, 50, 13


def make_head(bias: bool, cap: float | None, dtype: torch.dtype) -> OutputHead:
    torch.manual_seed(0)
    embedding = nn.Linear(HIDDEN, VOCAB, bias=bias, dtype=dtype)
    with torch.no_grad():
        embedding.weight.mul_(10)
    return OutputHead(embedding, 0.7, cap)


def make_states(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, tokens, and what the two results are multiplied by."""
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(TOKENS, HIDDEN, dtype=dtype, generator=generator, requires_grad=True)
    tokens = torch.randint(0, VOCAB, (TOKENS,), generator=generator)
    a, b = torch.randn(2, TOKENS, dtype=dtype, generator=generator)
    return states, tokens, a, b


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("cap", [None, 5.0])
@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("entropy", [False, True])
def test_values_and_gradients_are_those_of_whole_logits(
    bias: bool, cap: float | None, rows: int, entropy: bool
) -> None:
    head = make_head(bias, cap, torch.float64)
    states, tokens, a, b = make_states(torch.float64)
    logits = 0.7 * head.embedding(states)
    logits = (logits if cap is None else cap * torch.tanh(logits / cap)) / 0.6
    wanted = logits.log_softmax(1).gather(1, tokens[:, None])[:, 0]
    wanted_entropy = token_entropy(logits)
    found = token_logprobs(
        states, tokens, head, 0.6, with_entropy=entropy, most_bytes=rows * VOCAB * 4
    )
    torch.testing.assert_close(found.logprobs, wanted)
    ours, theirs = (found.logprobs * a).sum(), (wanted * a).sum()
    if entropy:
        torch.testing.assert_close(found.entropy, wanted_entropy)
        ours, theirs = ours + (found.entropy * b).sum(), theirs + (wanted_entropy * b).sum()
    else:
        assert (found.entropy == 0).all()
    wrt = [states, *head.embedding.parameters()]
    for x, y in zip(torch.autograd.grad(ours, wrt), torch.autograd.grad(theirs, wrt), strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=ON_GPU)])
def test_in_bfloat16_logits_and_the_heads_gradient_are_float32(device: str) -> None:
    """A vocabulary of thousands, probabilities far below what 8 bits tell apart from the next."""
    torch.manual_seed(0)
    count, hidden, vocab = 600, 64, 3000
    embedding = nn.Linear(hidden, vocab, bias=False, device=device)
    states = torch.randn(count, hidden, device=device, requires_grad=True)
    tokens = torch.randint(0, vocab, (count,), device=device)
    advantages = torch.randn(count, device=device)
    gradients = []
    for rows in (7, 64, count):
        embedding.weight.grad = states.grad = None
        with torch.autocast(device, torch.bfloat16):
            found = token_logprobs(
                states, tokens, OutputHead(embedding), most_bytes=rows * vocab * 4
            )
        (found.logprobs * advantages).sum().backward()
        assert embedding.weight.grad is not None and states.grad is not None
        gradients.append((embedding.weight.grad.double(), states.grad.double()))
    for other in gradients[1:]:
        for x, y in zip(gradients[0], other, strict=True):
            assert float((x - y).norm() / y.norm()) < 1e-4
    # What is rounded are operands: within 8 bits of the exact result, not of its parts' sum.
    exact = states.detach().double() @ embedding.weight.detach().double().T
    wanted = exact.log_softmax(1).gather(1, tokens[:, None])[:, 0]
    assert float((found.logprobs.detach().double() - wanted).abs().mean()) < 2e-3
    assert found.logprobs.dtype == torch.float32


def test_a_frozen_head_gets_no_gradient() -> None:
    head = make_head(True, None, torch.float32)
    head.embedding.requires_grad_(False)
    states, tokens, a, _ = make_states(torch.float32)
    (token_logprobs(states, tokens, head).logprobs * a).sum().backward()
    assert states.grad is not None and head.weight.grad is None


def test_tokens_that_are_ruled_out_do_not_spoil_entropies() -> None:
    head = make_head(True, None, torch.float32)
    with torch.no_grad():
        head.embedding.bias[7:] = -torch.inf
    states, tokens, a, b = make_states(torch.float32)
    found = token_logprobs(states, tokens % 7, head, with_entropy=True)
    (found.logprobs * a + found.entropy * b).sum().backward()
    assert states.grad is not None and torch.isfinite(states.grad).all()
    logits = 0.7 * head.embedding(states)[:, :7]
    torch.testing.assert_close(found.entropy, token_entropy(logits))


def test_no_token_at_all() -> None:
    head = make_head(False, None, torch.float32)
    states, tokens, _, _ = make_states(torch.float32)
    found = token_logprobs(states[:0], tokens[:0], head, with_entropy=True)
    assert found.logprobs.shape == found.entropy.shape == (0,)
