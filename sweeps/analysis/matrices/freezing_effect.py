"""What freezing important matrices does to how far they move: the same runs with and without it.

A configuration that freezes is held against the one that its run becomes when its
`importance_threshold` is 0. The two are found by their stage keys, which are equal exactly where
runs act alike, so that fields that only act while something freezes do not hide the pair.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from clmethods.config import LoracIpcConfig, run_from_dict, stage_chain
from sweeps.analysis.matrices.matrix_history import Flags, MatrixRuns, Site, Values, ends, interval
from sweeps.analysis.runs.replicates import Cell
from sweeps.results import latest_trials
from sweeps.statistics.intervals import Interval

Group = Literal["all", "frozen", "never frozen"]


@dataclass(frozen=True, slots=True)
class FreezingPair:
    """One configuration with freezing and the same without, over the cells of both."""

    frozen: MatrixRuns
    free: MatrixRuns
    cells: tuple[Cell, ...]

    def drifts(self) -> tuple[Values, Values]:
        """(P, M) each, with and without freezing, cell by cell."""
        with_it, without = (
            one.final("drift")[[one.cells.index(cell) for cell in self.cells]]
            for one in (self.frozen, self.free)
        )
        return with_it, without

    def hit(self) -> Flags:
        """(P, M): frozen at the end of the run that freezes."""
        rows = [self.frozen.cells.index(cell) for cell in self.cells]
        return np.asarray(self.frozen.frozen[rows, -1])


@dataclass(frozen=True, slots=True)
class DriftDifference:
    """Drift with freezing, without, and the paired difference, over matrices of one kind."""

    pair: FreezingPair
    group: Group
    matrices: float
    """Mean number of them per run."""
    with_freezing: Interval | None
    without: Interval | None
    difference: Interval | None
    """With less without; below 0 where freezing holds them."""


def freezing_pairs(trials: pa.Table, runs: Sequence[MatrixRuns]) -> list[FreezingPair]:
    """Pairs of configurations that differ in freezing alone and have a common (order, seed)."""
    by_id = {one.config_id: one for one in runs}
    rows = [row for row in latest_trials(trials).to_pylist() if row["config_id"] in by_id]
    of_key = {row["stage_keys"][-1]: row["config_id"] for row in rows}
    partner: dict[str, str] = {}
    for row in rows:
        if row["config_id"] in partner:
            continue
        run = run_from_dict(json.loads(row["run"]))
        if not isinstance(run.method, LoracIpcConfig) or run.method.importance_threshold == 0:
            continue
        free = replace(run, method=replace(run.method, importance_threshold=0.0))
        other = of_key.get(stage_chain(free)[-1].key)
        if other is not None and other != row["config_id"]:
            partner[row["config_id"]] = other
    pairs = []
    for mine, other in partner.items():
        frozen, free_runs = by_id[mine], by_id[other]
        cells = tuple(cell for cell in frozen.cells if cell in set(free_runs.cells))
        if cells:
            pairs.append(FreezingPair(frozen, free_runs, cells))
    return pairs


def freezing_table(pairs: Sequence[FreezingPair], *, fixed_orders: bool = False) -> pa.Table:
    """One row per pair and matrix: drift with freezing, without, and the difference with its
    interval; `config_id` and `label` are those of the configuration that freezes."""
    rows: list[dict[str, object]] = []
    for pair in pairs:
        with_it, without = pair.drifts()
        hit = pair.hit()
        for m, site in enumerate(pair.frozen.sites):
            found = interval(with_it[:, m] - without[:, m], pair.cells, fixed_orders)
            if found is not None:
                rows.append(
                    _names(pair, site)
                    | {
                        "frozen_share": float(hit[:, m].mean()),
                        "drift_with": float(np.nanmean(with_it[:, m])),
                        "drift_without": float(np.nanmean(without[:, m])),
                        **ends("difference", found),
                    }
                )
    return pa.Table.from_pylist(rows, schema=TABLE)


def drift_differences(
    pair: FreezingPair, *, fixed_orders: bool = False
) -> tuple[DriftDifference, ...]:
    """The drift over all matrices, over those that freezing hits, and over those it does not.

    Which matrices these are is decided run by run; the run without freezing is read at the same
    ones. A group without a matrix in any run is left out.
    """
    with_it, without = pair.drifts()
    hit = pair.hit()
    known = np.isfinite(with_it) & np.isfinite(without)
    groups: tuple[tuple[Group, Flags], ...] = (
        ("all", known),
        ("frozen", known & hit),
        ("never frozen", known & ~hit),
    )
    found = []
    for name, mask in groups:
        if not mask.any():
            continue
        one, other = _means(with_it, mask), _means(without, mask)
        three = (interval(v, pair.cells, fixed_orders) for v in (one, other, one - other))
        found.append(DriftDifference(pair, name, float(mask.sum(axis=1).mean()), *three))
    return tuple(found)


def importance_and_drift(one: MatrixRuns, *, fixed_orders: bool = False) -> Interval | None:
    """Spearman's rank correlation, over the matrices of a run, of importance with drift.

    Above 0 where what scores high also moves most. Meant for runs without freezing, which stops
    the important ones by force. None where no run has two matrices with different values of both.
    """
    importance, drift = one.final("importance"), one.final("drift")
    values = [_spearman(a, b) for a, b in zip(importance, drift, strict=True)]
    return interval(np.array(values), one.cells, fixed_orders)


def _spearman(a: Values, b: Values) -> float:
    """NaN where either does not vary."""
    known = np.isfinite(a) & np.isfinite(b)
    x, y = rankdata(a[known]), rankdata(b[known])
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _means(values: Values, mask: Flags) -> Values:
    """(P,) means over the chosen matrices; NaN where none is chosen."""
    count = mask.sum(axis=1)
    total = np.where(mask, values, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / np.where(count, count, np.nan))


def _names(pair: FreezingPair, site: Site) -> dict[str, object]:
    return {
        "config_id": pair.frozen.config_id,
        "label": pair.frozen.label,
        "without_id": pair.free.config_id,
        "without_label": pair.free.label,
        "block": site.block,
        "site": site.site,
        "pairs": len(pair.cells),
    }


TABLE = pa.schema(
    [
        ("config_id", pa.string()),
        ("label", pa.string()),
        ("without_id", pa.string()),
        ("without_label", pa.string()),
        ("block", pa.int16()),
        ("site", pa.string()),
        ("pairs", pa.int32()),
        ("frozen_share", pa.float64()),
        ("drift_with", pa.float64()),
        ("drift_without", pa.float64()),
        *((f"difference{end}", pa.float64()) for end in ("", "_low", "_high")),
    ]
)
