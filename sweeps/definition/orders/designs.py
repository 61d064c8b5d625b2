"""The designs that follow from the number of tasks: one function each, all in `ORDERS`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from clmethods.canonical import derive_seed
from clmethods.errors import ConfigIssue, InvalidConfigError, refuse, require
from sweeps.definition.orders import space_filling as herding
from sweeps.definition.orders.precedence import Order, Precedence

OrderFunction = Callable[[int, int | None, int, Precedence | None], tuple[Order, ...]]
"""(num_tasks, count, seed, rule) to distinct orders; None allows every order.

They obey the rule, but for balanced designs, which cannot: `sweeps.definition.orders.design`
checks. Raises `InvalidConfigError` at `orders.count`, `orders.design` or `orders.before`.
"""

ALL_UP_TO = 7
"""`all` is refused above 7! = 5040 orders, which is the most that anybody means."""


def identity(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """The natural order, once; under a rule, always the least task that may come."""
    _only("identity", 1, count)
    return (_rule(num_tasks, rule).greedy((), lambda _, task: task),)


def reverse(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """The natural order backwards, once; under a rule, always the greatest task that may come."""
    _only("reverse", 1, count)
    return (_rule(num_tasks, rule).greedy((), lambda _, task: -task),)


def random_orders(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """`count` distinct permutations, each equally likely among those that obey the rule.

    They are drawn one after the other: a larger count keeps the orders of a smaller one.
    """
    asked = _counted("random", num_tasks, count, rule)
    generator = random.Random(derive_seed(seed, "orders", "random", num_tasks))
    drawn: dict[Order, None] = {}
    while len(drawn) < asked:
        if rule is None or rule.free:
            drawn[tuple(generator.sample(range(num_tasks), num_tasks))] = None
        else:
            drawn[rule.draw(generator)] = None
    return tuple(drawn)


def space_filling(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """`count` distinct permutations that represent all of them better than random ones do.

    See `sweeps.definition.orders.space_filling`. A larger count keeps the orders of a smaller one.
    """
    asked = _counted("space_filling", num_tasks, count, rule, herding.POOL)
    return herding.space_filling(_rule(num_tasks, rule), asked, seed)


def all_orders(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """Every permutation that obeys the rule, in lexicographic order; refused above 7! of them."""
    rule = _rule(num_tasks, rule)
    total, most = rule.count(), math.factorial(ALL_UP_TO)
    if total > most:
        left = "" if rule.free else " left by the constraints"
        hint = (
            f"{num_tasks} tasks have {total} orders{left}. Use `random`, `space_filling`, "
            "`latin_square` or `williams`, or fix the first tasks with `fixed`."
        )
        constraint = f"up to {ALL_UP_TO} tasks" if rule.free else f"up to {most} orders"
        raise InvalidConfigError([ConfigIssue("orders.design", "all", constraint, hint)])
    _only("all", total, count, "Use `random` for some of them.")
    return tuple(rule.orders())


def latin_square(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
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


def williams(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
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
    "space_filling": space_filling,
    "all": all_orders,
    "latin_square": latin_square,
    "williams": williams,
}
"""Every design that follows from the number of tasks alone. `sweeps.definition.orders.chains` has
those that follow from the data; `explicit` is what the user lists."""


def _rule(num_tasks: int, rule: Precedence | None) -> Precedence:
    return Precedence.of(num_tasks) if rule is None else rule


def _only(design: str, rows: int, count: int | None, hint: str = "") -> None:
    """Refuse a count that is not the one that the design has."""
    constraint = f"to be left out, or {rows}: `{design}` has that many orders"
    refuse([require(count in {None, rows}, "orders.count", count, constraint, hint)])


def _counted(
    design: str,
    num_tasks: int,
    count: int | None,
    rule: Precedence | None,
    limit: int | None = None,
) -> int:
    """The count, which must be given and not exceed the orders that there are."""
    total = _rule(num_tasks, rule).count()
    most = total if limit is None else min(total, limit)
    what = f"the number of orders of {num_tasks} tasks"
    if rule is not None and not rule.free:
        what += " that the constraints leave"
    if most < total:
        what = f"as many as `{design}` chooses from"
    if count is not None and 1 <= count <= most:
        return count
    hint = f"Say how many {design} orders to draw." if count is None else ""
    raise InvalidConfigError([ConfigIssue("orders.count", count, f"1 to {most}, {what}", hint)])


def _relabelled(design: str, rows: Sequence[Order], seed: int) -> tuple[Order, ...]:
    if seed == 0:
        return tuple(rows)
    labels = list(range(len(rows[0])))
    random.Random(derive_seed(seed, "orders", design, len(labels))).shuffle(labels)
    return tuple(tuple(labels[task] for task in row) for row in rows)
