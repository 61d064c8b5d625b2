"""Effect of freezing important matrices on their drift, in pairs of runs with and without it.

A configuration that freezes matrices is compared with the configuration that has the same run with
`importance_threshold` set to 0. The two are matched by their stage keys, which are equal exactly
where runs behave identically. Fields that act only while matrices are frozen therefore do not
prevent the match.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from clmethods.config import LoracIpcConfig, run_from_dict, stage_chain
from sweeps.analysis.matrices.matrix_history import Flags, MatrixRuns, Values, interval
from sweeps.analysis.trials.replicates import Cell
from sweeps.results import latest_trials
from sweeps.statistics.intervals import Interval
from sweeps.statistics.ranks import average_ranks

Group = Literal["all", "frozen", "never frozen"]


@dataclass(frozen=True, slots=True)
class FreezingPair:
    """Configuration with freezing and the same one without, over the cells that both have."""

    frozen: MatrixRuns
    free: MatrixRuns
    cells: tuple[Cell, ...]

    def drifts(self) -> tuple[Values, Values]:
        """Return the drifts with and without freezing, (P, M) each, for P cells and M matrices."""
        with_it, without = (
            runs.final("drift")[[runs.cells.index(cell) for cell in self.cells]]
            for runs in (self.frozen, self.free)
        )
        return with_it, without

    def hit(self) -> Flags:
        """Return a mask (P, M) of the matrices frozen at the end of the run with freezing."""
        rows = [self.frozen.cells.index(cell) for cell in self.cells]
        return np.asarray(self.frozen.frozen[rows, -1])


@dataclass(frozen=True, slots=True)
class DriftDifference:
    """Drift with and without freezing, and the paired difference, over a group of matrices."""

    pair: FreezingPair
    group: Group
    matrices: float
    """Mean number of matrices in the group per run."""
    with_freezing: Interval | None
    without: Interval | None
    difference: Interval | None
    """Drift with freezing minus drift without; negative if freezing reduces the drift."""


def freezing_pairs(trials: pa.Table, runs: Sequence[MatrixRuns]) -> list[FreezingPair]:
    """Return the pairs of configurations that differ only in freezing and share a cell."""
    by_id = {configuration.config_id: configuration for configuration in runs}
    rows = [row for row in latest_trials(trials).to_pylist() if row["config_id"] in by_id]
    of_key = {row["stage_keys"][-1]: row["config_id"] for row in rows}
    partner: dict[str, str] = {}
    for row in rows:
        if row["config_id"] in partner:
            continue
        run = run_from_dict(json.loads(row["run"]))
        if not isinstance(run.method, LoracIpcConfig) or run.method.importance_threshold == 0:
            continue
        free_run = replace(run, method=replace(run.method, importance_threshold=0.0))
        free_id = of_key.get(stage_chain(free_run)[-1].key)
        if free_id is not None and free_id != row["config_id"]:
            partner[row["config_id"]] = free_id
    pairs = []
    for frozen_id, free_id in partner.items():
        frozen, free_runs = by_id[frozen_id], by_id[free_id]
        cells = tuple(cell for cell in frozen.cells if cell in set(free_runs.cells))
        if cells:
            pairs.append(FreezingPair(frozen, free_runs, cells))
    return pairs


def drift_differences(
    pair: FreezingPair, *, fixed_orders: bool = False
) -> tuple[DriftDifference, ...]:
    """Return the drift differences over all matrices, the frozen ones and the others.

    The group of a matrix is determined run by run, from the run with freezing; the same matrices
    of the run without freezing are used. A group that is empty in all runs is left out.
    """
    with_it, without = pair.drifts()
    hit = pair.hit()
    known = np.isfinite(with_it) & np.isfinite(without)
    groups: tuple[tuple[Group, Flags], ...] = (
        ("all", known),
        ("frozen", known & hit),
        ("never frozen", known & ~hit),
    )
    differences = []
    for name, mask in groups:
        if not mask.any():
            continue
        frozen_means, free_means = _means(with_it, mask), _means(without, mask)
        intervals = (
            interval(v, pair.cells, fixed_orders)
            for v in (frozen_means, free_means, frozen_means - free_means)
        )
        differences.append(DriftDifference(pair, name, float(mask.sum(axis=1).mean()), *intervals))
    return tuple(differences)


def importance_and_drift(runs: MatrixRuns, *, fixed_orders: bool = False) -> Interval | None:
    """Return Spearman's rank correlation of importance and drift over the matrices of a run.

    A positive value means that matrices with high importance drift most. Use runs without
    freezing, because freezing stops the drift of important matrices. Return None if no run has two
    matrices with different values of both.
    """
    importance, drift = runs.final("importance"), runs.final("drift")
    values = [_spearman(a, b) for a, b in zip(importance, drift, strict=True)]
    return interval(np.array(values), runs.cells, fixed_orders)


def _spearman(a: Values, b: Values) -> float:
    """Return the rank correlation; NaN if either input is constant."""
    known = np.isfinite(a) & np.isfinite(b)
    x, y = average_ranks(a[known]), average_ranks(b[known])
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _means(values: Values, mask: Flags) -> Values:
    """Return means (P,) over the selected matrices; NaN where none is selected."""
    count = mask.sum(axis=1)
    total = np.where(mask, values, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / np.where(count, count, np.nan))
