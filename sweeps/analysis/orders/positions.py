"""What the position of a task and the task before it do to its accuracy.

Averaged over the seeds of each order, the accuracy on the task at position p of order r is

    y[r, p] = order[r] + task[g] + position[p] (+ preceding[h]) + noise,    g = order[r][p],
                                                                            h = order[r][p - 1]

fitted by least squares for each configuration. Effects are deviations from their own mean. A
design identifies them or it does not: that is decided by the ranks of the model's columns, and
what cannot be identified is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import fdtrc, stdtrit

from sweeps.analysis.runs.accuracy import task_counts
from sweeps.analysis.runs.summary import counted_runs
from sweeps.results import latest_trials
from sweeps.statistics.intervals import LEVEL

Values = npt.NDArray[np.float64]
Orders = npt.NDArray[np.int64]
Response = Literal["final", "learned"]
"""Accuracy on the task after the last one, or right after it was learned."""

ZERO = 1e-8
"""Relative size below which a singular value or a contrast is rounding."""


class Fitted(NamedTuple):
    """Effects of one kind in one configuration, or why there are none."""

    effects: Values
    """(L,) deviations from their mean, by position or by index of the preceding task."""
    half: Values
    """(L,) half of the 95 % interval of each."""
    p_value: float | None
    """Of the hypothesis that all are 0 (F test)."""
    degrees: int
    """Degrees of freedom left for the noise."""
    reason: str | None
    """Why the design does not tell; the effects are then empty."""


class TaskAccuracies(NamedTuple):
    """Accuracies of one configuration, one row per order."""

    config_id: str
    label: str
    orders: Orders  # (R, T): the task group at each position
    values: Values  # (R, T): its accuracy, averaged over the seeds


def task_accuracies(
    trials: pa.Table, evals: pa.Table, readout_id: str, split: str, response: Response = "final"
) -> list[TaskAccuracies]:
    """By configuration and grouping of classes, from the tables of `sweeps.results`.

    Unfinished trials and methods that see all tasks at once take no part.
    """
    read = [t for t in latest_trials(trials).to_pylist() if readout_id in t["readout_ids"]]
    counted = counted_runs(read, task_counts(evals, split), readout_id)
    found: dict[tuple[str, ...], dict[tuple[int, ...], list[Values]]] = {}
    for trial, run in zip(read, counted, strict=True):
        if run is None or run.n.shape[0] != run.n.shape[1]:
            continue
        matrix = run.accuracy
        values = matrix[-1] if response == "final" else matrix.diagonal()
        key = (trial["config_id"], trial["label"], trial["partition_id"])
        found.setdefault(key, {}).setdefault(tuple(trial["task_order"]), []).append(values)
    return [
        TaskAccuracies(
            config_id,
            label,
            np.array(list(by_order), dtype=np.int64),
            np.stack([np.mean(values, axis=0) for values in by_order.values()]),
        )
        for (config_id, label, _), by_order in found.items()
    ]


def position_effects(orders: Orders, values: Values, level: float = LEVEL) -> Fitted:
    """Effect of each of the T positions on `values` (R, T), learned in `orders` (R, T)."""
    if len(orders) < 2:
        return _refused("one order: every task has one position only")
    model = _model(np.asarray(orders, dtype=np.int64).tobytes(), np.shape(orders), preceding=False)
    reason = "these orders do not tell the position from the task; a Latin square does"
    return _fit(model, values, level, reason)


def carry_over(orders: Orders, values: Values, level: float = LEVEL) -> Fitted:
    """Effect of each of the T tasks on the one that is learned right after it.

    It must show among the tasks that have a predecessor: in a cyclic Latin square each task
    follows the same one in all rows but one, and is refused.
    """
    if len(orders) < 2:
        return _refused("one order: every task has one predecessor only")
    model = _model(np.asarray(orders, dtype=np.int64).tobytes(), np.shape(orders), preceding=True)
    reason = "these orders do not tell the preceding task from the task; a Williams design does"
    return _fit(model, values, level, reason)


class _Model(NamedTuple):
    """What a fit needs of the orders alone; all configurations of a sweep share it."""

    design: Values  # (R T, K)
    rest: Values  # the columns of the other kinds
    weights: Values  # (L, R T): the effects of given values
    rank: int
    tested: int
    """Degrees of freedom of the F test."""
    identified: bool


@lru_cache(maxsize=8)
def _model(data: bytes, shape: tuple[int, int], preceding: bool) -> _Model:
    """The model of orders (R, T), which come as their bytes."""
    design, kinds = _columns(np.frombuffer(data, dtype=np.int64).reshape(shape), preceding)
    kind = "preceding" if preceding else "position"
    identified = _identified(design, kinds, kind)
    if preceding:
        follows = np.tile(np.arange(shape[1]) > 0, shape[0])  # (R T,)
        identified = identified and _identified(design[follows], kinds, kind)
    rest = design[:, [found != kind for found in kinds]]
    rank = int(np.linalg.matrix_rank(design))
    return _Model(
        design=design,
        rest=rest,
        weights=_contrasts(kinds, kind) @ np.linalg.pinv(design, rcond=ZERO),
        rank=rank,
        tested=rank - int(np.linalg.matrix_rank(rest)),
        identified=identified,
    )


def _columns(orders: Orders, preceding: bool) -> tuple[Values, list[str]]:
    """Indicator columns (R T, K) of the model, and the kind of each."""
    r, t = orders.shape
    row, position = (axis.ravel() for axis in np.indices((r, t)))
    parts: list[tuple[str, Values]] = [
        ("order", np.eye(r)[row]),
        ("task", np.eye(t)[orders.ravel()]),
        ("position", np.eye(t)[position]),
    ]
    if preceding:
        before = np.zeros((r * t, t))
        later = position > 0
        before[later] = np.eye(t)[orders[row[later], position[later] - 1]]
        parts.append(("preceding", before))
    kinds = [kind for kind, columns in parts for _ in range(columns.shape[1])]
    return np.hstack([columns for _, columns in parts]), kinds


def _contrasts(kinds: Sequence[str], kind: str) -> Values:
    """Rows (L, K) that take each effect of a kind less the mean of the kind."""
    places = [k for k, found in enumerate(kinds) if found == kind]
    rows = np.zeros((len(places), len(kinds)))
    rows[:, places] = np.eye(len(places)) - 1 / len(places)
    return rows


def _identified(design: Values, kinds: Sequence[str], kind: str) -> bool:
    """Whether every contrast lies in the row space of the design."""
    contrasts = _contrasts(kinds, kind)
    inside = contrasts @ np.linalg.pinv(design, rcond=ZERO) @ design
    return bool(np.abs(inside - contrasts).max() < ZERO)


def _fit(model: _Model, values: Values, level: float, reason: str) -> Fitted:
    if not model.identified:
        return _refused(reason)
    degrees = values.size - model.rank
    if degrees < 1:
        return _refused(f"{len(values)} orders leave no degree of freedom: more orders are needed")
    y = values.ravel()
    noise = _noise(model.design, y)
    effects = model.weights @ y
    scale = np.sqrt((model.weights**2).sum(axis=1))
    variance = noise / degrees
    half = float(stdtrit(degrees, 0.5 + level / 2)) * np.sqrt(variance) * scale
    explained = _noise(model.rest, y) - noise
    p_value = None
    if noise > ZERO**2 * y.size:
        p_value = float(
            fdtrc(model.tested, degrees, max(explained, 0.0) / model.tested / variance)
        )
    return Fitted(effects, half, p_value, degrees, None)


def _noise(design: Values, y: Values) -> float:
    """Sum of squares that the fit leaves."""
    fit = np.linalg.lstsq(design, y, rcond=ZERO)[0]
    return float(((y - design @ fit) ** 2).sum())


def _refused(reason: str) -> Fitted:
    return Fitted(np.empty(0), np.empty(0), None, 0, reason)
