"""Balance of a list of task orders, and its cost in stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from sweeps.definition.orders.precedence import Order


class CountRange(NamedTuple):
    """Range of counts; a design balances what has equal counts."""

    least: int
    most: int

    @property
    def even(self) -> bool:
        """True if all counts are equal."""
        return self.least == self.most

    def __str__(self) -> str:
        if self.most == 0:
            return "never"
        times = "once" if self.most == 1 else "twice" if self.most == 2 else f"{self.most} times"
        if self.even:
            return times
        return f"at most {times}" if self.least == 0 else f"{self.least} to {self.most} times"


class StageCost(NamedTuple):
    """Stages of one configuration and seed that is trained in every order of a list."""

    distinct: int
    """Number of distinct prefixes: the stages to train. A stage depends on all tasks before it,
    and orders share their common prefix."""
    unshared: int
    """Sum of the lengths of the orders: the stages to train without sharing."""


def position_balance(orders: Sequence[Order]) -> CountRange:
    """Return how often a task is at a position, over all T x T pairs of task and position."""
    num_tasks = len(orders[0])
    counts = Counter(place for order in orders for place in enumerate(order))
    return _spread(counts, num_tasks * num_tasks)


def carry_over_balance(orders: Sequence[Order]) -> CountRange:
    """Return how often a task directly follows another, over all T (T - 1) ordered pairs."""
    num_tasks = len(orders[0])
    counts = Counter(pair for order in orders for pair in pairwise(order))
    return _spread(counts, num_tasks * (num_tasks - 1))


def stage_cost(orders: Sequence[Order]) -> StageCost:
    """Return the size of the prefix tree of the orders, and the sum of their lengths."""
    beginnings = {order[:length] for order in orders for length in range(1, len(order) + 1)}
    return StageCost(len(beginnings), sum(map(len, orders)))


def common_beginning(orders: Sequence[Order]) -> int:
    """Return the length of the common prefix of all orders."""
    places = [len(set(places)) == 1 for places in zip(*orders, strict=True)]
    return [*places, False].index(False)


def balance_lines(orders: Sequence[Order], *, crossed: bool = True) -> list[str]:
    """Return the balance as sentences and, if each seed is run in each order, the cost."""
    cost, alike = stage_cost(orders), common_beginning(orders)
    if len(orders) == 1:
        return [f"{cost.distinct} stages per configuration and seed"]
    lines = [f"each task occurs {position_balance(orders)} at each position"]
    if len(orders[0]) > 1:
        lines[0] += f", and {carry_over_balance(orders)} directly after each other task"
    if alike:
        first = "the first task is" if alike == 1 else f"the first {alike} tasks are"
        lines.append(f"{first} the same in every order")
    if not crossed:
        return lines
    saved = cost.unshared - cost.distinct
    shared = f"{cost.unshared} without sharing" if saved else "none of them shared"
    lines.append(f"{cost.distinct} stages per configuration and seed, {shared}")
    return lines


def _spread(
    counts_by_cell: Counter[Hashable] | Counter[tuple[int, int]], cells: int
) -> CountRange:
    counts: Iterable[int] = counts_by_cell.values()
    return CountRange(
        min(counts, default=0) if len(counts_by_cell) == cells else 0, max(counts, default=0)
    )
