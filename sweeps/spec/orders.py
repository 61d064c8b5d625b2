"""Task-order designs: which orders of the tasks every configuration is trained in."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar, Literal

from clmethods.config.canonical import derive_seed
from clmethods.config.faults import Fault, InvalidConfigError, refuse, require

Order = tuple[int, ...]
"""A permutation of the task groups 0..T-1; see `StreamConfig.task_order`."""
OrderFunction = Callable[[int, int | None, int], tuple[Order, ...]]
"""(num_tasks, count, seed) to distinct orders. Raises `InvalidConfigError` at `orders.count`."""

ALL_UP_TO = 7
"""`all` is refused above this T: 7! = 5040 orders is the most that anybody means."""


def identity(num_tasks: int, count: int | None = None, seed: int = 0) -> tuple[Order, ...]:
    """The natural order, once."""
    _only("identity", 1, count)
    return (tuple(range(num_tasks)),)


def reverse(num_tasks: int, count: int | None = None, seed: int = 0) -> tuple[Order, ...]:
    """The natural order backwards, once."""
    _only("reverse", 1, count)
    return (tuple(reversed(range(num_tasks))),)


def random_orders(num_tasks: int, count: int | None = None, seed: int = 0) -> tuple[Order, ...]:
    """`count` distinct permutations, each equally likely.

    They are drawn one after the other: a larger count keeps the orders of a smaller one.
    """
    most = math.factorial(num_tasks)
    refuse(
        [
            require(
                count is not None and 1 <= count <= most,
                "orders.count",
                count,
                f"1 to {most}, the number of orders of {num_tasks} tasks",
                "Say how many random orders to draw." if count is None else "",
            )
        ]
    )
    generator = random.Random(derive_seed(seed, "orders", "random", num_tasks))
    drawn: dict[Order, None] = {}
    while len(drawn) < (count or 0):
        drawn[tuple(generator.sample(range(num_tasks), num_tasks))] = None
    return tuple(drawn)


def all_orders(num_tasks: int, count: int | None = None, seed: int = 0) -> tuple[Order, ...]:
    """Every permutation, in lexicographic order; refused above `ALL_UP_TO` tasks."""
    total = math.factorial(num_tasks)
    if num_tasks > ALL_UP_TO:
        mend = (
            f"{num_tasks} tasks have {total} orders. Use `random`, `latin_square` or `williams`."
        )
        raise InvalidConfigError([Fault("orders.design", "all", f"up to {ALL_UP_TO} tasks", mend)])
    _only("all", total, count, "Use `random` for some of them.")
    return tuple(permutations(range(num_tasks)))


def latin_square(num_tasks: int, count: int | None = None, seed: int = 0) -> tuple[Order, ...]:
    """The first `count` rows of the cyclic Latin square; all T rows unless told otherwise.

    Row i is i, i+1, …, T-1, 0, …, i-1. Every task keeps the same predecessor in all rows but one,
    so the square says nothing about carry-over; `williams` does. A seed other than 0 relabels the
    tasks, which changes who follows whom and keeps the square Latin.
    """
    rows = num_tasks if count is None else count
    refuse(
        [
            require(
                1 <= rows <= num_tasks,
                "orders.count",
                count,
                f"1 to {num_tasks}, the rows of the square of {num_tasks} tasks",
            )
        ]
    )
    square = [tuple((row + i) % num_tasks for i in range(num_tasks)) for row in range(rows)]
    return _relabelled("latin_square", square, seed)


def williams(num_tasks: int, count: int | None = None, seed: int = 0) -> tuple[Order, ...]:
    """The Williams design (Aust. J. Sci. Res. A 2, 1949): T rows for even T, 2T rows for odd T.

    The first row 0, T-1, 1, T-2, … steps by every nonzero difference modulo T once if T is even;
    its T shifts then hold every ordered pair of neighbours once. For odd T a row steps by half of
    the differences only, twice each, and the mirrored rows supply the negative half.
    A seed other than 0 relabels the tasks, which keeps the balance.
    """
    first = [i // 2 if i % 2 == 0 else num_tasks - 1 - i // 2 for i in range(num_tasks)]
    rows = [tuple((task + shift) % num_tasks for task in first) for shift in range(num_tasks)]
    if num_tasks % 2 == 1 and num_tasks > 1:
        rows += [tuple(reversed(row)) for row in rows]
    _only("williams", len(rows), count, "Fewer rows would lose the balance.")
    return _relabelled("williams", rows, seed)


ORDERS: dict[str, OrderFunction] = {
    "identity": identity,
    "reverse": reverse,
    "random": random_orders,
    "all": all_orders,
    "latin_square": latin_square,
    "williams": williams,
}
"""Every design that is computed. `explicit` is what the user lists, see `OrderDesign`."""

BALANCES: dict[str, str] = {
    "identity": "Nothing: one order, so no statement about orders is possible.",
    "reverse": "Nothing: one order, the natural one backwards.",
    "random": "In expectation, everything: every order is equally likely to be drawn.",
    "all": "Everything exactly: each order once, so orders are a fixed factor.",
    "latin_square": "Positions: each task once at each position (at most once if cut by count).",
    "williams": "Positions and first-order carry-over: each ordered pair of neighbours equally "
    "often.",
    "explicit": "What the listed orders balance; nothing is checked.",
}
"""What each design balances, for plans and reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDesign:
    """What a sweep file says under `orders`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    design: Literal[
        "identity", "reverse", "random", "all", "latin_square", "williams", "explicit"
    ] = "identity"
    count: int | None = None
    """Number of orders, for `random` and to cut `latin_square`."""
    seed: int = 0
    """Which random orders; which labels the balanced designs give the tasks (0: as they are)."""
    list: tuple[tuple[int, ...], ...] = ()
    """The orders themselves, for `explicit`."""

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
            ]
        )

    @property
    def balances(self) -> str:
        """What the design balances, in one line."""
        return BALANCES[self.design]

    def orders(self, num_tasks: int) -> tuple[Order, ...]:
        """The orders for a stream of `num_tasks` tasks.

        Raises `InvalidConfigError` with paths such as `orders.count`.
        """
        if self.design != "explicit":
            return ORDERS[self.design](num_tasks, self.count, self.seed)
        natural = [*range(num_tasks)]
        law = f"a permutation of 0..{num_tasks - 1}, each task once"
        refuse(
            [
                fault
                for i, order in enumerate(self.list)
                for fault in (
                    require(sorted(order) == natural, f"orders.list[{i}]", [*order], law),
                    require(
                        order not in self.list[:i],
                        f"orders.list[{i}]",
                        [*order],
                        "each order once",
                    ),
                )
            ]
        )
        return self.list


def _only(design: str, rows: int, count: int | None, mend: str = "") -> None:
    """Refuse a count that is not the one that the design has."""
    law = f"to be left out, or {rows}: `{design}` has that many orders"
    refuse([require(count in {None, rows}, "orders.count", count, law, mend)])


def _relabelled(design: str, rows: Sequence[Order], seed: int) -> tuple[Order, ...]:
    if seed == 0:
        return tuple(rows)
    labels = list(range(len(rows[0])))
    random.Random(derive_seed(seed, "orders", design, len(labels))).shuffle(labels)
    return tuple(tuple(labels[task] for task in row) for row in rows)
