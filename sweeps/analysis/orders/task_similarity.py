"""Does learning a task cost similar tasks more accuracy than unlike ones?

A run of T tasks has T (T - 1) / 2 pairs: while the task at position t is learned, the one at
position i < t loses a[t-1, i] - a[t, i]. What a task loses also depends on how long ago it was
learned, and a curriculum puts similar tasks side by side; so losses and distances are ranked, the
mean rank of each age t - i is taken off, and the correlation of what is left is the partial rank
correlation of one run given the age. Its mean over the runs has the interval of
`sweeps.statistics.intervals`. It is an association: tasks differ in more than their distance.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import rankdata

from clmethods.config.task_table import TaskTable
from sweeps.analysis.runs.accuracy import task_counts
from sweeps.analysis.runs.replicates import seed_of
from sweeps.analysis.runs.summary import counted_run
from sweeps.results import latest_trials
from sweeps.statistics.intervals import Interval, mean_interval

Values = npt.NDArray[np.float64]
Tables = Mapping[tuple[str, int], TaskTable]
"""By partition_id and split_seed of a trial."""

LEAST_TASKS = 4
"""Below, the ages leave fewer than three degrees of freedom in a run."""


class Association(NamedTuple):
    """Of the similarity of two tasks with what the earlier loses to the later."""

    config_id: str
    label: str
    interval: Interval | None
    """Of the mean partial rank correlation; above 0, similar tasks cost each other more."""
    reason: str | None
    """Why there is none."""


def similarity_association(
    trials: pa.Table,
    evals: pa.Table,
    readout_id: str,
    split: str,
    tables: Tables,
    *,
    fixed_orders: bool = False,
) -> list[Association]:
    """One per configuration, from the tables of `sweeps.results`.

    Unfinished trials, methods that see all tasks at once and trials without a task table take no
    part.
    """
    counts = task_counts(evals, split)
    found: dict[tuple[str, str], list[tuple[float | None, str, Hashable]]] = {}
    for trial in latest_trials(trials).to_pylist():
        table = tables.get((trial["partition_id"], trial["split_seed"]))
        if table is None or readout_id not in trial["readout_ids"]:
            continue
        run = counted_run(trial, counts, readout_id)
        if run is None or run.n.shape[0] != run.n.shape[1]:
            continue
        distance = np.array(table.distance)[np.ix_(trial["task_order"], trial["task_order"])]
        rho = partial_rank_correlation(run.accuracy, distance)
        key = (trial["config_id"], trial["label"])
        found.setdefault(key, []).append((rho, trial["order_id"], seed_of(trial)))
    return [
        _association(config_id, label, runs, fixed_orders)
        for (config_id, label), runs in found.items()
    ]


def partial_rank_correlation(accuracy: Values, distance: Values) -> float | None:
    """Of similarity (minus the distance) with the loss, given the age, in one run.

    `accuracy` (T, T) has a row per stage, `distance` (T, T) is in the order of learning. None
    below `LEAST_TASKS` tasks, or where all losses or all distances of an age are alike.
    """
    tasks = len(accuracy)
    if tasks < LEAST_TASKS:
        return None
    early, late = np.triu_indices(tasks, 1)
    lost = accuracy[late - 1, early] - accuracy[late, early]
    age = late - early
    x, y = (_without_age(rankdata(v), age) for v in (-distance[early, late], np.round(lost, 12)))
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 1e-9 else None


def _without_age(ranks: Values, age: npt.NDArray[np.int64]) -> Values:
    """Ranks less the mean rank of their age."""
    sums = np.bincount(age, weights=ranks)
    return np.asarray(ranks - (sums / np.maximum(np.bincount(age), 1))[age], dtype=np.float64)


def _association(
    config_id: str,
    label: str,
    runs: list[tuple[float | None, str, Hashable]],
    fixed_orders: bool,
) -> Association:
    known = [(rho, order, seed) for rho, order, seed in runs if rho is not None]
    if not known:
        reason = f"below {LEAST_TASKS} tasks, or all losses alike: no correlation"
        return Association(config_id, label, None, reason)
    values, orders, seeds = zip(*known, strict=True)
    interval = mean_interval(values, orders, seeds, fixed_orders=fixed_orders)
    return Association(config_id, label, interval, None)
