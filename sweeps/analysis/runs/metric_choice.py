"""What a stored sweep is asked: under which readout, in which metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import pyarrow as pa

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.errors import nearest, refuse, require
from clmethods.metrics import DIRECTIONS, METRICS
from sweeps.analysis.runs.summary import summarise

if TYPE_CHECKING:
    from sweeps.definition import Sweep

SPLITS = ("validation", "test")
"""Validation decides, test stands beside."""


class Results(NamedTuple):
    """What the commands that analyse read from a storage."""

    trials: pa.Table
    evals: pa.Table
    warnings: tuple[str, ...]
    """One sentence per part that was left out, and one about runs that are missing."""


def summaries(results: Results) -> dict[str, pa.Table]:
    """The metrics of every run, by split."""
    return {split: summarise(results.trials, results.evals, split) for split in SPLITS}


def chosen_readout(sweep: Sweep, readout: str | None) -> str:
    """The readout asked for, or the sweep's first; objectives are read from that one."""
    names = [r.readout_id for r in sweep.readouts]
    if readout is None:
        return names[0]
    if readout not in names:
        raise InvalidConfigError([ConfigIssue("--readout", readout, f"one of {names}")])
    return readout


def chosen_metric(sweep: Sweep, metric: str | None) -> str:
    """The metric of the accuracy matrix asked for, or the first objective that is one."""
    if metric is None:
        return next((name for name in sweep.objectives if name in METRICS), "average_accuracy")
    refuse(
        [
            require(
                metric in METRICS,
                "--metric",
                metric,
                f"one of {list(METRICS)}",
                nearest(metric, list(METRICS)),
            )
        ]
    )
    return metric


def direction_of(metric: str) -> Literal["max", "min"]:
    """Which direction of a measure is better; what is not a metric is a cost."""
    return DIRECTIONS.get(metric, "min")


def all_orders(sweep: Sweep) -> bool:
    """Whether the sweep runs every order that may be, so that orders are a fixed factor."""
    return sweep.orders.exhaustive


def few_replicates(trials: pa.Table) -> str | None:
    """What two orders or seeds, or one run each, cannot tell; None where there are enough."""
    rows = trials.select(["order_id", "seed"]).to_pylist()
    orders = len({row["order_id"] for row in rows} - {"any"})
    seeds = len({row["seed"] for row in rows})
    if max(orders, seeds) <= 1:
        return "one run each: intervals and shares are unavailable; take three orders and seeds"
    if min(orders, seeds) == 2:
        return (
            f"{orders} orders x {seeds} seeds leave one degree of freedom, hence the wide "
            "intervals and shares that are too sure: take three or more of each"
        )
    return None
