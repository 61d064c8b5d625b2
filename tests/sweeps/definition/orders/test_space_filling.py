"""Herded orders: closer to all orders than random ones, and the same everywhere."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from sweeps.definition.orders import ORDERS, Precedence, discrepancy


@pytest.mark.parametrize("num_tasks", [2, 3, 5, 6])
def test_the_discrepancy_of_all_orders_is_zero(num_tasks: int) -> None:
    """So the closed form of the mean kernel equals the mean over all orders."""
    orders = [*permutations(range(num_tasks))]
    assert discrepancy(orders) == pytest.approx(0, abs=1e-5)
    assert discrepancy(orders[:1]) > 0.1


@pytest.mark.parametrize(("num_tasks", "count"), [(4, 6), (5, 8), (6, 12), (10, 10)])
def test_herded_orders_represent_all_orders_better_than_random_ones(
    num_tasks: int, count: int
) -> None:
    seeds = range(2 if num_tasks > 7 else 5)
    herded = [discrepancy(ORDERS["space_filling"](num_tasks, count, s, None)) for s in seeds]
    random = [discrepancy(ORDERS["random"](num_tasks, count, s, None)) for s in range(100)]
    assert max(herded) < np.quantile(random, 0.05)
    assert np.mean(herded) < 0.7 * np.mean(random)


def test_a_larger_count_keeps_the_orders_and_a_seed_changes_them() -> None:
    first = ORDERS["space_filling"](6, 4, 1, None)
    assert ORDERS["space_filling"](6, 9, 1, None)[:4] == first
    assert ORDERS["space_filling"](6, 4, 2, None) != first
    assert len({*ORDERS["space_filling"](4, 24, 0, None)}) == 24


def test_the_orders_are_those_of_every_machine() -> None:
    """Sums are of whole numbers: what was herded once is herded again, bit for bit."""
    pinned = ((0, 3, 4, 2, 1), (1, 2, 4, 3, 0), (0, 1, 2, 3, 4), (4, 3, 2, 1, 0))
    assert ORDERS["space_filling"](5, 4, 0, None) == pinned


def test_under_a_rule_the_orders_represent_those_that_obey() -> None:
    """The lead of task 0 over task 5 is balanced as it is over all orders that obey."""
    rule = Precedence.of(6, ((0, 1), (2, 3)))
    allowed = [*rule.orders()]
    mean = np.mean([[o.index(t) for t in range(6)] for o in allowed], axis=0)

    def gap(orders: tuple[tuple[int, ...], ...]) -> float:
        places = np.mean([[o.index(t) for t in range(6)] for o in orders], axis=0)
        return float(np.abs(places - mean).mean())

    herded = gap(ORDERS["space_filling"](6, 12, 0, rule))
    random = [gap(ORDERS["random"](6, 12, seed, rule)) for seed in range(40)]
    assert herded < np.mean(random)
