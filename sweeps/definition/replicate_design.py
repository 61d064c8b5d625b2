"""ReplicateDesign: section `replicates` of a sweep file, the pairs of order and seed that are run.

The section is the same for all configurations, so that they can be compared run by run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm
from typing import ClassVar, Literal, TypeVar

from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig
from clmethods.errors import ConfigIssue, InvalidConfigError, refuse, require
from sweeps.definition.orders import CHAINS, OrderDesign, task_names

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateDesign:
    """Section `replicates` of a sweep file: every order with every seed, or some pairs of them."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["grid", "spread"] = "grid"
    """`grid`: each order with each seed. `spread`: `runs` different pairs in which all orders are
    used equally often, and all seeds."""
    runs: int | None = None
    """Number of runs of each configuration, for `spread`."""

    def __post_init__(self) -> None:
        spread = self.kind == "spread"
        refuse(
            [
                require(
                    not spread or self.runs is not None,
                    "runs",
                    self.runs,
                    "a number of runs, as kind is `spread`",
                    "Example: `replicates: {kind: spread, runs: 9}`.",
                ),
                require(
                    spread or self.runs is None,
                    "runs",
                    self.runs,
                    "to be left out or null unless kind is `spread`",
                    "A grid runs each order with each seed.",
                ),
                require(
                    not spread or self.runs is None or self.runs >= 2,
                    "runs",
                    self.runs,
                    "2 or more",
                    "A single run has no interval.",
                ),
            ]
        )

    def pairs(self, orders: Sequence[A], seeds: Sequence[B]) -> tuple[tuple[A, B], ...]:
        """Return the pairs of order and seed that are run, in the sequence of trials.

        With fewer possible pairs than `runs`, as for a method that has a single order, each
        possible pair is run.
        """
        if self.kind == "grid":
            return tuple((order, seed) for order in orders for seed in seeds)
        return replicate_sequence(orders, seeds, self.runs)


def replicate_sequence(
    orders: Sequence[A], seeds: Sequence[B], runs: int | None = None
) -> tuple[tuple[A, B], ...]:
    """Return each (order, seed) once, or the first `runs`, so that each prefix is balanced.

    Replicate k has the order k mod I and the seed (k + floor(k / lcm(I, J))) mod J, which follows
    the diagonals of the I x J table. In each prefix of the sequence, the numbers of uses of two
    orders differ by at most one, and so do those of two seeds. The first min(I, J) replicates
    share neither an order nor a seed.
    """
    i, j = len(orders), len(seeds)
    last = i * j if runs is None else min(runs, i * j)
    return tuple((orders[k % i], seeds[(k + k // lcm(i, j)) % j]) for k in range(last))


def declared_orders(orders: OrderDesign, stream: StreamConfig) -> int | None:
    """Return the number of orders of a design, at most; None if the design is invalid."""
    if orders.needs_table:  # the data can make some of the chains equal
        return 1 if orders.design in CHAINS else len(CHAINS)
    try:
        return len(orders.orders(stream.tasks, task_names(stream)))
    except InvalidConfigError:
        return None


def replicate_issues(
    design: ReplicateDesign, runs: Sequence[RunConfig], orders: OrderDesign, seeds: Sequence[int]
) -> list[ConfigIssue]:
    """Return issues between the section and the sweep; `runs` are those of the search."""
    if design.kind == "grid" or design.runs is None:
        return []
    if orders.exhaustive:
        constraint = "`grid` where orders.design is `all`"
        hint = (
            "With all orders, a run estimates its seed only together with the runs of all other "
            "orders. Use `random` or `space_filling` orders for a spread design."
        )
        return [ConfigIssue("replicates.kind", design.kind, constraint, hint)]
    streams = {run.stream.tasks: run.stream for run in runs if not run.method.ORDER_FREE}
    counts = [declared_orders(orders, stream) for stream in streams.values()]
    fewest = min((count for count in counts if count is not None), default=None)
    if fewest is None or not seeds:
        return []  # the issues of the orders and of the seeds explain the rest
    possible = fewest * len(seeds)
    issue = require(
        design.runs <= possible,
        "replicates.runs",
        design.runs,
        f"at most {possible}, the pairs of orders ({fewest}) and seeds ({len(seeds)})",
        f"Declare more seeds, such as `seeds: [{', '.join(map(str, range(design.runs)))}]`."
        if design.runs <= 20
        else "Declare more seeds: up to one for each run.",
    )
    return [issue] if issue is not None else []
