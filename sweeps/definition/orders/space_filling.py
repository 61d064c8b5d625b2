"""Orders that represent all orders: herded with the Mallows kernel.

k(a, b) = exp(-LAMBDA d(a, b) / (T choose 2)) with d the Kendall distance, the number of pairs of
tasks that two orders have the other way round. Kernel herding adds the order that most lowers the
maximum mean discrepancy to all orders that are allowed (Mitchell, Cooper, Frank and Holmes,
Sampling Permutations for Shapley Value Estimation, JMLR 23, 2022, section 3.1).
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
"""Strength of the kernel in the paper."""
POOL = 5040
"""Candidates: all orders where these are no more (7! are), else this many that are drawn."""
SCALE = 2**30
"""Of the kernel in whole numbers: sums are exact, so every machine picks the same orders."""
CHUNK = 512
"""Rows of the kernel matrix that are held at once."""

Numbers = npt.NDArray[np.int64]


def space_filling(rule: Precedence, count: int, seed: int) -> tuple[Order, ...]:
    """The first `count` herded orders; a larger count keeps those of a smaller one."""
    pool = candidates(rule, seed)
    signs = _signs(pool)
    kernel = _kernel_table(rule.num_tasks)
    share = np.zeros(len(pool), np.int64) if rule.free else _sums(signs, kernel)
    near = np.zeros(len(pool), np.int64)
    generator = random.Random(derive_seed(seed, "orders", "herding", rule.num_tasks))
    chosen: list[int] = []
    while len(chosen) < count:
        # herding: the greatest mean kernel to all, less the mean kernel to those chosen (and to
        # itself, which is the same for all); times both numbers, to stay with whole numbers
        gain = (len(chosen) + 1) * share - len(pool) * near
        gain[chosen] = np.iinfo(np.int64).min
        best = np.flatnonzero(gain == gain.max()).tolist()
        chosen.append(best[0] if chosen else generator.choice(best))
        near += kernel[_distances(signs, signs[chosen[-1]][None])[:, 0]]
    return tuple(pool[index] for index in chosen)


def candidates(rule: Precedence, seed: int) -> list[Order]:
    """The orders to choose from."""
    if rule.count() <= POOL:
        return [*islice(rule.orders(), POOL)]
    generator = random.Random(derive_seed(seed, "orders", "space_filling", rule.num_tasks))
    drawn: dict[Order, None] = {}
    while len(drawn) < POOL:
        drawn[rule.draw(generator)] = None
    return [*drawn]


def discrepancy(orders: Sequence[Order]) -> float:
    """Squared maximum mean discrepancy of `orders` to all T! orders; 0 is perfect.

    The mean kernel to all orders is known: Kendall distances to any one order are those of the
    inversions, whose generating function is the product over j of (1 - q^j) / (1 - q).
    """
    num_tasks = len(orders[0])
    pairs = num_tasks * (num_tasks - 1) // 2
    q = math.exp(-LAMBDA / pairs) if pairs else 1.0
    expected = math.prod(sum(q**i for i in range(j)) / j for j in range(1, num_tasks + 1))
    signs = _signs(orders)
    kernel = q ** _distances(signs, signs).astype(np.float64)
    return float(kernel.mean()) - expected


def _kernel_table(num_tasks: int) -> Numbers:
    """k times `SCALE` by Kendall distance 0..(T choose 2)."""
    pairs = num_tasks * (num_tasks - 1) // 2
    values = [math.exp(-LAMBDA * d / max(pairs, 1)) for d in range(pairs + 1)]
    return np.array([round(SCALE * value) for value in values], np.int64)


def _signs(orders: Sequence[Order]) -> npt.NDArray[np.float32]:
    """(n, T choose 2): 1 where the lower of two tasks comes first, else -1."""
    places = np.argsort(np.array(orders, np.int64), axis=1)  # (n, T)
    low, high = np.triu_indices(places.shape[1], 1)
    return np.where(places[:, low] < places[:, high], 1, -1).astype(np.float32)


def _distances(
    signs: npt.NDArray[np.float32], others: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """(n, m) Kendall distances. Products of ones are summed: float32 holds that exactly."""
    doubled: npt.NDArray[np.float32] = signs.shape[1] - signs @ others.T
    return (doubled / 2).astype(np.int64)


def _sums(signs: npt.NDArray[np.float32], kernel: Numbers) -> Numbers:
    """(n,) sum of the kernel between each candidate and all of them."""
    blocks = (signs[start : start + CHUNK] for start in range(0, len(signs), CHUNK))
    return np.concatenate([kernel[_distances(block, signs)].sum(axis=1) for block in blocks])
