"""The runs of every configuration by (order, seed), so that comparisons can be paired.

All configurations of a sweep see the same orders and seeds (common random numbers). What two of
them have in common cancels in their difference, cell by cell.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.errors import nearest, refuse, require
from clmethods.config.readout import is_batch_wise, is_upper_bound

Cell = tuple[str, Hashable]
"""(order_id, seed): the seed stands for all that is drawn anew with it."""
Values = npt.NDArray[np.float64]

ANY_ORDER = "any"
"""Order id of a method that cannot depend on the order: its run counts for every order."""


@dataclass(frozen=True, slots=True)
class Replicates:
    """One configuration under one readout, with the runs that have metrics."""

    config_id: str
    label: str
    role: str
    method: str
    readout_id: str
    split: str
    metrics: dict[str, dict[Cell, float]]
    """Values by metric and cell; a cell where the metric does not exist is left out."""
    absent: dict[Cell, str]
    """Cells without metrics, and why: a run that failed, or evaluations that are missing."""

    @property
    def order_free(self) -> bool:
        """Whether the method sees all tasks at once, so that one run stands for every order."""
        return {order for order, _ in self.cells} == {ANY_ORDER}

    @property
    def eligible(self) -> bool:
        """Whether it competes: no reference, and no readout that is told the task."""
        return self.role != "reference" and not is_upper_bound(self.readout_id)

    @property
    def fair(self) -> bool:
        """Whether it can be chosen: it competes, and no vote over a batch leaks the task."""
        return self.eligible and not is_batch_wise(self.readout_id)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Cells of its finished runs."""
        return tuple(dict.fromkeys(cell for found in self.metrics.values() for cell in found))


@dataclass(frozen=True, slots=True)
class Sample:
    """Values of one quantity with the order and the seed of each."""

    values: Values  # (N,)
    orders: tuple[str, ...]
    seeds: tuple[Hashable, ...]

    def __len__(self) -> int:
        return len(self.orders)

    def by_order(self) -> dict[str, float]:
        """Mean over the seeds of each order."""
        found: dict[str, list[float]] = {}
        for order, value in zip(self.orders, self.values.tolist(), strict=True):
            found.setdefault(order, []).append(value)
        return {order: float(np.mean(values)) for order, values in found.items()}


def replicates(summary: pa.Table, names: Sequence[str]) -> list[Replicates]:
    """One entry per configuration, readout and split of `sweeps.analysis.runs.summary`.

    `names` are the metrics to keep. Raises `InvalidConfigError` for one that the summary lacks,
    offering the nearest.
    """
    check_names(names, measures(summary))
    keys = ("config_id", "label", "role", "method", "readout_id", "split")
    factors = ("order_id", "seed", "split_seed", "class_order_seed", "reason")
    found: dict[tuple[str, ...], Replicates] = {}
    for row in summary.select(list(dict.fromkeys([*keys, *factors, *names]))).to_pylist():
        key = tuple(row[name] for name in keys)
        if key not in found:
            identity = dict(zip(keys, key, strict=True))
            found[key] = Replicates(**identity, metrics={name: {} for name in names}, absent={})
        one = found[key]
        cell = (row["order_id"], seed_of(row))
        if row["reason"] is not None:
            one.absent[cell] = row["reason"]
            continue
        for name in names:
            value = row[name]
            if value is not None and np.isfinite(value):
                one.metrics[name][cell] = float(value)
    return list(found.values())


def seed_of(row: Mapping[str, Any]) -> Hashable:
    """All that is drawn anew with a seed; the seed alone where nothing else varies with it."""
    return row["seed"], row["split_seed"], row["class_order_seed"]


def measures(summary: pa.Table) -> list[str]:
    """Columns of a summary that can be an objective: numbers that are not seeds."""
    return [
        field.name
        for field in summary.schema
        if pa.types.is_floating(field.type)
        or field.name in {"trainable_parameters", "stored_bytes"}
    ]


def check_names(names: Sequence[str], known: Sequence[str]) -> None:
    """Raise `InvalidConfigError` for names that are not among the known, offering the nearest."""
    refuse(
        require(name in known, "objective", name, f"one of {list(known)}", nearest(name, known))
        for name in names
    )


def sample(one: Replicates, metric: str, cells: Sequence[Cell] | None = None) -> Sample:
    """The values of a metric, all or those of the given cells that exist."""
    values = one.metrics[metric]
    kept = [cell for cell in (values if cells is None else cells) if cell in values]
    return Sample(
        np.array([values[cell] for cell in kept]),
        tuple(order for order, _ in kept),
        tuple(seed for _, seed in kept),
    )


def difference(
    one: Replicates, other: Replicates, metric: str, only: Sequence[Cell] | None = None
) -> Sample:
    """one - other in every cell that both have, or in those of `only`.

    A run that cannot depend on the order is compared with the runs of its seed in every order.
    """
    a, b = one.metrics[metric], other.metrics[metric]
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


def without_runs(found: Sequence[Replicates], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Labels of the configurations without a run that has the metrics `names`, by the reason.

    Those that were stopped early are among them: `stopped after 2 of 5 tasks`.
    """
    by_reason: dict[str, dict[str, None]] = {}
    for one in found:
        if not all(one.metrics[name] for name in names):
            reasons = set(one.absent.values())
            reason = reasons.pop() if len(reasons) == 1 else "no run has all the metrics"
            by_reason.setdefault(reason, {})[one.label] = None
    return {reason: tuple(labels) for reason, labels in sorted(by_reason.items())}
