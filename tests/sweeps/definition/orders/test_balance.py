"""Facts about lists of orders: even where a design promises it, and costs of the stage tree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.definition import expand, sweep_from_dict
from sweeps.definition.orders import (
    CountRange,
    balance_lines,
    carry_over_balance,
    latin_square,
    position_balance,
    stage_cost,
    williams,
)
from sweeps.planning.stage_tree import StageTree


@given(num_tasks=st.integers(2, 9), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_balanced_designs_are_even_where_they_promise_it(num_tasks: int, seed: int) -> None:
    times = 1 if num_tasks % 2 == 0 else 2
    designed = williams(num_tasks, None, seed)
    assert position_balance(designed) == carry_over_balance(designed) == (times, times)
    square = latin_square(num_tasks, None, seed)
    assert position_balance(square).even
    assert carry_over_balance(square).even == (num_tasks == 2)
    assert position_balance(square[:-1]) == CountRange(0, 1)


def test_facts_in_words() -> None:
    assert balance_lines(williams(4)) == [
        "each task occurs once at each position, and once directly after each other task",
        "16 stages per configuration and seed, none of them shared",
    ]
    assert balance_lines(((0, 1, 2), (0, 2, 1))) == [
        "each task occurs at most twice at each position, and at most once directly after each "
        "other task",
        "the first task is the same in every order",
        "5 stages per configuration and seed, 6 without sharing",
    ]
    assert balance_lines(((0, 1, 2),)) == ["3 stages per configuration and seed"]


@pytest.mark.parametrize("fixed", [[], [2, 0]])
def test_the_cost_is_that_of_the_stage_tree(fixed: list[int]) -> None:
    sweep = sweep_from_dict(
        {
            "name": "cost",
            "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
            "stream": {"dataset": "digits", "tasks": 5},
            "method": {"kind": "lora_sequential", "rank": 2},
            "orders": {"design": "random", "count": 5, "fixed": fixed},
            "seeds": [0, 1],
        }
    )
    orders = sweep.orders_for(sweep.base)
    tree = StageTree.of(expand(sweep))
    assert (tree.distinct, tree.total) == tuple(2 * n for n in stage_cost(orders))
