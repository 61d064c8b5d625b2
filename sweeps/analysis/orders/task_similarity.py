"""Association between the similarity of two tasks and the accuracy that the earlier one loses.

A run of T tasks has T (T - 1) / 2 pairs. While the task at position t is learned, the task at
position i < t loses a[t-1, i] - a[t, i]. The loss also depends on the age t - i of the earlier
task, and a curriculum places similar tasks next to each other. Losses and distances are therefore
ranked, and the mean rank of each age is subtracted. The correlation of the residuals is the
partial rank correlation of one run given the age. Its mean over the runs has an interval of
`sweeps.statistics.intervals`. The result is an association, not a cause: tasks differ in more than
their distance.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.config.task_table import TaskTable
from sweeps.analysis.trials.accuracy import task_counts
from sweeps.analysis.trials.replicates import seed_of
from sweeps.analysis.trials.summary import counted_run
from sweeps.results import latest_trials
from sweeps.statistics.intervals import Interval, mean_interval
from sweeps.statistics.ranks import average_ranks

Values = npt.NDArray[np.float64]
Tables = Mapping[tuple[str, int], TaskTable]
"""Task tables by partition_id and split_seed of a trial."""

LEAST_TASKS = 4
"""Minimum number of tasks; with fewer, a run has fewer than three degrees of freedom given age."""


class SimilarityAssociation(NamedTuple):
    """Association of task similarity and loss in one configuration."""

    config_id: str
    label: str
    interval: Interval | None
    """Interval of the mean partial rank correlation; positive if similar tasks lose more."""
    reason: str | None
    """Reason why there is no interval."""


def similarity_association(
    trials: pa.Table,
    evals: pa.Table,
    readout_id: str,
    split: str,
    tables: Tables,
    *,
    fixed_orders: bool = False,
) -> list[SimilarityAssociation]:
    """Return one association per configuration.

    `trials` and `evals` are tables of `sweeps.results`. Unfinished trials, methods that see all
    tasks at once, and trials without a task table are excluded.
    """
    counts = task_counts(evals, split)
    runs_of: dict[tuple[str, str], list[tuple[float | None, str, Hashable]]] = {}
    for trial in latest_trials(trials).to_pylist():
        table = tables.get((trial["partition_id"], trial["split_seed"]))
        if table is None or readout_id not in trial["readout_ids"]:
            continue
        run_counts = counted_run(trial, counts, readout_id)
        if run_counts is None or run_counts.n.shape[0] != run_counts.n.shape[1]:
            continue
        distance = np.array(table.distance)[np.ix_(trial["task_order"], trial["task_order"])]
        rho = partial_rank_correlation(run_counts.accuracy, distance)
        key = (trial["config_id"], trial["label"])
        runs_of.setdefault(key, []).append((rho, trial["order_id"], seed_of(trial)))
    return [
        _association(config_id, label, runs, fixed_orders)
        for (config_id, label), runs in runs_of.items()
    ]


def partial_rank_correlation(accuracy: Values, distance: Values) -> float | None:
    """Return the partial rank correlation of similarity and loss given the age, in one run.

    Similarity is the negative distance. `accuracy` (T, T) has one row per stage; `distance` (T, T)
    is in the order of learning. Return None for fewer than `LEAST_TASKS` tasks, or if losses or
    distances do not vary within an age.
    """
    tasks = len(accuracy)
    if tasks < LEAST_TASKS:
        return None
    early, late = np.triu_indices(tasks, 1)
    lost = accuracy[late - 1, early] - accuracy[late, early]
    age = late - early
    pair = (-distance[early, late], np.round(lost, 12))
    x, y = (_without_age(average_ranks(values), age) for values in pair)
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 1e-9 else None


def _without_age(ranks: Values, age: npt.NDArray[np.int64]) -> Values:
    """Return ranks minus the mean rank of their age."""
    sums = np.bincount(age, weights=ranks)
    return np.asarray(ranks - (sums / np.maximum(np.bincount(age), 1))[age], dtype=np.float64)


def _association(
    config_id: str,
    label: str,
    runs: list[tuple[float | None, str, Hashable]],
    fixed_orders: bool,
) -> SimilarityAssociation:
    known = [(rho, order, seed) for rho, order, seed in runs if rho is not None]
    if not known:
        reason = f"no correlation: fewer than {LEAST_TASKS} tasks, or all losses are equal"
        return SimilarityAssociation(config_id, label, None, reason)
    values, orders, seeds = zip(*known, strict=True)
    interval = mean_interval(values, orders, seeds, fixed_orders=fixed_orders)
    return SimilarityAssociation(config_id, label, interval, None)
