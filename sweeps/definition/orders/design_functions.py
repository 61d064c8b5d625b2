"""Task-order designs that depend only on the number of tasks, one function per design."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from clmethods.canonical import derive_seed
from clmethods.errors import ConfigIssue, InvalidConfigError, refuse, require
from sweeps.definition.orders import space_filling as herding
from sweeps.definition.orders.precedence import Order, Precedence

OrderFunction = Callable[[int, int | None, int, Precedence | None], tuple[Order, ...]]
"""Function from (num_tasks, count, seed, precedence) to distinct orders; None allows all orders.

The orders satisfy the precedence. Balanced designs cannot guarantee this;
`sweeps.definition.orders.orders_section` checks them. The functions raise `InvalidConfigError` at
`orders.count`, `orders.design` or `orders.before`.
"""

ALL_UP_TO = 7
"""Maximum number of tasks for `all` without constraints: 7! = 5040 orders."""


def identity(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """Return the natural order; with precedence, the smallest task that is allowed next."""
    _only("identity", 1, count)
    return (_rule(num_tasks, rule).greedy((), lambda _, task: task),)


def reverse(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """Return the natural order reversed; with precedence, the largest task allowed next."""
    _only("reverse", 1, count)
    return (_rule(num_tasks, rule).greedy((), lambda _, task: -task),)


def random_orders(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """Return `count` distinct permutations, uniformly drawn from those that satisfy the rule.

    They are drawn sequentially: a larger count starts with the orders of a smaller one.
    """
    num_orders = _counted("random", num_tasks, count, rule)
    generator = random.Random(derive_seed(seed, "orders", "random", num_tasks))
    drawn: dict[Order, None] = {}
    while len(drawn) < num_orders:
        if rule is None or rule.free:
            drawn[tuple(generator.sample(range(num_tasks), num_tasks))] = None
        else:
            drawn[rule.draw(generator)] = None
    return tuple(drawn)


def space_filling(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """Return `count` distinct permutations that represent all orders better than random ones.

    See `sweeps.definition.orders.space_filling`. A larger count starts with the orders of a
    smaller one.
    """
    num_orders = _counted("space_filling", num_tasks, count, rule, herding.POOL)
    return herding.space_filling(_rule(num_tasks, rule), num_orders, seed)


def all_orders(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """Return all permutations that satisfy the rule, in lexicographic order, at most 7!."""
    rule = _rule(num_tasks, rule)
    total, most = rule.count(), math.factorial(ALL_UP_TO)
    if total > most:
        suffix = "" if rule.free else " left by the constraints"
        hint = (
            f"{num_tasks} tasks have {total} orders{suffix}. Use `random`, `space_filling`, "
            "`latin_square` or `williams`, or fix the first tasks with `fixed`."
        )
        constraint = f"up to {ALL_UP_TO} tasks" if rule.free else f"up to {most} orders"
        raise InvalidConfigError([ConfigIssue("orders.design", "all", constraint, hint)])
    _only("all", total, count, "Use `random` for a part of them.")
    return tuple(rule.orders())


def latin_square(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """Return the first `count` rows of the cyclic Latin square, by default all T rows.

    Row i is i, i+1, …, T-1, 0, …, i-1. Each task has the same predecessor in all rows but one.
    Carry-over effects can therefore not be estimated; use `williams` for them. A seed other than 0
    relabels the tasks, which changes the predecessors and keeps the square Latin.
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


def williams(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """Return the Williams design (Aust. J. Sci. Res. A 2, 1949).

    It has T rows for even T and 2T rows for odd T. The differences in the first row
    0, T-1, 1, T-2, … are all nonzero values modulo T, once each, if T is even. Its T shifts then
    contain every ordered pair of neighbors once. For odd T, a row contains only half of the
    differences, twice each, and the reversed rows contain the negative half. A seed other than 0
    relabels the tasks, which preserves the balance.
    """
    first = [i // 2 if i % 2 == 0 else num_tasks - 1 - i // 2 for i in range(num_tasks)]
    rows = [tuple((task + shift) % num_tasks for task in first) for shift in range(num_tasks)]
    if num_tasks % 2 == 1 and num_tasks > 1:
        rows += [tuple(reversed(row)) for row in rows]
    _only("williams", len(rows), count, "Fewer rows are not balanced.")
    return _relabelled("williams", rows, seed)


ORDERS: dict[str, OrderFunction] = {
    "identity": identity,
    "reverse": reverse,
    "random": random_orders,
    "space_filling": space_filling,
    "all": all_orders,
    "latin_square": latin_square,
    "williams": williams,
}
"""Designs that depend only on the number of tasks. `sweeps.definition.orders.chains` contains the
designs that are derived from the data; `explicit` is a list of the user."""


def _rule(num_tasks: int, rule: Precedence | None) -> Precedence:
    return Precedence.of(num_tasks) if rule is None else rule


def _only(design: str, rows: int, count: int | None, hint: str = "") -> None:
    """Reject a count that differs from the number of orders of the design."""
    constraint = f"to be left out, or {rows}: `{design}` has that many orders"
    refuse([require(count in {None, rows}, "orders.count", count, constraint, hint)])


def _counted(
    design: str,
    num_tasks: int,
    count: int | None,
    rule: Precedence | None,
    limit: int | None = None,
) -> int:
    """Return the count, which is required and limited by the number of existing orders."""
    total = _rule(num_tasks, rule).count()
    maximum = total if limit is None else min(total, limit)
    description = f"the number of orders of {num_tasks} tasks"
    if rule is not None and not rule.free:
        description += " that satisfy the constraints"
    if maximum < total:
        description = f"the number of candidates of `{design}`"
    if count is not None and 1 <= count <= maximum:
        return count
    hint = f"Set the number of {design} orders to draw." if count is None else ""
    raise InvalidConfigError(
        [ConfigIssue("orders.count", count, f"1 to {maximum}, {description}", hint)]
    )


def _relabelled(design: str, rows: Sequence[Order], seed: int) -> tuple[Order, ...]:
    if seed == 0:
        return tuple(rows)
    labels = list(range(len(rows[0])))
    random.Random(derive_seed(seed, "orders", design, len(labels))).shuffle(labels)
    return tuple(tuple(labels[task] for task in row) for row in rows)
