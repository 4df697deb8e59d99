import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlef.algorithms import KLEstimator, approx_kl, kl_estimates, turn_kl_penalty

NAN = math.nan


def test_turn_means_by_hand() -> None:
    logprobs = torch.tensor([[NAN, -1.0, -2.0, NAN, -0.5]])
    ref_logprobs = torch.tensor([[NAN, -1.5, -4.0, NAN, -0.25]])
    turn_ids = torch.tensor([[-1, 0, 0, -1, 2]])
    penalty = turn_kl_penalty(logprobs, ref_logprobs, turn_ids, 4)
    # (0.5 + 2) / 2; turn 1 and 3 have no tokens
    assert penalty.tolist() == [[1.25, 0.0, -0.25, 0.0]]


def test_does_not_depend_on_the_length_of_the_answer() -> None:
    def penalty(length: int) -> float:
        ones = torch.ones(1, length)
        return turn_kl_penalty(-ones, -2 * ones, torch.zeros(1, length).long(), 1).item()

    assert penalty(1) == penalty(500) == 1.0


token = st.tuples(st.floats(-9, 0), st.floats(-9, 0), st.integers(-1, 3))


@given(
    st.integers(1, 9).flatmap(
        lambda n: st.lists(st.lists(token, min_size=n, max_size=n), min_size=1, max_size=3)
    )
)
def test_against_loop(rows: list[list[tuple[float, float, int]]]) -> None:
    table = torch.tensor([[[p, r] for p, r, _ in row] for row in rows], dtype=torch.float64)
    turn_ids = torch.tensor([[u for _, _, u in row] for row in rows])
    expected = torch.zeros(len(rows), 4, dtype=torch.float64)
    for b, row in enumerate(rows):
        for turn in range(4):
            differences = [p - r for p, r, u in row if u == turn]
            if differences:
                expected[b, turn] = sum(differences) / len(differences)
    junk = torch.where(turn_ids[..., None] >= 0, table, NAN)
    torch.testing.assert_close(turn_kl_penalty(junk[..., 0], junk[..., 1], turn_ids, 4), expected)


def test_without_gradient_and_in_float32() -> None:
    logprobs = torch.zeros(1, 2, dtype=torch.bfloat16, requires_grad=True)
    penalty = turn_kl_penalty(logprobs, torch.zeros(1, 2), torch.zeros(1, 2).long(), 1)
    assert not penalty.requires_grad
    assert penalty.dtype is torch.float32


def test_refuses_turns_beyond_the_last() -> None:
    with pytest.raises(ValueError, match="turn_ids has turn 2, but num_turns is 2"):
        turn_kl_penalty(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([[2]]), 2)


def test_approx_kl_by_hand() -> None:
    old = torch.tensor([[math.log(0.5), math.log(0.5), NAN]])
    now = torch.tensor([[math.log(0.75), math.log(0.25), NAN]])
    mask = torch.tensor([[True, True, False]])
    # ratios 1.5 and 0.5; their mean - 1 is 0, and -(log 1.5 + log 0.5) / 2 is the exact KL
    assert approx_kl(now, old, mask).item() == pytest.approx(-math.log(0.75) / 2)
    assert approx_kl(now, old, mask, denominator=4).item() == pytest.approx(-math.log(0.75) / 4)


@given(st.lists(st.tuples(st.floats(-9, 0), st.floats(-9, 0)), min_size=1, max_size=9))
def test_approx_kl_is_never_negative(pairs: list[tuple[float, float]]) -> None:
    table = torch.tensor(pairs)
    assert approx_kl(table[:, 0], table[:, 1], torch.ones(len(pairs)).bool()).item() >= 0


def test_approx_kl_is_exact_in_expectation() -> None:
    p, q = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.4, 0.4, 0.2])
    counts = torch.tensor([2, 3, 5])  # tokens sampled by p, in its proportions
    now, old = (x.log().repeat_interleave(counts) for x in (q, p))
    exact = (p * (p / q).log()).sum().item()
    assert approx_kl(now, old, torch.ones(10).bool()).item() == pytest.approx(exact)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    # policy 0.75 and 0.25, reference 0.5: d = log 1.5, -log 2
    [
        ("k2", [math.log(1.5) ** 2 / 2, math.log(2) ** 2 / 2]),
        ("k3", [1 / 1.5 - 1 + math.log(1.5), 2 - 1 - math.log(2)]),
    ],
)
def test_estimates_by_hand(estimator: KLEstimator, expected: list[float]) -> None:
    now = torch.tensor([[math.log(0.75), math.log(0.25), NAN]])
    ref = torch.tensor([[math.log(0.5), math.log(0.5), NAN]])
    estimates = kl_estimates(now, ref, torch.tensor([[True, True, False]]), estimator)
    torch.testing.assert_close(estimates, torch.tensor([[*expected, 0.0]]))


def test_k3_is_exact_in_expectation() -> None:
    p, q = torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([[0.4, 0.4, 0.2]])
    exact = (p * (p / q).log()).sum().item()
    estimates = kl_estimates(p.log(), q.log(), torch.ones(1, 3).bool(), "k3")
    assert (p * estimates).sum().item() == pytest.approx(exact)


def test_k2_has_the_gradient_of_the_divergence_on_the_policys_own_samples() -> None:
    logits = torch.tensor([[0.3, -0.5, 1.0]], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([[0.4, 0.4, 0.2]], dtype=torch.float64)
    logprobs = logits.log_softmax(1)
    exact = (logprobs.exp() * (logprobs - q.log())).sum()
    [wanted] = torch.autograd.grad(exact, logits, retain_graph=True)
    estimates = kl_estimates(logprobs, q.log(), torch.ones(1, 3).bool(), "k2")
    [ours] = torch.autograd.grad((logprobs.exp().detach() * estimates).sum(), logits)
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-12)


@given(st.floats(-80, 0), st.floats(-80, 0))
def test_k2_and_k3_are_never_negative_and_finite(now: float, ref: float) -> None:
    for estimator in ("k2", "k3"):
        leaf = torch.tensor([[now]], requires_grad=True)
        [[estimate]] = kl_estimates(leaf, torch.tensor([[ref]]), torch.tensor([[True]]), estimator)
        estimate.backward()
        assert estimate.item() >= 0 and math.isfinite(estimate.item())
        assert leaf.grad is not None and torch.isfinite(leaf.grad).all()
