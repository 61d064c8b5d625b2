"""Precedence: constraints of the form "task a before task b", and the orders that satisfy them.

The orders that satisfy a partial order are its linear extensions. They are counted exactly, which
allows uniform sampling. Unrelated sets of tasks are counted separately and interleaved. The counts
of consecutive blocks are multiplied. A set that cannot be divided in either way is counted by its
first task. No formula covers all cases: Brightwell and Winkler, Order 8, 1991.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

from clmethods.errors import ConfigIssue, InvalidConfigError

Order = tuple[int, ...]
"""Permutation of the task groups 0..T-1; see `StreamConfig.task_order`."""
Pair = tuple[int, int]
"""Pair (a, b): a comes before b."""

COUNTED = 100_000
"""Maximum number of sets of tasks that are counted, which bounds the time for complex rules."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Precedence:
    """Partial order of T tasks."""

    num_tasks: int
    earlier: tuple[int, ...]
    """Set of all tasks that must come before a task, as a bit mask, by task."""
    _counts: dict[int, int] = field(default_factory=dict)
    _divided: dict[int, tuple[list[int], bool]] = field(default_factory=dict)

    @classmethod
    def of(cls, num_tasks: int, pairs: Sequence[Pair] = ()) -> Precedence:
        """Return the transitive closure of `pairs`, which must have no cycle (see `cycle_of`)."""
        earlier = [0] * num_tasks
        for first, second in pairs:
            earlier[second] |= 1 << first
        for through in range(num_tasks):  # Warshall's algorithm
            for task in range(num_tasks):
                if earlier[task] >> through & 1:
                    earlier[task] |= earlier[through]
        return cls(num_tasks, tuple(earlier))

    @property
    def free(self) -> bool:
        """True if all orders are allowed."""
        return not any(self.earlier)

    def violated_pair(self, order: Sequence[int]) -> Pair | None:
        """Return the first pair (a, b) with b in `order`, or in a prefix, without a before it."""
        done = 0
        for task in order:
            if lacking := self.earlier[task] & ~done:
                return _members(lacking)[0], task
            done |= 1 << task
        return None

    def after(self, start: Sequence[int]) -> tuple[Precedence, Order]:
        """Return the rule of the tasks that remain after `start`, and these tasks, ascending."""
        remaining = tuple(task for task in range(self.num_tasks) if task not in start)
        pairs = [
            (i, j)
            for j, b in enumerate(remaining)
            for i, a in enumerate(remaining)
            if self.earlier[b] >> a & 1
        ]
        return Precedence.of(len(remaining), pairs), remaining

    def greedy(self, start: Sequence[int], rank: Callable[[list[int], int], float]) -> Order:
        """Return `start`, extended by the allowed task with the lowest rank(order so far, task).

        Ties are resolved by the smaller index.
        """
        order = list(start)
        while len(order) < self.num_tasks:
            order.append(min(self._next(order), key=lambda task: (rank(order, task), task)))
        return tuple(order)

    def orders(self) -> Iterator[Order]:
        """Yield all orders that satisfy the rule, in lexicographic order."""
        yield from self._continued([])

    def count(self) -> int:
        """Return the number of orders that satisfy the rule.

        Raises:
            InvalidConfigError: If the rule is too complex to count.
        """
        return self._count((1 << self.num_tasks) - 1)

    def draw(self, generator: random.Random) -> Order:
        """Return a uniformly drawn order that satisfies the rule."""
        return tuple(self._draw((1 << self.num_tasks) - 1, generator))

    def _next(self, order: Sequence[int]) -> list[int]:
        done = sum(1 << task for task in order)
        return [
            task
            for task, before in enumerate(self.earlier)
            if not done >> task & 1 and before & ~done == 0
        ]

    def _continued(self, order: list[int]) -> Iterator[Order]:
        if len(order) == self.num_tasks:
            yield tuple(order)
        for task in self._next(order):
            yield from self._continued([*order, task])

    def _count(self, tasks: int) -> int:
        if tasks & (tasks - 1) == 0:
            return 1
        if tasks not in self._counts:
            if len(self._counts) >= COUNTED:
                constraint = "constraints whose orders can be counted"
                hint = "Use fewer constraints, or fix more tasks with `fixed`."
                raise InvalidConfigError([ConfigIssue("orders.before", "...", constraint, hint)])
            blocks, parallel = self._blocks(tasks)
            if len(blocks) > 1:
                ways = math.prod(map(self._count, blocks))
                sizes = [block.bit_count() for block in blocks]
                if parallel:
                    ways *= math.factorial(sum(sizes)) // math.prod(map(math.factorial, sizes))
            else:
                ways = sum(self._count(tasks & ~(1 << first)) for first in self._firsts(tasks))
            self._counts[tasks] = ways
        return self._counts[tasks]

    def _draw(self, tasks: int, generator: random.Random) -> list[int]:
        if tasks & (tasks - 1) == 0:
            return [tasks.bit_length() - 1] if tasks else []
        blocks, parallel = self._blocks(tasks)
        if len(blocks) == 1:
            firsts = self._firsts(tasks)
            weights = [self._count(tasks & ~(1 << first)) for first in firsts]
            at = generator.randrange(sum(weights))
            first = next(f for i, f in enumerate(firsts) if at < sum(weights[: i + 1]))
            return [first, *self._draw(tasks & ~(1 << first), generator)]
        drawn = [iter(self._draw(block, generator)) for block in blocks]
        turns = [i for i, block in enumerate(blocks) for _ in range(block.bit_count())]
        if parallel:
            generator.shuffle(turns)
        return [next(drawn[turn]) for turn in turns]

    def _firsts(self, tasks: int) -> list[int]:
        return [task for task in _members(tasks) if self.earlier[task] & tasks == 0]

    def _blocks(self, tasks: int) -> tuple[list[int], bool]:
        """Return unrelated blocks and True, or consecutive blocks and False; else one block."""
        if tasks not in self._divided:
            self._divided[tasks] = self._divide(tasks)
        return self._divided[tasks]

    def _divide(self, tasks: int) -> tuple[list[int], bool]:
        related = {
            task: sum(1 << o for o in _members(tasks) if self._related(task, o))
            for task in _members(tasks)
        }
        apart = _components(tasks, related)
        if len(apart) > 1:
            return apart, True
        unrelated = {task: tasks & ~(1 << task) & ~mask for task, mask in related.items()}
        stacked = _components(tasks, unrelated)
        earlier = {block: self.earlier[block.bit_length() - 1] & tasks for block in stacked}
        return sorted(stacked, key=lambda block: (earlier[block] & ~block).bit_count()), False

    def _related(self, first: int, second: int) -> bool:
        return bool(self.earlier[first] >> second & 1 or self.earlier[second] >> first & 1)


