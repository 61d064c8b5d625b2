"""Text output of `sweeps plan` on replicates: their pairs, their power, and a better design."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sweeps.cli.text.layout import count
from sweeps.presentation.text_tables import WIDE

if TYPE_CHECKING:
    from sweeps.analysis.trials.power import VarianceEstimate
    from sweeps.definition import Sweep

MOST_UNITS = 4.0
"""Largest detectable difference, in its own standard deviations, that is worth a number."""
SHOWN_PAIRS = 24
"""Maximum number of pairs of order and seed shown."""
FEWEST_RUNS = 4
"""Fewest runs of a configuration for which another design is recommended."""
MOST_RUNS = 100
"""Most runs of a configuration for which another design is recommended."""
SIMULATED = (
    "in simulations of nine runs, {design} instead of 3 x 3 brought the selected configuration "
    "{closer} closer to the best one where orders have effects, not farther from it with noise "
    "alone, and made intervals of differences {narrower}"
)
DIFFERENT = SIMULATED.format(
    design="9 x 9", closer="52 % to 54 %", narrower="less than half as wide"
)
"""Result of `benchmarks/decisions.py` for a different order and seed in each run."""
REPEATED = SIMULATED.format(
    design="5 x 9", closer="29 % to 32 %", narrower="a third narrower or more"
)
"""Result of `benchmarks/decisions.py` for more orders than a grid has, but fewer than runs."""


def pair_lines(sweep: Sweep) -> list[str]:
    """Return the pairs of order and seed of a spread design; empty for a grid."""
    if sweep.replicates.kind == "grid":
        return []
    orders, pairs = sweep.task_orders, sweep.replicates.pairs(sweep.task_orders, sweep.seeds)
    used = len({order for order, _ in pairs}), len({seed for _, seed in pairs})
    head = (
        f"replicates: spread, {count(len(pairs), 'run')} of the {len(orders) * len(sweep.seeds)} "
        f"pairs of order and seed, with {count(used[0], 'order')} and {count(used[1], 'seed')}"
    )
    seeds_of: dict[str, list[str]] = {}
    for order, seed in pairs[:SHOWN_PAIRS]:
        seeds_of.setdefault("-".join(map(str, order)), []).append(str(seed))
    lines = [
        f"  order {order}: {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)}"
        for order, seeds in seeds_of.items()
    ]
    rest = len(pairs) - SHOWN_PAIRS
    return [head, *lines, *([f"  and {count(rest, 'pair')} more"] if rest > 0 else [])]


def power_line(sweep: Sweep, spread: VarianceEstimate | None) -> str:
    """Return the smallest difference that the replicates of two configurations can show."""
    from sweeps.analysis.trials.power import POWER, VarianceEstimate

    pairs = sweep.replicates.pairs(sweep.task_orders, sweep.seeds)
    orders, seeds = (len({pair[k] for pair in pairs}) for k in (0, 1))
    name = f"power: {count(orders, 'order')} x {count(seeds, 'seed')}"
    if orders < 2 or seeds < 2:
        return f"{name} give no interval; 2 of each are the least, 3 orders x 3 seeds are useful"
    if sweep.replicates.kind == "spread":
        name = f"power: {len(pairs)} runs with {orders} orders and {seeds} seeds"
    assumed = VarianceEstimate(0.0, 0.0, 1.0, orders, seeds) if spread is None else spread
    size = detectable(sweep, assumed)
    if size is None:
        return (
            f"{name} give no interval: orders and seeds repeat too seldom to separate their "
            f"effects. Declare {len(pairs)} seeds, one for each run"
        )
    if spread is not None and size > WIDE:
        return f"{name} are too few to show a likely difference, by the spread of stored results"
    if spread is not None:
        return (
            f"{name} detect a difference of {100 * size:.1f} points between two configurations in "
            f"{POWER:.0%} of cases, by the spread of stored results"
        )
    if size > MOST_UNITS:
        return f"{name} are too few to show a likely difference; 3 orders x 3 seeds are useful"
    return (
        f"{name} detect a difference between two configurations in {POWER:.0%} of cases if it is "
        f"{size:.1f} times as large as it varies from one pair of runs to the next; once results "
        "are stored, the difference is given in points"
    )


def detectable(sweep: Sweep, spread: VarianceEstimate) -> float | None:
    """Return the detectable difference of the declared runs; None if they give no interval."""
    from sweeps.analysis.trials.power import detectable_difference, detectable_in
    from sweeps.statistics.cell_designs import cell_design

    orders = ["-".join(map(str, order)) for order in sweep.task_orders]
    pairs = sweep.replicates.pairs(orders, sweep.seeds)
    levels = len({order for order, _ in pairs}), len({seed for _, seed in pairs})
    if len(pairs) == levels[0] * levels[1]:
        return detectable_difference(spread, *levels)
    design = cell_design(pairs)
    if not design.identified:
        return None
    squares = design.expected_mean_squares(spread.order, spread.seed, spread.residual)
    return detectable_in(design, squares)


def recommendation_lines(sweep: Sweep) -> list[str]:
    """Return a design that uses more orders with the same number of runs; empty if there is none.

    The simulation is that of `benchmarks/decisions.py`; its tables are in benchmarks/README.md.
    """
    runs, orders = sweep.replicate_count, len(sweep.task_orders)
    used = min(orders, runs)
    most = _most_orders(sweep, runs)
    if most <= used or not FEWEST_RUNS <= runs <= MOST_RUNS:
        return []
    count_field = "" if most == orders else f"`orders: {{..., count: {most}}}`, "
    gain = DIFFERENT if most == runs else REPEATED
    return [
        f"replicates: {count_field}`seeds: [0, ..., {runs - 1}]` and `replicates: {{kind: spread, "
        f"runs: {runs}}}` would use {most} orders instead of {used}, with the same {runs} runs of "
        f"each configuration: {gain}. A grid is the better design to separate the effects of "
        "orders and seeds, and its runs can share stages"
    ]


def _most_orders(sweep: Sweep, runs: int) -> int:
    """Return the maximum number of orders that the design could give to `runs` runs.

    Designs whose orders are listed, follow from the data or are all orders are left as they are.
    """
    from clmethods.errors import InvalidConfigError
    from sweeps.definition.orders import task_names

    design, orders = sweep.orders, len(sweep.task_orders)
    if design.design not in {"random", "space_filling", "latin_square"} or orders < 2:
        return 0
    count_of_orders = None if design.design == "latin_square" else runs
    stream = next(run.stream for run in sweep.runs if not run.method.ORDER_FREE)
    try:
        wider = replace(design, count=count_of_orders).orders(stream.tasks, task_names(stream))
    except InvalidConfigError:  # there are not that many orders
        return orders
    return min(runs, max(orders, len(wider)))
