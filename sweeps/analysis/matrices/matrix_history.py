"""Importance, freezing and drift of the weight matrices over a task sequence.

A matrix is a (block, site) of the backbone. Its effective weight E_t is the frozen weight plus the
composed update of the first t tasks. `change_since[j]` of the table `matrices` is
||E_t - E_j|| / ||E_j||, the relative change since the end of task j. The drift of a run is the
mean of these over the earlier tasks, at its last stage. It is 0 if no later task changed what an
earlier task learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from clmethods.catalog.facts import SITES
from sweeps.analysis.trials.replicates import Cell, seed_of
from sweeps.results import latest_trials
from sweeps.statistics.intervals import Interval, mean_interval
from sweeps.statistics.ranks import average_ranks

Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MEASURES = ("importance", "drift", "delta_norm")
"""Array fields of `MatrixRuns` that the tables report."""


class Site(NamedTuple):
    """Position of an adapted matrix in the backbone."""

    block: int
    site: str


@dataclass(frozen=True, slots=True)
class MatrixRuns:
    """Runs of one configuration: R runs, T tasks, M matrices; NaN where there is no value."""

    config_id: str
    label: str
    cells: tuple[Cell, ...]
    """(order, seed) of each run."""
    sites: tuple[Site, ...]
    frozen: Flags
    """(R, T, M): True while the matrix was frozen during the task at this position."""
    importance: Values
    """(R, T, M): share of the matrices with a lower score after the task, in [0, 1]. NaN unless
    every matrix was scored: frozen matrices are not scored, and the ranks of the others would rise
    without them."""
    drift: Values
    """(R, T, M): mean change since the end of each earlier task; NaN for the first task."""
    delta_norm: Values
    """(R, T, M): Frobenius norm of the composed update."""

    def final(self, measure: str) -> Values:
        """Return a measure per run (R, M): importance averaged over tasks, others at the end."""
        values: Values = getattr(self, measure)
        if measure != "importance":
            return np.asarray(values[:, -1])
        known = np.isfinite(values)
        count = known.sum(axis=1)
        with np.errstate(invalid="ignore"):
            means = np.where(known, values, 0.0).sum(axis=1) / np.where(count, count, np.nan)
        return np.asarray(means)

    def frozen_from(self) -> Values:
        """Return the first task (R, M), counted from 1, trained with the matrix frozen, or NaN."""
        return np.where(self.frozen.any(axis=1), self.frozen.argmax(axis=1) + 1.0, np.nan)


def matrix_runs(trials: pa.Table, matrices: pa.Table) -> list[MatrixRuns]:
    """Return the finished runs of each configuration whose stages all have rows in `matrices`.

    Configurations of methods that report no matrices are left out. All results have the same
    `sites`, sorted by block and by site within a block. A matrix that a configuration does not
    adapt has NaN and is never frozen.
    """
    stages, sites, tables = _by_stage(matrices)
    runs_by_configuration: dict[str, list[tuple[Cell, list[int]]]] = {}
    labels: dict[str, str] = {}
    for trial in latest_trials(trials).to_pylist():
        rows = [stages.get(key, -1) for key in trial["stage_keys"]]
        if trial["status"] == "finished" and rows and min(rows) >= 0:
            cell = (trial["order_id"], seed_of(trial))
            runs_by_configuration.setdefault(trial["config_id"], []).append((cell, rows))
            labels.setdefault(trial["config_id"], trial["label"])
    result = []
    for config_id, runs in runs_by_configuration.items():
        stage_rows = np.array([rows for _, rows in runs], dtype=np.int64)  # (R, T)
        cells = tuple(cell for cell, _ in runs)
        selected: dict[str, Any] = {name: table[stage_rows] for name, table in tables.items()}
        result.append(MatrixRuns(config_id, labels[config_id], cells, sites, **selected))
    return result


def _by_stage(
    matrices: pa.Table,
) -> tuple[dict[str, int], tuple[Site, ...], dict[str, npt.NDArray[np.generic]]]:
    """Return the row of each stage, the columns, and tables (S, M) of the measures."""
    key = matrices["stage_key"].combine_chunks().dictionary_encode()
    names = matrices["site"].combine_chunks().dictionary_encode()
    blocks = np.asarray(matrices["block"], dtype=np.int64)
    kinds: list[str] = names.dictionary.to_pylist()
    kind = np.asarray(names.indices, dtype=np.int64)
    code = blocks * len(kinds) + kind  # sorting one number is ten times as fast as sorting pairs
    known = np.flatnonzero(np.bincount(code))
    named = [Site(number // len(kinds), kinds[number % len(kinds)]) for number in known.tolist()]
    ranked = sorted(range(len(named)), key=lambda i: (named[i].block, _place(named[i].site)))
    place = np.argsort(np.array(ranked, dtype=np.int64))
    at = (np.asarray(key.indices, dtype=np.int64), place[np.searchsorted(known, code)])
    shape = (len(key.dictionary), len(named))

    def table(values: npt.ArrayLike) -> Values:
        filled = np.full(shape, np.nan)
        filled[at] = values
        return filled

    frozen = np.zeros(shape, dtype=bool)
    frozen[at] = np.asarray(matrices["frozen"])
    score = table(pc.fill_null(matrices["importance"], float("nan")).to_numpy())
    delta = table(matrices["delta_norm"].to_numpy())
    return (
        {name: row for row, name in enumerate(key.dictionary.to_pylist())},
        tuple(named[i] for i in ranked),
        {
            "frozen": frozen,
            "importance": _shares(score, np.isfinite(delta)),
            "drift": table(_list_means(matrices["change_since"])),
            "delta_norm": delta,
        },
    )


def _place(site: str) -> tuple[int, str]:
    return (SITES.index(site) if site in SITES else len(SITES), site)


def _list_means(lists: pa.ChunkedArray) -> Values:
    """Return the mean of each list; NaN for an empty list."""
    lengths = np.asarray(pc.list_value_length(lists), dtype=np.int64)
    flat = np.asarray(pc.list_flatten(lists), dtype=np.float64)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    sums = np.bincount(owner, weights=flat, minlength=len(lengths))
    return np.where(lengths > 0, sums / np.maximum(lengths, 1), np.nan)


def _shares(score: Values, present: Flags) -> Values:
    """Return the ranks of the scores per stage as fractions; NaN unless all have a score."""
    result = np.full(score.shape, np.nan)
    whole = (np.isfinite(score) == present).all(axis=1) & (present.sum(axis=1) > 1)
    patterns, which = np.unique(present[whole], axis=0, return_inverse=True)
    rows = np.flatnonzero(whole)
    for index, pattern in enumerate(patterns):
        chosen = np.ix_(rows[which.reshape(-1) == index], np.flatnonzero(pattern))
        result[chosen] = (average_ranks(score[chosen]) - 1.0) / (pattern.sum() - 1)
    return result


def matrix_table(runs: Sequence[MatrixRuns], *, fixed_orders: bool = False) -> pa.Table:
    """Return one row per configuration and matrix.

    Columns: config_id, label, block, site, runs; importance, drift and delta_norm as means over
    the runs with NAME_low and NAME_high (null without an interval); frozen_share, the share of the
    runs in which the matrix is frozen at the end; frozen_from, the mean over these runs of the
    first task trained with the matrix frozen, counted from 1.
    """
    rows: list[dict[str, object]] = []
    for configuration in runs:
        final = {name: configuration.final(name) for name in MEASURES}
        first, last = configuration.frozen_from(), configuration.frozen[:, -1]
        for m, site in enumerate(configuration.sites):
            if not np.isfinite(final["delta_norm"][:, m]).any():
                continue  # the configuration does not adapt this matrix
            row: dict[str, object] = {
                "config_id": configuration.config_id,
                "label": configuration.label,
                "block": site.block,
                "site": site.site,
                "runs": len(configuration.cells),
                "frozen_share": float(last[:, m].mean()),
                "frozen_from": _mean(first[:, m]),
            }
            for name in MEASURES:
                row |= ends(name, interval(final[name][:, m], configuration.cells, fixed_orders))
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=TABLE)


def history_table(runs: Sequence[MatrixRuns]) -> pa.Table:
    """Return one row per configuration, task position (from 0) and matrix: means over the runs.

    Columns: frozen_share while the task was trained, importance after the task (null unless every
    matrix was scored), drift since the earlier tasks, and delta_norm.
    """
    rows: list[dict[str, object]] = []
    for configuration in runs:
        adapted = np.isfinite(configuration.delta_norm).any(axis=(0, 1))
        for t in range(configuration.frozen.shape[1]):
            for m in np.flatnonzero(adapted).tolist():
                rows.append(
                    {
                        "config_id": configuration.config_id,
                        "label": configuration.label,
                        "position": t,
                        "block": configuration.sites[m].block,
                        "site": configuration.sites[m].site,
                        "frozen_share": float(configuration.frozen[:, t, m].mean()),
                        **{
                            name: _mean(getattr(configuration, name)[:, t, m]) for name in MEASURES
                        },
                    }
                )
    return pa.Table.from_pylist(rows, schema=HISTORY)


def interval(values: Values, cells: Sequence[Cell], fixed_orders: bool) -> Interval | None:
    """Return `mean_interval` over the cells with a finite value; None if there are none."""
    kept = np.flatnonzero(np.isfinite(values)).tolist()
    if not kept:
        return None
    orders, seeds = ([cells[i][k] for i in kept] for k in (0, 1))
    return mean_interval(values[kept], orders, seeds, fixed_orders=fixed_orders)


def ends(name: str, mean: Interval | None) -> Mapping[str, float | None]:
    """Return an interval as three columns of a table."""
    if mean is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: mean.mean, f"{name}_low": mean.low, f"{name}_high": mean.high}


def _mean(values: Values) -> float | None:
    """Return the mean of the finite values; None if there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


_MATRIX = [
    ("config_id", pa.string()),
    ("label", pa.string()),
    ("block", pa.int16()),
    ("site", pa.string()),
]
TABLE = pa.schema(
    [
        *_MATRIX,
        ("runs", pa.int32()),
        ("frozen_share", pa.float64()),
        ("frozen_from", pa.float64()),
        *((f"{name}{end}", pa.float64()) for name in MEASURES for end in ("", "_low", "_high")),
    ]
)
HISTORY = pa.schema(
    [
        *_MATRIX,
        ("position", pa.int16()),
        *((name, pa.float64()) for name in ("frozen_share", *MEASURES)),
    ]
)
