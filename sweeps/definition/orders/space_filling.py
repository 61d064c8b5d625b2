"""Space-filling task orders, selected by kernel herding with the Mallows kernel.

k(a, b) = exp(-LAMBDA d(a, b) / (T choose 2)), where d is the Kendall distance: the number of pairs
of tasks that two orders rank in opposite ways. Kernel herding adds the order that reduces the
maximum mean discrepancy to all allowed orders most (Mitchell, Cooper, Frank and Holmes, Sampling
Permutations for Shapley Value Estimation, JMLR 23, 2022, section 3.1).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from clmethods.canonical import derive_seed
from sweeps.definition.orders.precedence import Order, Precedence

LAMBDA = 4.0
"""Scale of the kernel, as in the paper."""
POOL = 5040
"""Number of candidates: all orders if there are at most this many (7!), else random ones."""
SCALE = 2**30
"""Factor of the kernel in integers; sums are exact, so that all machines select equal orders."""
CHUNK = 512
"""Number of rows of the kernel matrix in memory at a time."""

Numbers = npt.NDArray[np.int64]


def space_filling(rule: Precedence, count: int, seed: int) -> tuple[Order, ...]:
    """Return the first `count` herded orders; a larger count starts with those of a smaller."""
    pool = candidates(rule, seed)
    signs = _signs(pool)
    kernel = _kernel_table(rule.num_tasks)
    share = np.zeros(len(pool), np.int64) if rule.free else _sums(signs, kernel)
    near = np.zeros(len(pool), np.int64)
    generator = random.Random(derive_seed(seed, "orders", "herding", rule.num_tasks))
    chosen: list[int] = []
    while len(chosen) < count:
        # Herding: the largest difference between the mean kernel to all candidates and the mean
        # kernel to the selected ones (and to itself, which is constant). It is multiplied by both
        # numbers to stay in integers.
        gain = (len(chosen) + 1) * share - len(pool) * near
        gain[chosen] = np.iinfo(np.int64).min
        best = np.flatnonzero(gain == gain.max()).tolist()
        chosen.append(best[0] if chosen else generator.choice(best))
        near += kernel[_distances(signs, signs[chosen[-1]][None])[:, 0]]
    return tuple(pool[index] for index in chosen)


def candidates(rule: Precedence, seed: int) -> list[Order]:
    """Return the candidates for the selection."""
    if rule.count() <= POOL:
        return [*islice(rule.orders(), POOL)]
    generator = random.Random(derive_seed(seed, "orders", "space_filling", rule.num_tasks))
    drawn: dict[Order, None] = {}
    while len(drawn) < POOL:
        drawn[rule.draw(generator)] = None
    return [*drawn]


def discrepancy(orders: Sequence[Order]) -> float:
    """Return the squared maximum mean discrepancy of `orders` to all T! orders; 0 is optimal.

    The mean kernel to all orders has a closed form: the Kendall distances to any order have the
    distribution of the inversions, with the generating function prod_j (1 - q^j) / (1 - q).
    """
    num_tasks = len(orders[0])
    pairs = num_tasks * (num_tasks - 1) // 2
    q = math.exp(-LAMBDA / pairs) if pairs else 1.0
    expected = math.prod(sum(q**i for i in range(j)) / j for j in range(1, num_tasks + 1))
    signs = _signs(orders)
    kernel = q ** _distances(signs, signs).astype(np.float64)
    return float(kernel.mean()) - expected


def _kernel_table(num_tasks: int) -> Numbers:
    """Return k times `SCALE` by Kendall distance 0..(T choose 2)."""
    pairs = num_tasks * (num_tasks - 1) // 2
    values = [math.exp(-LAMBDA * d / max(pairs, 1)) for d in range(pairs + 1)]
    return np.array([round(SCALE * value) for value in values], np.int64)


def _signs(orders: Sequence[Order]) -> npt.NDArray[np.float32]:
    """Return (n, T choose 2): 1 where the task with the smaller index comes first, else -1."""
    places = np.argsort(np.array(orders, np.int64), axis=1)  # (n, T)
    low, high = np.triu_indices(places.shape[1], 1)
    return np.where(places[:, low] < places[:, high], 1, -1).astype(np.float32)


def _distances(
    signs: npt.NDArray[np.float32], others: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Return the Kendall distances (n, m); float32 represents these sums of ±1 exactly."""
    doubled: npt.NDArray[np.float32] = signs.shape[1] - signs @ others.T
    return (doubled / 2).astype(np.int64)


def _sums(signs: npt.NDArray[np.float32], kernel: Numbers) -> Numbers:
    """Return the sum of the kernel between each candidate and all candidates, shape (n,)."""
    blocks = (signs[start : start + CHUNK] for start in range(0, len(signs), CHUNK))
    return np.concatenate([kernel[_distances(block, signs)].sum(axis=1) for block in blocks])
