"""What a stored sweep is asked: which runs, under which readout, in which metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from clmethods.config import Fault, InvalidConfigError
from clmethods.config.faults import nearest, refuse, require
from clmethods.metrics import DIRECTIONS, METRICS
from sweeps.analysis.missing import missing_runs
from sweeps.analysis.summary import summarise
from sweeps.results import latest_trials, read_table

if TYPE_CHECKING:
    from sweeps.spec import Sweep
    from sweeps.storage import ObjectStore

SPLITS = ("validation", "test")
"""Validation decides, test stands beside."""


class Results(NamedTuple):
    """What the commands that analyse read from a storage."""

    trials: pa.Table
    evals: pa.Table
    warnings: tuple[str, ...]
    """One sentence per part that was left out, and one about runs that are missing."""


def read_results(sweep: Sweep, objects: ObjectStore) -> Results:
    """Trials that the sweep wants now, last attempts only, and all evaluations.

    Parts of trials and readouts that an earlier version of the sweep wanted stay in the storage.
    """
    trials, evals = (
        read_table(objects, sweep.name, name, encoded=True) for name in ("trials", "evals")
    )
    kept, _, gaps = wanted_trials(sweep, trials.table)
    return Results(kept, evals.table, (*trials.warnings, *evals.warnings, *gaps))


class Wanted(NamedTuple):
    """What is there of what a sweep asks for."""

    trials: pa.Table
    """Last attempts of the trials that it wants now."""
    asked: int
    """How many it wants."""
    gaps: tuple[str, ...]
    """A sentence about those that did not finish, if some did."""


def wanted_trials(sweep: Sweep, trials: pa.Table) -> Wanted:
    """The rows of the table `trials` that the sweep wants now."""
    from sweeps.spec import expand  # pydantic, which only this part needs

    asked = expand(sweep)
    wanted = pa.array([trial.trial_id for trial in asked], pa.string())
    latest = latest_trials(trials)
    latest = latest.filter(pc.is_in(latest["trial_id"], value_set=wanted))
    return Wanted(latest, len(asked), missing_runs(asked, latest))


def summaries(results: Results) -> dict[str, pa.Table]:
    """The metrics of every run, by split."""
    return {split: summarise(results.trials, results.evals, split) for split in SPLITS}


def chosen_readout(sweep: Sweep, readout: str | None) -> str:
    """The readout asked for, or the sweep's first; objectives are read from that one."""
    names = [r.readout_id for r in sweep.readouts]
    if readout is None:
        return names[0]
    if readout not in names:
        raise InvalidConfigError([Fault("--readout", readout, f"one of {names}")])
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
