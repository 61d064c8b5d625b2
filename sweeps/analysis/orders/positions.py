"""Effects of the position of a task, and of the preceding task, on the accuracy of the task.

The model of the accuracy on the task at position p of order r, averaged over the seeds, is

    y[r, p] = order[r] + task[g] + position[p] (+ preceding[h]) + noise,    g = order[r][p],
                                                                            h = order[r][p - 1]

It is fitted by least squares for each configuration. Effects are deviations from their mean. The
ranks of the columns of the model determine whether a design identifies an effect. Effects that are
not identified are not estimated; the result contains the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import fdtrc, stdtrit

from sweeps.analysis.trials.accuracy import task_counts
from sweeps.analysis.trials.summary import counted_runs
from sweeps.results import latest_trials
from sweeps.statistics.intervals import LEVEL

Values = npt.NDArray[np.float64]
Orders = npt.NDArray[np.int64]
Response = Literal["final", "learned"]
"""Time of the evaluation: after the last task (`final`), or right after the task (`learned`)."""

ZERO = 1e-8
"""Relative size below which a singular value or a contrast counts as a rounding error."""


class EffectEstimates(NamedTuple):
    """Effects of one kind in one configuration, or the reason why there are none."""

    effects: Values
    """(L,) deviations from their mean, by position or by index of the preceding task."""
    half: Values
    """(L,) half-widths of the 95 % intervals."""
    p_value: float | None
    """p-value of the hypothesis that all effects are 0 (F test)."""
    degrees: int
    """Degrees of freedom of the noise."""
    reason: str | None
    """Reason why the design does not identify the effects, which are then empty; else None."""


class TaskAccuracies(NamedTuple):
    """Accuracies of one configuration, one row per order."""

    config_id: str
    label: str
    orders: Orders  # (R, T): task group at each position
    values: Values  # (R, T): accuracy on it, averaged over the seeds


def task_accuracies(
    trials: pa.Table, evals: pa.Table, readout_id: str, split: str, response: Response = "final"
) -> list[TaskAccuracies]:
    """Return the accuracies by configuration and grouping of classes.

    `trials` and `evals` are tables of `sweeps.results`. Unfinished trials, and methods that see
    all tasks at once, are excluded.
    """
    with_readout = [t for t in latest_trials(trials).to_pylist() if readout_id in t["readout_ids"]]
    counted = counted_runs(with_readout, task_counts(evals, split), readout_id)
    by_configuration: dict[tuple[str, ...], dict[tuple[int, ...], list[Values]]] = {}
    for trial, run_counts in zip(with_readout, counted, strict=True):
        if run_counts is None or run_counts.n.shape[0] != run_counts.n.shape[1]:
            continue
        matrix = run_counts.accuracy
        values = matrix[-1] if response == "final" else matrix.diagonal()
        key = (trial["config_id"], trial["label"], trial["partition_id"])
        by_configuration.setdefault(key, {}).setdefault(tuple(trial["task_order"]), []).append(
            values
        )
    return [
        TaskAccuracies(
            config_id,
            label,
            np.array(list(by_order), dtype=np.int64),
            np.stack([np.mean(values, axis=0) for values in by_order.values()]),
        )
        for (config_id, label, _), by_order in by_configuration.items()
    ]


def position_effects(orders: Orders, values: Values, level: float = LEVEL) -> EffectEstimates:
    """Return the effect of each of the T positions on `values` (R, T), for `orders` (R, T)."""
    if len(orders) < 2:
        return _refused("one order: each task has only one position")
    model = _model(np.asarray(orders, dtype=np.int64).tobytes(), np.shape(orders), preceding=False)
    reason = "these orders do not separate the position from the task; a Latin square does"
    return _fit(model, values, level, reason)


def carry_over(orders: Orders, values: Values, level: float = LEVEL) -> EffectEstimates:
    """Return the effect of each of the T tasks on the task that is learned right after it.

    The effect must be identified from the tasks that have a predecessor. A cyclic Latin square is
    rejected, because each task follows the same task in all rows but one.
    """
    if len(orders) < 2:
        return _refused("one order: each task has only one predecessor")
    model = _model(np.asarray(orders, dtype=np.int64).tobytes(), np.shape(orders), preceding=True)
    reason = (
        "these orders do not separate the preceding task from the task; a Williams design does"
    )
    return _fit(model, values, level, reason)


class _Model(NamedTuple):
    """Part of a fit that depends only on the orders; all configurations of a sweep share it."""

    design: Values  # (R T, K)
    rest: Values  # columns of the other kinds
    weights: Values  # (L, R T): linear map from values to effects
    rank: int
    tested: int
    """Degrees of freedom of the F test."""
    identified: bool


@lru_cache(maxsize=8)
def _model(data: bytes, shape: tuple[int, int], preceding: bool) -> _Model:
    """Return the model of orders (R, T), which are passed as bytes to be hashable."""
    design, kinds = _columns(np.frombuffer(data, dtype=np.int64).reshape(shape), preceding)
    kind = "preceding" if preceding else "position"
    identified = _identified(design, kinds, kind)
    if preceding:
        follows = np.tile(np.arange(shape[1]) > 0, shape[0])  # (R T,)
        identified = identified and _identified(design[follows], kinds, kind)
    rest = design[:, [column_kind != kind for column_kind in kinds]]
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
    """Return the indicator columns (R T, K) of the model, and the kind of each column."""
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
    """Return contrasts (L, K): each effect of a kind minus the mean of the kind."""
    places = [k for k, column_kind in enumerate(kinds) if column_kind == kind]
    rows = np.zeros((len(places), len(kinds)))
    rows[:, places] = np.eye(len(places)) - 1 / len(places)
    return rows


def _identified(design: Values, kinds: Sequence[str], kind: str) -> bool:
    """Return True if every contrast lies in the row space of the design."""
    contrasts = _contrasts(kinds, kind)
    inside = contrasts @ np.linalg.pinv(design, rcond=ZERO) @ design
    return bool(np.abs(inside - contrasts).max() < ZERO)


def _fit(model: _Model, values: Values, level: float, reason: str) -> EffectEstimates:
    if not model.identified:
        return _refused(reason)
    degrees = values.size - model.rank
    if degrees < 1:
        return _refused(
            f"{len(values)} orders leave no degrees of freedom: more orders are needed"
        )
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
    return EffectEstimates(effects, half, p_value, degrees, None)


def _noise(design: Values, y: Values) -> float:
    """Return the residual sum of squares of the fit."""
    fit = np.linalg.lstsq(design, y, rcond=ZERO)[0]
    return float(((y - design @ fit) ** 2).sum())


def _refused(reason: str) -> EffectEstimates:
    return EffectEstimates(np.empty(0), np.empty(0), None, 0, reason)
