"""Log-probabilities from hidden states, against autograd on whole logits."""

import pytest
import torch
from torch import Tensor, nn

from rlef.algorithms import token_entropy
from rlef.learner.head import OutputHead
from rlef.learner.logprobs import likeliest_tokens, token_logprobs
from rlef.learner.teacher import cross_entropy

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


# --- a teacher's tokens ---------------------------------------------------------------------------


def whole_logits(head: OutputHead, states: Tensor, cap: float | None) -> Tensor:
    logits = 0.7 * head.embedding(states)
    return (logits if cap is None else cap * torch.tanh(logits / cap)) / 0.6


@pytest.mark.parametrize("cap", [None, 5.0])
@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("entropy", [False, True])
def test_several_tokens_at_a_place(cap: float | None, rows: int, entropy: bool) -> None:
    """Values, cross-entropies and gradients, against whole logits."""
    head = make_head(True, cap, torch.float64)
    states, first, a, b = make_states(torch.float64)
    logits = whole_logits(head, states, cap)
    q, ids = (logits.detach() + torch.randn_like(logits)).softmax(1).topk(5)
    q = q / q.sum(1, keepdim=True)
    q[2] = q[7] = 0  # of tokens that are not taught
    ids[2] = 0
    ids[4, 1] = first[4]
    tokens = torch.cat([first[:, None], ids], 1)
    wanted = logits.log_softmax(1).gather(1, tokens)
    most = rows * VOCAB * 4
    found = token_logprobs(states, tokens, head, 0.6, with_entropy=entropy, most_bytes=most)
    torch.testing.assert_close(found.logprobs, wanted)
    ours, theirs = cross_entropy(found.logprobs[:, 1:], q), -(q * wanted[:, 1:]).sum(1)
    torch.testing.assert_close(ours, theirs)
    assert ours[2] == ours[7] == 0
    ours = (ours * b + found.logprobs[:, 0] * a).sum()
    theirs = (theirs * b + wanted[:, 0] * a).sum()
    if entropy:
        ours, theirs = ours + found.entropy.sum(), theirs + token_entropy(logits).sum()
    wrt = [states, *head.embedding.parameters()]
    for x, y in zip(torch.autograd.grad(ours, wrt), torch.autograd.grad(theirs, wrt), strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("cap", [None, 5.0])
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_the_likeliest_tokens_are_those_of_whole_logits(cap: float | None, rows: int) -> None:
    head = make_head(True, cap, torch.float64)
    states, *_ = make_states(torch.float64)
    chances = whole_logits(head, states, cap).softmax(1).detach()
    wanted, wanted_ids = chances.topk(5)
    ids, probs = likeliest_tokens(states, head, 5, 0.6, most_bytes=rows * VOCAB * 4)
    assert ids.equal(wanted_ids) and not probs.requires_grad
    torch.testing.assert_close(probs, (wanted / wanted.sum(1, keepdim=True)).float())
    _, all_probs = likeliest_tokens(states, head, VOCAB + 9, 0.6)
    torch.testing.assert_close(all_probs, chances.sort(1, descending=True)[0].float())


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=ON_GPU)])
def test_a_teachers_tokens_in_bfloat16(device: str) -> None:
    """Parts of any size give the same in float32, near what whole logits in float64 give."""
    torch.manual_seed(0)
    count, hidden, vocab = 300, 64, 3000
    embedding = nn.Linear(hidden, vocab, bias=False, device=device)
    head = OutputHead(embedding)
    states = torch.randn(count, hidden, device=device, requires_grad=True)
    exact = states.detach().double() @ embedding.weight.detach().double().T
    gradients = []
    for rows in (7, count):
        embedding.weight.grad = states.grad = None
        most = rows * vocab * 4
        with torch.autocast(device, torch.bfloat16):
            ids, q = likeliest_tokens(states, head, 16, most_bytes=most)
            found = token_logprobs(states, ids, head, most_bytes=most).logprobs
        away = cross_entropy(found, q)
        away.sum().backward()
        assert embedding.weight.grad is not None and away.dtype == q.dtype == torch.float32
        gradients.append(embedding.weight.grad.double())
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 1e-4
    wanted = -(q.double() * exact.log_softmax(1).gather(1, ids)).sum(1)
    assert float((away.detach().double() - wanted).abs().mean()) < 2e-3
    whole = exact.softmax(1).scatter_add(1, ids, -q.double()).T @ states.detach().double()
    assert float((gradients[0] - whole).norm() / whole.norm()) < 0.01


def test_what_the_teacher_rules_out_may_be_ruled_out() -> None:
    logprobs = torch.tensor([[-1.0, -torch.inf]], requires_grad=True)
    found = cross_entropy(logprobs, torch.tensor([[1.0, 0.0]]))
    found.sum().backward()
    assert found.tolist() == [1.0] and logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-1.0, 0.0]]
