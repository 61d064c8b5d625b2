"""What a list of orders balances, and what it costs in stages: facts, whoever made the list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from sweeps.definition.orders.precedence import Order


class Spread(NamedTuple):
    """How unequal some counts are: a design balances what it makes equal."""

    least: int
    most: int

    @property
    def even(self) -> bool:
        """Whether all are equal."""
        return self.least == self.most

    def __str__(self) -> str:
        times = "once" if self == (1, 1) else f"{self.most} times"
        return times if self.even else f"{self.least} to {self.most} times"


class StageCost(NamedTuple):
    """Stages of one configuration and seed that is trained in every order of a list."""

    distinct: int
    """Beginnings that differ: what is trained, as orders that begin alike share their beginning
    and a method's stage depends on all tasks before it."""
    unshared: int
    """Sum of the lengths: what would be trained if nothing were shared."""


def position_balance(orders: Sequence[Order]) -> Spread:
    """How often a task comes at a position, over all T x T pairs of both."""
    num_tasks = len(orders[0])
    found = Counter(place for order in orders for place in enumerate(order))
    return _spread(found, num_tasks * num_tasks)


def carry_over_balance(orders: Sequence[Order]) -> Spread:
    """How often a task comes right after another, over all T (T - 1) ordered pairs."""
    num_tasks = len(orders[0])
    found = Counter(pair for order in orders for pair in pairwise(order))
    return _spread(found, num_tasks * (num_tasks - 1))


def stage_cost(orders: Sequence[Order]) -> StageCost:
    """The prefix tree of the orders, and the sum of their lengths."""
    beginnings = {order[:length] for order in orders for length in range(1, len(order) + 1)}
    return StageCost(len(beginnings), sum(map(len, orders)))


def common_beginning(orders: Sequence[Order]) -> int:
    """With how many tasks all orders begin alike."""
    places = [len(set(places)) == 1 for places in zip(*orders, strict=True)]
    return [*places, False].index(False)


def balance_lines(orders: Sequence[Order]) -> list[str]:
    """These facts in words."""
    cost, alike = stage_cost(orders), common_beginning(orders)
    if len(orders) == 1:
        return [f"{cost.distinct} stages per configuration and seed"]
    lines = [f"a task comes {position_balance(orders)} at a position"]
    if len(orders[0]) > 1:
        lines[0] += f", {carry_over_balance(orders)} right after another"
    if alike:
        first = "the first task is" if alike == 1 else f"the first {alike} tasks are"
        lines.append(f"{first} the same in every order")
    saved = cost.unshared - cost.distinct
    shared = f"{cost.unshared} without sharing" if saved else "none of them shared"
    lines.append(f"{cost.distinct} stages per configuration and seed, {shared}")
    return lines


def _spread(found: Counter[Hashable] | Counter[tuple[int, int]], cells: int) -> Spread:
    counts: Iterable[int] = found.values()
    return Spread(min(counts, default=0) if len(found) == cells else 0, max(counts, default=0))