def cycle_of(pairs: Sequence[Pair]) -> Order:
    """Return tasks that form a cycle, each required before the next one; () if there is none."""
    after: dict[int, list[int]] = {}
    for first, second in pairs:
        after.setdefault(first, []).append(second)
    acyclic: set[int] = set()

    def follow(path: list[int]) -> Order:
        task = path[-1]
        if task in path[:-1]:
            return tuple(path[path.index(task) : -1])
        for later in after.get(task, []) if task not in acyclic else []:
            if cycle := follow([*path, later]):
                return cycle
        acyclic.add(task)
        return ()

    return next((cycle for task in after if (cycle := follow([task]))), ())


def _members(tasks: int) -> list[int]:
    return [task for task in range(tasks.bit_length()) if tasks >> task & 1]


def _components(tasks: int, neighbors: dict[int, int]) -> list[int]:
    """Return the connected components of a graph as bit masks, by their smallest task."""
    components: list[int] = []
    while tasks:
        block, edge = 0, tasks & -tasks
        while edge:
            block |= edge
            edge = _union(neighbors[task] for task in _members(edge)) & ~block
        components.append(block)
        tasks &= ~block
    return components


def _union(masks: Iterator[int]) -> int:
    union = 0
    for mask in masks:
        union |= mask
    return union
