"""pass@k and n@k: exact expectations over draws without replacement, not simulations."""

from collections.abc import Sequence
from math import comb, fsum

import numpy as np
from numpy.typing import NDArray

Flags = Sequence[bool] | NDArray[np.bool_]


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Chance that at least one of k samples is correct (Chen et al. 2021, unbiased).

    Args:
        num_samples: Samples of one problem.
        num_correct: How many of them pass all tests.
        k: Samples drawn, without replacement.

    Returns:
        ``1 - C(num_samples - num_correct, k) / C(num_samples, k)``.

    Raises:
        ValueError: Not 1 <= k <= num_samples, or not 0 <= num_correct <= num_samples.

    Example:
        >>> pass_at_k(num_samples=4, num_correct=1, k=2)
        0.5
    """
    _check_k(k, num_samples)
    if not 0 <= num_correct <= num_samples:
        raise ValueError(
            f"num_correct is {num_correct}, but there are {num_samples} samples: "
            f"allowed are 0 to {num_samples}"
        )
    return _chance_of_any(num_samples, num_correct, k)


def n_at_k(passed_public: Flags, passed_all: Flags, n: int, k: int) -> float:
    """Chance that one of n solutions, chosen from k samples by the public tests, is correct.

    k samples are drawn without replacement and at most n of them submitted, those that pass the
    public tests first and at random among equals (Li et al. 2022). The number of drawn samples
    that pass the public tests is hypergeometric, so the expectation is exact and unbiased. With
    n >= k it is pass@k.

    RLEF counts every turn as a sample: for episodes of up to T turns give one entry per episode,
    of its last program, and ``k // T`` for k (10@100 with three turns: n=10, k=33).

    Args:
        passed_public: For each sample of one problem, whether it passes the public tests.
        passed_all: Likewise for public and private tests together.
        n: Submissions.
        k: Samples drawn.

    Returns:
        A probability.

    Raises:
        ValueError: Lengths differ, n < 1, not 1 <= k <= samples, or a sample passes all tests
            but not the public ones.

    Example:
        >>> n_at_k([True, True, False, False], [True, False, False, False], n=1, k=4)
        0.5
    """
    num_samples = len(passed_public)
    if len(passed_all) != num_samples:
        raise ValueError(
            f"passed_public has {num_samples} samples, but passed_all has {len(passed_all)}"
        )
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    _check_k(k, num_samples)
    for i, (public, everything) in enumerate(zip(passed_public, passed_all, strict=True)):
        if everything and not public:
            raise ValueError(
                f"sample {i} passes all tests but not the public ones, which are among them"
            )
    candidates = sum(map(bool, passed_public))
    correct = sum(map(bool, passed_all))
    others = num_samples - candidates
    total = comb(num_samples, k)
    # Correct samples are among the candidates, so only submitted candidates can solve it.
    return fsum(
        comb(candidates, drawn)
        * comb(others, k - drawn)
        / total
        * _chance_of_any(candidates, correct, min(n, drawn))
        for drawn in range(max(0, k - others), min(k, candidates) + 1)
    )


def _chance_of_any(num_samples: int, num_correct: int, k: int) -> float:
    """Chance that k draws without replacement hold a correct sample; exact until the division."""
    total = comb(num_samples, k)
    return (total - comb(num_samples - num_correct, k)) / total


def _check_k(k: int, num_samples: int) -> None:
    if not 1 <= k <= num_samples:
        raise ValueError(f"k is {k}, but there are {num_samples} samples: allowed are 1 to that")
