"""Orders that follow from the data: chains through a measured table of tasks.

`near_first` starts with the most central task, the one with the least sum of distances to the
others, and goes on to the nearest task that is left, `far_first` starts with the same task and
goes on to the farthest. `easy_to_hard` sorts by difficulty, `hard_to_easy` the other way round.
Ties go to the smaller index. Under a rule, each step chooses among the tasks that may come; after
fixed tasks, a chain goes on from the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clmethods.config.task_table import TaskTable
from sweeps.definition.orders.precedence import Order, Precedence

ChainFunction = Callable[[TaskTable, Precedence, Sequence[int]], Order]
"""(table, rule, fixed first tasks) to one order that obeys."""


def near_first(table: TaskTable, rule: Precedence, fixed: Sequence[int] = ()) -> Order:
    """A greedy chain of nearest neighbours."""
    return _walk(table, rule, fixed, 1.0)


def far_first(table: TaskTable, rule: Precedence, fixed: Sequence[int] = ()) -> Order:
    """A greedy chain of farthest neighbours."""
    return _walk(table, rule, fixed, -1.0)


def easy_to_hard(table: TaskTable, rule: Precedence, fixed: Sequence[int] = ()) -> Order:
    """By error, tasks of equal error by ambiguity."""
    ranks = _ranks(table)
    return rule.greedy(fixed, lambda _, task: ranks[task])


def hard_to_easy(table: TaskTable, rule: Precedence, fixed: Sequence[int] = ()) -> Order:
    """By error, the greatest first, tasks of equal error by ambiguity."""
    ranks = _ranks(table)
    return rule.greedy(fixed, lambda _, task: -ranks[task])


CHAINS: dict[str, ChainFunction] = {
    "near_first": near_first,
    "far_first": far_first,
    "easy_to_hard": easy_to_hard,
    "hard_to_easy": hard_to_easy,
}
"""Every design that follows from a `TaskTable`. `curricula` stands for all of them at once."""


def _walk(table: TaskTable, rule: Precedence, fixed: Sequence[int], sign: float) -> Order:
    def rank(order: list[int], task: int) -> float:
        row = table.distance[task]
        return sign * row[order[-1]] if order else round(sum(row), 9)

    return rule.greedy(fixed, rank)


def _ranks(table: TaskTable) -> list[int]:
    """By task, how many tasks are strictly easier."""
    keys = [*zip(table.error, table.ambiguity, strict=True)]
    return [sum(other < key for other in keys) for key in keys]
