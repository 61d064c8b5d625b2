"""Class-incremental and task-incremental metrics, computed from the evaluation counts of a run.

Class-incremental accuracy compares all classes seen so far. Task-incremental accuracy (`til_`)
compares only the classes of the image's own task. METRICS are functions of a class-incremental
matrix. COUNT_METRICS need more: numbers of images, the task-incremental matrix, inferred tasks,
memory, or reference runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clmethods.metrics.matrix import METRICS
from clmethods.metrics.stacks import Direction, Matrix, OfMany, Values, checked_stack, scalar
from clmethods.metrics.transfer import (
    forward_transfer,
    forward_transfer_all_pairs,
    forward_transfer_all_pairs_of_many,
    intransigence,
    model_size_efficiency,
)


def pooled_accuracy(counts: npt.ArrayLike) -> float | None:
    """Compute the accuracy over all images, in which large tasks have more weight.

    A° = sum_j correct_j / sum_j n_j, in [0, 1], higher is better. PILOT, InfLoRA and SD-LoRA call
    it "top-1". `counts` is (T, 2), one row (correct, n) per task. For equal n it is the average
    accuracy. Returns None if there are no images. Raises ValueError unless 0 <= correct <= n.
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
    """Numbers of images per stage and task that one run classified correctly.

    Rows are the S stages and columns the T tasks, both in the order of learning. S is T, or 1 for
    a joint run. If a task was not evaluated at a stage, `n` is 0. Counts of N runs with the same S
    and T may be stacked to (N, S, T); see `metrics_of_many`.
    """

    n: npt.NDArray[np.int64]
    """(S, T) number of evaluated images."""
    correct: npt.NDArray[np.int64]
    """(S, T) number of images that are correct among all classes seen. Only entries on and below
    the diagonal are used."""
    correct_task_given: npt.NDArray[np.int64]
    """(S, T) number of images that are correct among the classes of their task."""
    task_id_correct: npt.NDArray[np.int64] | None = None
    """(S, T) number of images routed to their own task; None if the readout infers no tasks."""
    memory: npt.NDArray[np.float64] | None = None
    """(S,) bytes of the model after each stage."""
    seen: npt.NDArray[np.bool_] | None = None
    """(S, T) True for tasks learned by then; None: those on and below the diagonal if S is T."""
    references: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    """Accuracies (T,) of reference runs on each task, by the names of `REFERENCES`."""

    @property
    def class_incremental(self) -> Matrix:
        """(S, T) accuracies among all classes seen; NaN for tasks that are not learned yet."""
        stages, tasks = self.n.shape[-2:]
        a = _rates(self.correct, self.n)
        seen = self.seen
        if seen is None:
            history = stages == tasks
            seen = np.tri(stages, dtype=bool) if history else np.ones((stages, tasks), dtype=bool)
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
"""Definitions of the reference runs that some metrics need, by the name in `Counts.references`."""


OfManyCounts = Callable[[Counts], Values | None]
"""Function from stacked counts to values (...). A value is NaN if the metric is undefined for its
run; the result is None if the metric is undefined for all runs."""


class CountMetric(NamedTuple):
    """Metric of the evaluation counts of a run, with its direction and definition."""

    function: Callable[[Counts], float | None]
    direction: Direction
    """`max` if higher is better, else `min`."""
    definition: str
    needs: str | None = None
    """Name in `REFERENCES`, or `memory`. The metric is None if it is not given."""
    of_many: OfManyCounts | None = None
    """Function for stacked counts; None for metrics that need a reference run or memory."""


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
    """Return correct / n summed over the tasks; NaN if there are no images."""
    if np.any(correct < 0) or np.any(correct > n):
        raise ValueError(f"0 <= correct <= n must hold, got {correct.tolist()} of {n.tolist()}")
    return _rates(np.asarray(correct.sum(axis=-1)), np.asarray(n.sum(axis=-1)))


def _task_id_accuracy(counts: Counts) -> Values | None:
    if counts.task_id_correct is None:
        return None
    rates = _rates(counts.task_id_correct[..., -1, :], counts.n[..., -1, :])
    return np.asarray(np.ascontiguousarray(rates).mean(axis=-1))


