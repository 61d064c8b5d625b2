"""Choice of readout and metric for the analysis of a stored sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import pyarrow as pa

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.errors import nearest, refuse, require
from clmethods.metrics import DIRECTIONS, METRICS
from sweeps.analysis.trials.summary import summarize

if TYPE_CHECKING:
    from sweeps.definition import Sweep

SPLITS = ("validation", "test")
"""Splits of the summaries: decisions use validation, test is reported alongside."""


class Results(NamedTuple):
    """Tables that the analysis commands read from a storage."""

    trials: pa.Table
    evals: pa.Table
    warnings: tuple[str, ...]
    """One sentence per part that was left out, and one about missing runs."""
    left_out: tuple[str, ...] = ()
    """Keys of the files that were left out and whose rows may be missing."""


def summaries(results: Results) -> dict[str, pa.Table]:
    """Return the metrics of every run, by split."""
    return {split: summarize(results.trials, results.evals, split) for split in SPLITS}


def chosen_readout(sweep: Sweep, readout: str | None) -> str:
    """Return the requested readout, or the first of the sweep, which the objectives use.

    Raises:
        InvalidConfigError: If the sweep does not have the readout.
    """
    names = [r.readout_id for r in sweep.readouts]
    if readout is None:
        return names[0]
    if readout not in names:
        raise InvalidConfigError([ConfigIssue("--readout", readout, f"one of {names}")])
    return readout


def chosen_metric(sweep: Sweep, metric: str | None) -> str:
    """Return the requested metric, or the first objective that is an accuracy-matrix metric.

    Raises:
        InvalidConfigError: If the metric is unknown.
    """
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
    """Return the better direction of a measure; measures that are no metrics are costs."""
    return DIRECTIONS.get(metric, "min")


def all_orders(sweep: Sweep) -> bool:
    """Return True if the sweep runs every possible order, so that orders are a fixed factor."""
    return sweep.orders.exhaustive


def replicate_warning(trials: pa.Table) -> str | None:
    """Return the limits of a design with one or two orders or seeds; None for larger designs."""
    rows = trials.select(["order_id", "seed"]).to_pylist()
    orders = len({row["order_id"] for row in rows} - {"any"})
    seeds = len({row["seed"] for row in rows})
    if max(orders, seeds) <= 1:
        return "one run each: intervals and shares are unavailable; use three orders and seeds"
    if min(orders, seeds) == 2:
        return (
            f"{orders} orders x {seeds} seeds leave one degree of freedom, so that intervals are "
            "wide and shares are overconfident: use three or more of each"
        )
    return None
