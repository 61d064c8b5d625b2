"""Runs that are held out of a selection, so that their values are not too good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeps.analysis.trials.replicates import ANY_ORDER, Cell


@dataclass(frozen=True, slots=True)
class Holdout:
    """Runs that the selection did not use."""

    cells: tuple[Cell, ...]
    shared: tuple[str, ...]
    """Factors that these runs share with those of the selection: `orders`, `seeds`. A
    configuration that was selected by chance with an order is also too good in other runs with
    this order."""
    left_out: int
    """Number of other unused runs, left out because they share an order or a seed."""


def holdout(cells: Iterable[Cell], used: Sequence[Cell], *, fixed_orders: bool = False) -> Holdout:
    """Return the held-out runs among `cells`, given the cells that the selection used.

    These are the runs with a new order and a new seed. If there are none, as when all orders were
    used, they are all unused runs, and `shared` says what they share. With `fixed_orders`, the
    orders are the whole population and only the seed has to be new. A run of a method that does
    not depend on the order shares no order.
    """
    orders = set() if fixed_orders else {order for order, _ in used if order != ANY_ORDER}
    seeds, taken = {seed for _, seed in used}, set(used)
    unused = [cell for cell in dict.fromkeys(cells) if cell not in taken]
    new = [cell for cell in unused if cell[0] not in orders and cell[1] not in seeds]
    if new:
        return Holdout(tuple(new), (), len(unused) - len(new))
    shared = {
        "orders": any(order in orders for order, _ in unused),
        "seeds": any(seed in seeds for _, seed in unused),
    }
    return Holdout(tuple(unused), tuple(name for name, shares in shared.items() if shares), 0)
