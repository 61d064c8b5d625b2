"""Task orders derived from the data: chains through a measured table of tasks.

`near_first` starts with the most central task, which has the smallest sum of distances to the
others, and continues with the nearest remaining task. `far_first` starts with the same task and
continues with the farthest remaining task. `easy_to_hard` sorts by difficulty, `hard_to_easy` in
the opposite direction. Ties are resolved by the smaller index. With precedence constraints, each
step chooses among the tasks that are allowed next. With fixed first tasks, a chain continues from
the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clmethods.config.task_table import TaskTable
from sweeps.definition.orders.precedence import Order, Precedence

ChainFunction = Callable[[TaskTable, Precedence, Sequence[int]], Order]
"""Function from (table, precedence, fixed first tasks) to one order that satisfies both."""


def near_first(table: TaskTable, rule: Precedence, fixed: Sequence[int] = ()) -> Order:
    """Return a greedy chain of nearest neighbors."""
    return _greedy_chain(table, rule, fixed, 1.0)


def far_first(table: TaskTable, rule: Precedence, fixed: Sequence[int] = ()) -> Order:
    """Return a greedy chain of farthest neighbors."""
    return _greedy_chain(table, rule, fixed, -1.0)


def easy_to_hard(table: TaskTable, rule: Precedence, fixed: Sequence[int] = ()) -> Order:
    """Return the tasks by ascending error; tasks with equal error by ambiguity."""
    ranks = _ranks(table)
    return rule.greedy(fixed, lambda _, task: ranks[task])


def hard_to_easy(table: TaskTable, rule: Precedence, fixed: Sequence[int] = ()) -> Order:
    """Return the tasks by descending error; tasks with equal error by ambiguity."""
    ranks = _ranks(table)
    return rule.greedy(fixed, lambda _, task: -ranks[task])


CHAINS: dict[str, ChainFunction] = {
    "near_first": near_first,
    "far_first": far_first,
    "easy_to_hard": easy_to_hard,
    "hard_to_easy": hard_to_easy,
}
"""Designs that are derived from a `TaskTable`; `curricula` combines all of them."""


def _greedy_chain(table: TaskTable, rule: Precedence, fixed: Sequence[int], sign: float) -> Order:
    def rank(order: list[int], task: int) -> float:
        row = table.distance[task]
        return sign * row[order[-1]] if order else round(sum(row), 9)

    return rule.greedy(fixed, rank)


def _ranks(table: TaskTable) -> list[int]:
    """Return the number of strictly easier tasks, by task."""
    keys = [*zip(table.error, table.ambiguity, strict=True)]
    return [sum(other < key for other in keys) for key in keys]
