"""Runs of every configuration by (order, seed), so that comparisons can be paired.

All configurations of a sweep are run with the same orders and seeds (common random numbers).
Effects that two configurations share cancel in their difference, cell by cell.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.config.readout import is_batch_wise, is_upper_bound
from clmethods.errors import nearest, refuse, require

Cell = tuple[str, Hashable]
"""(order_id, seed); the seed stands for everything that changes with it."""
Values = npt.NDArray[np.float64]

ANY_ORDER = "any"
"""Order id of a method that does not depend on the order; its run counts for every order."""


@dataclass(frozen=True, slots=True)
class Replicates:
    """Values of one configuration under one readout, by metric and cell."""

    config_id: str
    label: str
    role: str
    method: str
    readout_id: str
    split: str
    metrics: dict[str, dict[Cell, float]]
    """Values by metric and cell; cells in which the metric does not exist are left out."""
    absent: dict[Cell, str]
    """Reasons for cells without metrics: the run failed, or evaluations are missing."""

    @property
    def order_free(self) -> bool:
        """True if the method sees all tasks at once, so that one run counts for every order."""
        return {order for order, _ in self.cells} == {ANY_ORDER}

    @property
    def eligible(self) -> bool:
        """True if it can be on the front: no reference, and no readout that uses the true task."""
        return self.role != "reference" and not is_upper_bound(self.readout_id)

    @property
    def fair(self) -> bool:
        """True if it can be selected: eligible, and no batch-wise readout that leaks the task."""
        return self.eligible and not is_batch_wise(self.readout_id)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Cells of the finished runs."""
        return tuple(dict.fromkeys(cell for values in self.metrics.values() for cell in values))


@dataclass(frozen=True, slots=True)
class Sample:
    """Values of one quantity, with the order and the seed of each value."""

    values: Values  # (N,)
    orders: tuple[str, ...]
    seeds: tuple[Hashable, ...]

    def __len__(self) -> int:
        return len(self.orders)

    def by_order(self) -> dict[str, float]:
        """Return the mean over the seeds of each order."""
        values_of: dict[str, list[float]] = {}
        for order, value in zip(self.orders, self.values.tolist(), strict=True):
            values_of.setdefault(order, []).append(value)
        return {order: float(np.mean(values)) for order, values in values_of.items()}


def replicates(summary: pa.Table, names: Sequence[str]) -> list[Replicates]:
    """Return one entry per configuration, readout and split of a summary.

    `summary` comes from `sweeps.analysis.trials.summary`; `names` are the metrics to keep.

    Raises:
        InvalidConfigError: If the summary lacks a metric. The message suggests the nearest name.
    """
    check_names(names, measures(summary))
    keys = ("config_id", "label", "role", "method", "readout_id", "split")
    factors = ("order_id", "seed", "split_seed", "class_order_seed", "reason")
    result: dict[tuple[str, ...], Replicates] = {}
    for row in summary.select(list(dict.fromkeys([*keys, *factors, *names]))).to_pylist():
        key = tuple(row[name] for name in keys)
        if key not in result:
            identity = dict(zip(keys, key, strict=True))
            result[key] = Replicates(**identity, metrics={name: {} for name in names}, absent={})
        entry = result[key]
        cell = (row["order_id"], seed_of(row))
        if row["reason"] is not None:
            entry.absent[cell] = row["reason"]
            continue
        for name in names:
            value = row[name]
            if value is not None and np.isfinite(value):
                entry.metrics[name][cell] = float(value)
    return list(result.values())


def seed_of(row: Mapping[str, object]) -> Hashable:
    """Return everything that changes with the seed: initialization, split and class order."""
    return row["seed"], row["split_seed"], row["class_order_seed"]


def measures(summary: pa.Table) -> list[str]:
    """Return the columns of a summary that can be an objective: numbers that are not seeds."""
    return [
        field.name
        for field in summary.schema
        if pa.types.is_floating(field.type)
        or field.name in {"trainable_parameters", "stored_bytes"}
    ]


def check_names(names: Sequence[str], known: Sequence[str]) -> None:
    """Raise `InvalidConfigError` for unknown names, with the nearest known name."""
    refuse(
        require(name in known, "objective", name, f"one of {list(known)}", nearest(name, known))
        for name in names
    )


def sample(configuration: Replicates, metric: str, cells: Sequence[Cell] | None = None) -> Sample:
    """Return the values of a metric, for all cells or for those of `cells` that have a value."""
    values = configuration.metrics[metric]
    kept = [cell for cell in (values if cells is None else cells) if cell in values]
    return Sample(
        np.array([values[cell] for cell in kept]),
        tuple(order for order, _ in kept),
        tuple(seed for _, seed in kept),
    )


def difference(
    first: Replicates, second: Replicates, metric: str, only: Sequence[Cell] | None = None
) -> Sample:
    """Return first - second in every cell that both have, or in those of `only`.

    A run that does not depend on the order is compared with the runs of its seed in every order.
    """
    a, b = first.metrics[metric], second.metrics[metric]
    cells: dict[Cell, float] = {}
    for order, seed in dict.fromkeys([*a, *b]):
        left = a.get((order, seed), a.get((ANY_ORDER, seed)))
        right = b.get((order, seed), b.get((ANY_ORDER, seed)))
        if left is not None and right is not None:
            cells[order, seed] = left - right
    if any(order != ANY_ORDER for order, _ in cells):
        cells = {cell: value for cell, value in cells.items() if cell[0] != ANY_ORDER}
    if only is not None:
        kept = set(only)
        cells = {cell: value for cell, value in cells.items() if cell in kept}
    return Sample(
        np.array(list(cells.values())),
        tuple(order for order, _ in cells),
        tuple(seed for _, seed in cells),
    )


def without_runs(
    configurations: Sequence[Replicates], names: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return labels of the configurations without a run that has all metrics, by reason.

    Configurations that were stopped early are included: `stopped after 2 of 5 tasks`.
    """
    by_reason: dict[str, dict[str, None]] = {}
    for configuration in configurations:
        if not all(configuration.metrics[name] for name in names):
            reasons = set(configuration.absent.values())
            reason = reasons.pop() if len(reasons) == 1 else "no run has all the metrics"
            by_reason.setdefault(reason, {})[configuration.label] = None
    return {reason: tuple(labels) for reason, labels in sorted(by_reason.items())}
