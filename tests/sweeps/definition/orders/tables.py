"""Made-up task tables, rules and designs for the tests of task orders."""

from __future__ import annotations

import random
from itertools import combinations
from typing import get_args, get_type_hints

from hypothesis import strategies as st

from clmethods.config.task_table import TaskTable
from sweeps.definition.orders import Order, OrderDesign

EVERY_DESIGN: tuple[str, ...] = get_args(get_type_hints(OrderDesign)["design"])
"""Values of `design` that a sweep file may contain."""


def table_of(num_tasks: int, seed: int = 0) -> TaskTable:
    """Tasks at random places in the plane, some of them equally hard."""
    generator = random.Random(seed)
    places = [(generator.random(), generator.random()) for _ in range(num_tasks)]
    return TaskTable(
        of="made-up",
        distance=tuple(
            tuple(round(((a - x) ** 2 + (b - y) ** 2) ** 0.5, 5) for a, b in places)
            for x, y in places
        ),
        error=tuple(round(generator.random(), 1) for _ in range(num_tasks)),
        ambiguity=tuple(round(generator.random() / 2, 5) for _ in range(num_tasks)),
    )


@st.composite
def rules(
    draw: st.DrawFn, least: int = 1, most: int = 7
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """(T, pairs that some order keeps, not transitively closed)."""
    num_tasks = draw(st.integers(least, most))
    hidden: Order = tuple(draw(st.permutations(range(num_tasks))))
    pairs = [*combinations(hidden, 2)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=6)) if pairs else []
    return num_tasks, tuple(chosen)


def obeys(order: Order, pairs: tuple[tuple[int, int], ...]) -> bool:
    """Return True if `order` has a before b for every pair; a reference implementation."""
    return all(order.index(first) < order.index(second) for first, second in pairs)
