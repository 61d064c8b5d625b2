"""OrderDesign: section `orders` of a sweep file, and the task orders that it defines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

from clmethods.config.stream import StreamConfig
from clmethods.config.task_table import TaskTable
from clmethods.errors import ConfigIssue, InvalidConfigError, nearest, refuse, require
from sweeps.definition.orders.chains import CHAINS
from sweeps.definition.orders.design_functions import ORDERS
from sweeps.definition.orders.precedence import Order, Precedence, cycle_of

Task = int | str
"""Task group, by its index or by its name in the data."""

CURRICULA = "curricula"
"""Design of all chains of `CHAINS`, so that one sweep can compare them."""
MEASURED = (*CHAINS, CURRICULA)
"""Designs that need a `TaskTable`."""
COUNTED = ("random", "space_filling", "latin_square")
"""Designs with a configurable number of orders."""

BALANCES: dict[str, str] = {
    "identity": "Nothing: one order, so that effects of the order cannot be estimated.",
    "reverse": "Nothing: one order, the natural one reversed.",
    "random": "Everything on average: all orders are drawn with equal probability.",
    "space_filling": "Precedence overall: the orders represent all orders better than the same "
    "number of random ones.",
    "all": "Everything exactly: each order once, so that orders are a fixed factor.",
    "latin_square": "Positions: each task once at each position (at most once if cut by count).",
    "williams": "Positions and first-order carry-over: each ordered pair of neighbors equally "
    "often.",
    "near_first": "Nothing: one order, each task followed by the most similar remaining one.",
    "far_first": "Nothing: one order, each task followed by the least similar remaining one.",
    "easy_to_hard": "Nothing: one order, from the easiest task to the hardest.",
    "hard_to_easy": "Nothing: one order, from the hardest task to the easiest.",
    CURRICULA: "Nothing: near-first, far-first, easy-to-hard and hard-to-easy, for comparison.",
    "explicit": "Whatever the listed orders balance.",
}
"""Properties that each design balances, for plans and reports. `balance_lines` computes what a
list of orders balances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDesign:
    """Section `orders` of a sweep file."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    design: Literal[
        "identity",
        "reverse",
        "random",
        "space_filling",
        "all",
        "latin_square",
        "williams",
        "near_first",
        "far_first",
        "easy_to_hard",
        "hard_to_easy",
        "curricula",
        "explicit",
    ] = "identity"
    count: int | None = None
    """Number of orders, for `random` and `space_filling`, and to shorten `latin_square`."""
    seed: int = 0
    """Seed of random orders, and of the task labels of balanced designs (0: unchanged)."""
    list: tuple[tuple[int, ...], ...] = ()
    """Orders, for `explicit`."""
    fixed: tuple[int | str, ...] = ()
    """Tasks that come first in every order, by index or name; the design orders the others."""
    before: tuple[tuple[int | str, ...], ...] = ()
    """Pairs [a, b] of tasks, by index or name: a comes before b in every order."""
    measured: tuple[TaskTable, ...] = ()
    """Task tables of a design that is derived from the data; written by the program."""

    def __post_init__(self) -> None:
        explicit = self.design == "explicit"
        refuse(
            [
                require(
                    not explicit or len(self.list) > 0, "list", self.list, "one or more orders"
                ),
                require(
                    explicit or not self.list,
                    "list",
                    self.list,
                    "to be left out unless design is `explicit`",
                ),
                require(
                    not explicit or self.count is None,
                    "count",
                    self.count,
                    "to be left out, as the orders are listed",
                ),
                require(
                    self.design not in MEASURED or self.count is None,
                    "count",
                    self.count,
                    f"to be left out, as the data determines it; only {[*COUNTED]} use a count",
                ),
                *(
                    require(len(pair) == 2, f"before[{i}]", [*pair], "a pair [a, b] of tasks")
                    for i, pair in enumerate(self.before)
                ),
            ]
        )

    @property
    def balances(self) -> str:
        """Properties that the design balances, in one line."""
        return BALANCES[self.design]

    @property
    def exhaustive(self) -> bool:
        """True if the design contains all orders that its constraints allow (a fixed factor)."""
        return self.design == "all"

    @property
    def needs_table(self) -> bool:
        """True if the orders are derived from the data."""
        return self.design in MEASURED

    def orders(
        self, num_tasks: int, names: tuple[str, ...] = (), table: TaskTable | None = None
    ) -> tuple[Order, ...]:
        """Return the orders for a stream of `num_tasks` tasks.

        `names` are the names of the tasks, if they have names. `table` contains the measurements
        for a design that is derived from the data.

        Raises:
            InvalidConfigError: With paths such as `orders.count`.
            ValueError: If the design needs a table of these tasks and has none.
        """
        return _orders(self, num_tasks, names, table)

    def check(self, num_tasks: int, names: tuple[str, ...] = ()) -> None:
        """Raise the errors of `orders`, without those that depend on the data."""
        if self.needs_table:
            _rule(self, num_tasks, names)
        else:
            self.orders(num_tasks, names)


def task_names(stream: StreamConfig) -> tuple[str, ...]:
    """Return the names of the tasks in the data, by index; () if classes were split into tasks."""
    return tuple(task.name for task in stream.facts.given)


@lru_cache(maxsize=256)  # all configurations need the same orders
def _orders(
    design: OrderDesign, num_tasks: int, names: tuple[str, ...], table: TaskTable | None
) -> tuple[Order, ...]:
    rule, fixed = _rule(design, num_tasks, names)
    if design.design == "explicit":
        return _listed(design.list, num_tasks, names, rule, fixed)
    if design.needs_table:
        if table is None or table.tasks != num_tasks:
            raise ValueError(f"{design.design} needs the table of the {num_tasks} tasks")
        designs = CHAINS if design.design == CURRICULA else (design.design,)
        return tuple(dict.fromkeys(CHAINS[name](table, rule, fixed) for name in designs))
    remaining_rule, remaining = rule.after(fixed)
    rest = ORDERS[design.design](len(remaining), design.count, design.seed, remaining_rule)
    orders = tuple((*fixed, *(remaining[task] for task in order)) for order in rest)
    violated = next((pair for order in orders if (pair := rule.violated_pair(order))), None)
    if violated is not None:
        first, second = (_name(task, names) for task in violated)
        hint = (
            f"`{design.design}` puts every task at every position, so it cannot keep {first} "
            f"before {second}. Use `random`, `space_filling` or `all`, or `fixed` for the first "
            "tasks."
        )
        constraint = "a design that can keep the constraints"
        raise InvalidConfigError([ConfigIssue("orders.design", design.design, constraint, hint)])
    return orders


def _rule(design: OrderDesign, num_tasks: int, names: tuple[str, ...]) -> tuple[Precedence, Order]:
    """Return the precedence of `before` and the indices of `fixed`, checked for consistency."""
    issues: list[ConfigIssue] = []
    pairs: list[tuple[int, int]] = []
    for i, pair in enumerate(design.before):
        ends = [_index(task, f"orders.before[{i}]", num_tasks, names, issues) for task in pair]
        first, second = ends
        if first is not None and second is not None:
            pairs.append((first, second))
    fixed: list[int] = []
    for i, task in enumerate(design.fixed):
        index = _index(task, f"orders.fixed[{i}]", num_tasks, names, issues)
        if index in fixed:
            issues.append(ConfigIssue(f"orders.fixed[{i}]", task, "each task once"))
        elif index is not None:
            fixed.append(index)
    if len(fixed) == num_tasks:
        constraint = f"fewer than the {num_tasks} tasks"
        hint = "One order is `design: explicit` with a `list`."
        issues.append(ConfigIssue("orders.fixed", [*design.fixed], constraint, hint))
    refuse(issues)
    cycle = cycle_of(pairs)
    if cycle:
        cycle_text = " before ".join(_name(task, names) for task in (*cycle, cycle[0]))
        constraint = "constraints that at least one order satisfies"
        written = [[*pair] for pair in design.before]
        hint = f"They form a cycle: {cycle_text}."
        raise InvalidConfigError([ConfigIssue("orders.before", written, constraint, hint)])
    rule = Precedence.of(num_tasks, pairs)
    violated = rule.violated_pair(fixed)
    if violated is not None:
        first_name, second_name = (_name(task, names) for task in violated)
        constraint = f"first tasks with {first_name} before {second_name}, as `before` requires"
        raise InvalidConfigError([ConfigIssue("orders.fixed", [*design.fixed], constraint)])
    return rule, tuple(fixed)


def _listed(
    listed: Sequence[Order],
    num_tasks: int,
    names: tuple[str, ...],
    rule: Precedence,
    fixed: Order,
) -> tuple[Order, ...]:
    """Return the listed orders after checking each of them."""
    natural = [*range(num_tasks)]
    issues: list[ConfigIssue | None] = []
    for i, order in enumerate(listed):
        path = f"orders.list[{i}]"
        constraint = f"a permutation of 0..{num_tasks - 1}, each task once"
        valid = sorted(order) == natural
        issues.append(require(valid, path, [*order], constraint))
        issues.append(require(order not in listed[:i], path, [*order], "each order once"))
        if not valid:
            continue
        start = f"an order that starts with the fixed tasks {[*fixed]}"
        issues.append(require(order[: len(fixed)] == fixed, path, [*order], start))
        if (violated := rule.violated_pair(order)) is not None:
            first, second = (_name(task, names) for task in violated)
            issues.append(ConfigIssue(path, [*order], f"an order with {first} before {second}"))
    refuse(issues)
    return tuple(listed)


def _index(
    task: Task, path: str, num_tasks: int, names: tuple[str, ...], issues: list[ConfigIssue]
) -> int | None:
    """Return the index of a task given by index or name; None, with an issue, if it is invalid."""
    if isinstance(task, int) and 0 <= task < num_tasks:
        return task
    if isinstance(task, str) and task in names:
        return names.index(task)
    constraint = f"a task from 0 to {num_tasks - 1}"
    hint = ""
    if names:
        constraint += f", or one of {[*names]}"
        hint = nearest(task, names) if isinstance(task, str) else ""
    elif isinstance(task, str):
        hint = "The tasks of this stream have no names."
    issues.append(ConfigIssue(path, task, constraint, hint))
    return None


def _name(task: int, names: tuple[str, ...]) -> str:
    return names[task] if names else str(task)
