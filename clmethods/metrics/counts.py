"""Counts of one run -> every metric, class- and task-incremental.

Class-incremental accuracy is among all classes seen, task-incremental (`til_`) among those of the
image's own task. METRICS are functions of a class-incremental matrix; COUNT_METRICS need more:
numbers of images, the task-incremental matrix, inferred tasks, memory, or reference runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clmethods.metrics.matrix import METRICS
from clmethods.metrics.stacks import Direction, Matrix, OfMany, Values, checked_stack
from clmethods.metrics.transfer import (
    forward_transfer,
    forward_transfer_all_pairs,
    forward_transfer_all_pairs_of_many,
    intransigence,
    model_size_efficiency,
)


def pooled_accuracy(counts: npt.ArrayLike) -> float | None:
    """Accuracy over all images, so that large tasks weigh more.

    A° = sum_j correct_j / sum_j n_j, in [0, 1], higher is better; the "top-1" of PILOT, InfLoRA
    and SD-LoRA. `counts` has one row (correct, n) per task. Equal n give the average accuracy.
    None where there is no image. Raises ValueError unless 0 <= correct <= n.
    """
    table = np.asarray(counts)
    if table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(f"counts must be rows of (correct, n), got shape {table.shape}")
    correct, n = table[:, 0], table[:, 1]
    if np.any(correct < 0) or np.any(correct > n):
        raise ValueError(f"0 <= correct <= n must hold, got {table.tolist()}")
    total = n.sum()
    return float(correct.sum() / total) if total > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counts:
    """What one run got right: S stages by T tasks, both in the order of learning, in images.

    S is T, or 1 for a joint run. Where a task was not evaluated, `n` is 0. Counts of many runs of
    the same S and T may be stacked, (N, S, T): see `metrics_of_many`.
    """

    n: npt.NDArray[np.int64]
    """(S, T)."""
    correct: npt.NDArray[np.int64]
    """(S, T) among all classes seen; read on and below the diagonal."""
    correct_task_given: npt.NDArray[np.int64]
    """(S, T) among the classes of the task."""
    task_id_correct: npt.NDArray[np.int64] | None = None
    """(S, T) routed to its own task; None where the readout infers none."""
    memory: npt.NDArray[np.float64] | None = None
    """(S,) what the model takes after each stage, in bytes."""
    references: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    """(T,) accuracies of reference runs on each task, by the names of `REFERENCES`."""

    @property
    def class_incremental(self) -> Matrix:
        """(S, T) accuracies among all classes seen; NaN above the diagonal."""
        stages, tasks = self.n.shape[-2:]
        a = _rates(self.correct, self.n)
        seen = np.tril(np.ones((stages, tasks), dtype=bool)) if stages == tasks else True
        return np.where(seen, a, np.nan)

    @property
    def task_incremental(self) -> Matrix:
        """(S, T) accuracies among the classes of the task."""
        return _rates(self.correct_task_given, self.n)


REFERENCES: dict[str, str] = {
    "untrained": "task-incremental accuracy of the untrained model on each task",
    "joint_until": "accuracy on task j of a model trained jointly on the tasks up to j",
    "single": "accuracy on each task of a model trained on it alone, among its classes",
    "joint_final": "accuracy on each task of a model trained jointly on all tasks",
}
"""Runs that some metrics compare with, by the name in `Counts.references`."""


OfManyCounts = Callable[[Counts], Values | None]
"""Stacked counts to values (...), NaN where undefined; None if none of them has it."""


class CountMetric(NamedTuple):
    """How a metric is computed from counts, and how to read it."""

    function: Callable[[Counts], float | None]
    direction: Direction
    definition: str
    needs: str | None = None
    """A run of `REFERENCES`, or `memory`: the metric is None where it is not given."""
    of_many: OfManyCounts | None = None
    """The same of stacked counts; those that need a reference have none."""


def _pooled(counts: Counts) -> Values:
    return _pooled_rate(counts.correct[..., -1, :], counts.n[..., -1, :])


def _pooled_incremental(counts: Counts) -> Values | None:
    stages, tasks = counts.n.shape[-2:]
    if stages != tasks:
        return None
    rows = [
        _pooled_rate(counts.correct[..., t, : t + 1], counts.n[..., t, : t + 1])
        for t in range(stages)
    ]
    return np.asarray(np.stack(rows, axis=-1).mean(axis=-1))


def _pooled_rate(correct: npt.NDArray[np.int64], n: npt.NDArray[np.int64]) -> Values:
    """Right answers over images, of all tasks together; NaN where there is no image."""
    if np.any(correct < 0) or np.any(correct > n):
        raise ValueError(f"0 <= correct <= n must hold, got {correct.tolist()} of {n.tolist()}")
    return _rates(np.asarray(correct.sum(axis=-1)), np.asarray(n.sum(axis=-1)))


def _task_id_accuracy(counts: Counts) -> Values | None:
    if counts.task_id_correct is None:
        return None
    rates = _rates(counts.task_id_correct[..., -1, :], counts.n[..., -1, :])
    return np.asarray(np.ascontiguousarray(rates).mean(axis=-1))


def _one(of_many: OfManyCounts) -> Callable[[Counts], float | None]:
    """The metric of one run; None where it is undefined."""

    def function(counts: Counts) -> float | None:
        found = of_many(counts)
        return None if found is None or np.isnan(found) else float(found)

    return function


def _task_given(function: Callable[[npt.ArrayLike], float | None]) -> Callable[..., float | None]:
    return lambda counts: function(counts.task_incremental)


def _task_given_many(of_many: OfMany) -> OfManyCounts:
    return lambda counts: of_many(counts.task_incremental)


def _forward_transfer(counts: Counts) -> float | None:
    untrained = counts.references.get("untrained")
    return None if untrained is None else forward_transfer(counts.task_incremental, untrained)


def _intransigence(reference: str) -> Callable[[Counts], float | None]:
    def function(counts: Counts) -> float | None:
        best = counts.references.get(reference)
        return None if best is None else intransigence(counts.class_incremental, best)

    return function


COUNT_METRICS: dict[str, CountMetric] = {
    "pooled_accuracy": CountMetric(
        _one(_pooled),
        "max",
        "accuracy over all images after the last task, each image alike",
        of_many=_pooled,
    ),
    "pooled_incremental_accuracy": CountMetric(
        _one(_pooled_incremental),
        "max",
        "mean, over the tasks, of the pooled accuracy on the tasks seen by then",
        of_many=_pooled_incremental,
    ),
    "task_id_accuracy": CountMetric(
        _one(_task_id_accuracy),
        "max",
        "images routed to their own task at the end, before any vote",
        of_many=_task_id_accuracy,
    ),
    **{
        f"til_{name}": CountMetric(
            _task_given(metric.function),
            metric.direction,
            f"task-incremental: {metric.definition}",
            of_many=_task_given_many(metric.of_many),
        )
        for name, metric in METRICS.items()
    },
    "fwt_til": CountMetric(
        _forward_transfer,
        "max",
        "task-incremental accuracy on the next task before it is learned, over the untrained one",
        "untrained",
    ),
    "fwt_til_all_pairs": CountMetric(
        _task_given(forward_transfer_all_pairs),
        "max",
        "mean task-incremental accuracy on tasks not learned yet",
        of_many=_task_given_many(forward_transfer_all_pairs_of_many),
    ),
    "intransigence": CountMetric(
        _intransigence("joint_until"),
        "min",
        "mean shortfall of each new task behind joint training on the tasks so far",
        "joint_until",
    ),
    "intransigence_single": CountMetric(
        _intransigence("single"),
        "min",
        "stand-in for intransigence: shortfall behind a model of the task alone",
        "single",
    ),
    "intransigence_joint_final": CountMetric(
        _intransigence("joint_final"),
        "min",
        "stand-in for intransigence: shortfall behind joint training on all tasks",
        "joint_final",
    ),
    "model_size_efficiency": CountMetric(
        lambda counts: None if counts.memory is None else model_size_efficiency(counts.memory),
        "max",
        "how little the model grows over the tasks",
        "memory",
    ),
}
"""Metrics of more than a class-incremental matrix, by their names in tables."""

OF_COUNTS: tuple[str, ...] = (
    *METRICS,
    *(name for name, metric in COUNT_METRICS.items() if metric.needs is None),
)
"""Metrics of a run by itself: evaluation counts are all they need."""

DIRECTIONS: dict[str, Direction] = {
    name: metric.direction for table in (METRICS, COUNT_METRICS) for name, metric in table.items()
}
"""Of every metric, `max` if higher is better."""


def every_metric(counts: Counts) -> dict[str, float | None]:
    """All METRICS and COUNT_METRICS by name. Raises ValueError where a needed count is missing."""
    return some_metrics(counts, [*METRICS, *COUNT_METRICS])


def some_metrics(counts: Counts, names: Iterable[str]) -> dict[str, float | None]:
    """Those METRICS and COUNT_METRICS that are named; names of neither are left out. Raises
    ValueError where a needed count is missing.
    """
    matrix = counts.class_incremental
    found: dict[str, float | None] = {}
    for name in names:
        if name in METRICS:
            found[name] = METRICS[name].function(matrix)
        elif name in COUNT_METRICS:
            found[name] = COUNT_METRICS[name].function(counts)
    return found


def metrics_of_many(counts: Counts) -> dict[str, Values]:
    """The metrics of `OF_COUNTS` for N runs with counts (N, S, T): (N,) each, NaN where undefined.

    Bit for bit what `every_metric` gives for each run. Raises ValueError where a needed count is
    missing in one.
    """
    nothing = np.full(len(counts.n), np.nan)
    matrices = checked_stack(counts.class_incremental)
    checked_stack(counts.task_incremental)
    found = {name: metric.of_many(matrices) for name, metric in METRICS.items()}
    found |= {
        name: metric.of_many(counts)
        for name, metric in COUNT_METRICS.items()
        if metric.of_many is not None
    }
    return {name: nothing if (v := found[name]) is None else v for name in OF_COUNTS}


def _rates(correct: npt.NDArray[np.int64], n: npt.NDArray[np.int64]) -> Matrix:
    """correct / n, and NaN where n is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, correct / n, np.nan)
