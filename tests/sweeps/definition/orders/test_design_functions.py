"""Task-order designs: properties of all of them, and the balance that each one guarantees."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import InvalidConfigError
from sweeps.definition.orders import (
    ALL_UP_TO,
    BALANCES,
    MEASURED,
    ORDERS,
    OrderDesign,
    latin_square,
    williams,
)

SEEDS = st.integers(0, 2**32)


def count_for(design: str, num_tasks: int) -> int | None:
    if design not in {"random", "space_filling"}:
        return None
    return min(6, math.factorial(num_tasks))


@pytest.mark.parametrize("design", ORDERS)
@given(num_tasks=st.integers(1, 6), seed=SEEDS)
@settings(deadline=None, max_examples=40)
def test_every_design_gives_distinct_permutations_and_the_same_for_the_same_seed(
    design: str, num_tasks: int, seed: int
) -> None:
    count = count_for(design, num_tasks)
    orders = ORDERS[design](num_tasks, count, seed, None)
    assert all(sorted(order) == list(range(num_tasks)) for order in orders)
    assert len(set(orders)) == len(orders) > 0
    assert orders == ORDERS[design](num_tasks, count, seed, None)


@given(num_tasks=st.integers(1, 12), seed=SEEDS)
@settings(deadline=None)
def test_a_latin_square_has_each_task_once_at_each_position(num_tasks: int, seed: int) -> None:
    square = latin_square(num_tasks, None, seed)
    assert len(square) == num_tasks
    for column in zip(*square, strict=True):
        assert sorted(column) == list(range(num_tasks))


@given(num_tasks=st.integers(2, 12), cut=st.integers(1, 12), seed=SEEDS)
@settings(deadline=None)
def test_a_cut_latin_square_has_each_task_at_most_once_at_each_position(
    num_tasks: int, cut: int, seed: int
) -> None:
    cut = min(cut, num_tasks)
    square = latin_square(num_tasks, cut, seed)
    assert len(square) == cut
    for column in zip(*square, strict=True):
        assert len(set(column)) == cut


@given(num_tasks=st.integers(2, 13), seed=SEEDS)
@settings(deadline=None)
def test_williams_has_every_ordered_pair_of_neighbours_equally_often(
    num_tasks: int, seed: int
) -> None:
    orders = williams(num_tasks, None, seed)
    times = 1 if num_tasks % 2 == 0 else 2
    assert len(orders) == times * num_tasks
    neighbours = Counter(pair for order in orders for pair in pairwise(order))
    assert len(neighbours) == num_tasks * (num_tasks - 1)
    assert set(neighbours.values()) == {times}
    for column in zip(*orders, strict=True):
        assert set(Counter(column).values()) == {times}


@given(num_tasks=st.integers(3, 6), seed=SEEDS)
@settings(deadline=None)
def test_more_random_orders_keep_the_earlier_ones(num_tasks: int, seed: int) -> None:
    assert ORDERS["random"](num_tasks, 5, seed, None)[:3] == ORDERS["random"](
        num_tasks, 3, seed, None
    )


def test_random_can_exhaust_all_orders() -> None:
    assert set(ORDERS["random"](4, 24, 0, None)) == set(ORDERS["all"](4, None, 0, None))


def test_seeds_matter_where_they_should() -> None:
    for design, count in (("random", 3), ("latin_square", None), ("williams", None)):
        assert ORDERS[design](6, count, 1, None) != ORDERS[design](6, count, 2, None)
    assert ORDERS["latin_square"](3, None, 0, None) == ((0, 1, 2), (1, 2, 0), (2, 0, 1))


def test_every_design_says_what_it_balances() -> None:
    assert set(BALANCES) == {*ORDERS, *MEASURED, "explicit"}
    assert "carry-over" in OrderDesign(design="williams").balances


@pytest.mark.parametrize(
    ("design", "num_tasks", "count", "message"),
    [
        ("random", 3, 7, "orders.count: got 7, allowed: 1 to 6, the number of orders of 3 tasks"),
        ("random", 3, None, "Set the number of random orders to draw"),
        ("random", 3, 0, "orders.count: got 0, allowed: 1 to 6"),
        ("space_filling", 3, 7, "allowed: 1 to 6, the number of orders of 3 tasks"),
        (
            "space_filling",
            8,
            5041,
            "allowed: 1 to 5040, the number of candidates of `space_filling`",
        ),
        ("space_filling", 3, None, "Set the number of space_filling orders to draw"),
        ("all", ALL_UP_TO + 1, None, "8 tasks have 40320 orders"),
        ("all", 3, 2, "orders.count: got 2, allowed: to be left out, or 6"),
        ("identity", 3, 2, "orders.count: got 2, allowed: to be left out, or 1"),
        ("latin_square", 4, 5, "orders.count: got 5, allowed: 1 to 4, the rows of the square"),
        ("williams", 5, 5, "to be left out, or 10: `williams` has that many orders. Fewer rows"),
    ],
)
def test_a_count_that_does_not_fit_is_refused(
    design: str, num_tasks: int, count: int | None, message: str
) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        OrderDesign(design=design, count=count).orders(num_tasks)  # type: ignore[arg-type]
    assert message in str(refused.value)
