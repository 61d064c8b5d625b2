"""Chains through a task table, against tables whose answer is plain."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config.task_table import TaskTable
from sweeps.definition.orders import CHAINS, OrderDesign, Precedence
from tests.sweeps.definition.orders.tables import table_of

FREE = Precedence.of(5)
LINE = TaskTable(
    of="on a line, at 0, 1, 3, 7 and 8",
    distance=tuple(tuple(float(abs(a - b)) for b in (0, 1, 3, 7, 8)) for a in (0, 1, 3, 7, 8)),
    error=(0.0, 0.2, 0.1, 0.0, 0.2),
    ambiguity=(0.3, 0.1, 0.4, 0.2, 0.1),
)


@pytest.mark.parametrize(
    ("chain", "order"),
    [
        ("near_first", (2, 1, 0, 3, 4)),
        ("far_first", (2, 4, 0, 3, 1)),
        ("easy_to_hard", (3, 0, 2, 1, 4)),  # 1 and 4 are equally hard
        ("hard_to_easy", (1, 4, 2, 0, 3)),
    ],
)
def test_a_chain_takes_the_nearest_the_farthest_the_easiest_or_the_hardest(
    chain: str, order: tuple[int, ...]
) -> None:
    assert CHAINS[chain](LINE, FREE, ()) == order
    assert OrderDesign(design=chain).orders(5, (), LINE) == (order,)  # type: ignore[arg-type]


def test_a_chain_chooses_among_what_may_come_and_goes_on_from_fixed_tasks() -> None:
    rule = Precedence.of(5, ((4, 2), (3, 4)))
    assert CHAINS["near_first"](LINE, rule, ()) == (1, 0, 3, 4, 2)
    assert CHAINS["near_first"](LINE, FREE, (0,)) == (0, 1, 2, 3, 4)
    assert CHAINS["easy_to_hard"](LINE, FREE, (4,)) == (4, 3, 0, 2, 1)


@given(num_tasks=st.integers(2, 8), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_near_chains_take_shorter_steps_than_far_ones(num_tasks: int, seed: int) -> None:
    table, rule = table_of(num_tasks, seed), Precedence.of(num_tasks)
    near, far = (CHAINS[name](table, rule, ()) for name in ("near_first", "far_first"))
    assert near[0] == far[0]  # the most central one: they share their first stage
    assert table.distance[near[0]][near[1]] <= table.distance[far[0]][far[1]]


def test_curricula_are_the_distinct_ones_of_the_four() -> None:
    orders = OrderDesign(design="curricula").orders(5, (), LINE)
    assert orders == tuple(CHAINS[name](LINE, FREE, ()) for name in CHAINS)
    pair = OrderDesign(design="curricula").orders(2, (), table_of(2))
    assert len(pair) == 2