def _for_one_run(of_many: OfManyCounts) -> Callable[[Counts], float | None]:
    """Return the function for one run, which returns None if the metric is undefined."""

    def function(counts: Counts) -> float | None:
        return scalar(of_many(counts))

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
        _for_one_run(_pooled),
        "max",
        "accuracy over all images after the last task, with equal weight for each image",
        of_many=_pooled,
    ),
    "pooled_incremental_accuracy": CountMetric(
        _for_one_run(_pooled_incremental),
        "max",
        "mean over all stages of the pooled accuracy on the tasks seen so far",
        of_many=_pooled_incremental,
    ),
    "task_id_accuracy": CountMetric(
        _for_one_run(_task_id_accuracy),
        "max",
        "share of images routed to their own task after the last task, before any vote",
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
        "mean gain in task-incremental accuracy on the next task over the untrained model",
        "untrained",
    ),
    "fwt_til_all_pairs": CountMetric(
        _task_given(forward_transfer_all_pairs),
        "max",
        "mean task-incremental accuracy on tasks before they are learned",
        of_many=_task_given_many(forward_transfer_all_pairs_of_many),
    ),
    "intransigence": CountMetric(
        _intransigence("joint_until"),
        "min",
        "mean accuracy deficit of each new task relative to joint training on the tasks so far",
        "joint_until",
    ),
    "intransigence_single": CountMetric(
        _intransigence("single"),
        "min",
        "proxy for intransigence: accuracy deficit relative to a model of the task alone",
        "single",
    ),
    "intransigence_joint_final": CountMetric(
        _intransigence("joint_final"),
        "min",
        "proxy for intransigence: accuracy deficit relative to joint training on all tasks",
        "joint_final",
    ),
    "model_size_efficiency": CountMetric(
        lambda counts: None if counts.memory is None else model_size_efficiency(counts.memory),
        "max",
        "mean ratio of the model's first size to its size after each task; 1 is no growth",
        "memory",
    ),
}
"""Metrics that need more than a class-incremental matrix, by their names in tables."""

OF_COUNTS: tuple[str, ...] = (
    *METRICS,
    *(name for name, metric in COUNT_METRICS.items() if metric.needs is None),
)
"""Names of the metrics that need only the evaluation counts of a run."""

DIRECTIONS: dict[str, Direction] = {
    name: metric.direction for table in (METRICS, COUNT_METRICS) for name, metric in table.items()
}
"""Direction of every metric: `max` if higher is better, else `min`."""

ACCURACIES: frozenset[str] = frozenset(
    {
        "average_accuracy",
        "average_incremental_accuracy",
        "learning_accuracy",
        "pooled_accuracy",
        "pooled_incremental_accuracy",
        "task_id_accuracy",
        "til_average_accuracy",
        "til_average_incremental_accuracy",
        "til_learning_accuracy",
    }
)
"""Metrics that are means of fractions of images, hence between 0 and 1."""


def every_metric(counts: Counts) -> dict[str, float | None]:
    """Compute all METRICS and COUNT_METRICS; return them by name.

    Raises ValueError if a required count is missing.
    """
    return some_metrics(counts, [*METRICS, *COUNT_METRICS])


def some_metrics(counts: Counts, names: Iterable[str]) -> dict[str, float | None]:
    """Compute the metrics called `names`; unknown names are ignored.

    Raises ValueError if a required count is missing.
    """
    matrix = counts.class_incremental
    values: dict[str, float | None] = {}
    for name in names:
        if name in METRICS:
            values[name] = METRICS[name].function(matrix)
        elif name in COUNT_METRICS:
            values[name] = COUNT_METRICS[name].function(counts)
    return values


def metrics_of_many(counts: Counts) -> dict[str, Values]:
    """Compute the metrics in `OF_COUNTS` for N runs with stacked counts (N, S, T).

    Returns (N,) values by name, NaN where a metric is undefined. They are equal bit for bit to the
    values of `every_metric` for each run. Raises ValueError if a required count is missing.
    """
    undefined = np.full(len(counts.n), np.nan)
    matrices = checked_stack(counts.class_incremental)
    checked_stack(counts.task_incremental)
    values = {name: metric.of_many(matrices) for name, metric in METRICS.items()}
    values |= {
        name: metric.of_many(counts)
        for name, metric in COUNT_METRICS.items()
        if metric.of_many is not None
    }
    return {name: undefined if (v := values[name]) is None else v for name in OF_COUNTS}


def _rates(correct: npt.NDArray[np.int64], n: npt.NDArray[np.int64]) -> Matrix:
    """Return correct / n, and NaN where n is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, correct / n, np.nan)
