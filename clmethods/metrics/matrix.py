"""Accuracy matrix -> average accuracy, forgetting, backward transfer and their relatives.

One definition each (docs/method.md 6.2), because published code disagrees on most of them. A
matrix a has one row per finished task and one column per task, in the order of learning: a[t, j]
is the accuracy on task j after task t, a fraction in [0, 1]. Entries above the diagonal are NaN
or the accuracy on a task not learned yet; no metric here reads them. A run that saw all tasks at
once has a single row of T columns: it has an average accuracy and no history.
Formulas count tasks from 1. A metric that is undefined is None and never 0.

Each is defined on stacks (..., S, T) of matrices, by a function whose name begins with `_`: a
sweep has thousands of runs. It gives NaN for a matrix, and None for a shape, without the metric.
The function of one matrix is that of a stack of one, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clmethods.metrics.stacks import (
    Direction,
    Matrix,
    OfMany,
    Values,
    checked,
    diagonal,
    has_history,
    mean_of,
    of_one,
    peaks,
)


def average_accuracy(matrix: npt.ArrayLike) -> float:
    """Mean accuracy over all tasks at the end, each task weighing the same.

    A = (1/T) sum_j a[T, j], in [0, 1], higher is better. Lopez-Paz and Ranzato 2017 (ACC); the
    "Avg. Acc" of arXiv 2504.13407. Raises ValueError for a malformed matrix, as all functions do.
    """
    return float(_average_accuracy(checked(matrix)))


def _average_accuracy(a: Matrix) -> Values:
    return mean_of(a[..., -1, :])


def average_incremental_accuracy(matrix: npt.ArrayLike) -> float | None:
    """Mean over the tasks of the average accuracy on the tasks seen by then.

    AIA = (1/T) sum_t (1/t) sum_{j<=t} a[t, j], in [0, 1], higher is better. Rebuffi et al. 2017
    (iCaRL), task-uniform. None for a joint run.
    """
    return of_one(_average_incremental_accuracy, matrix)


def _average_incremental_accuracy(a: Matrix) -> Values | None:
    if not has_history(a):
        return None
    return mean_of(np.stack([mean_of(a[..., t, : t + 1]) for t in range(a.shape[-1])], axis=-1))


def forgetting(matrix: npt.ArrayLike) -> float | None:
    """Mean drop from each old task's best accuracy before the last task.

    F = (1/(T-1)) sum_{j<T} (max_{j<=l<T} a[l, j] - a[T, j]), in [-1, 1], lower is better.
    Chaudhry et al. 2018 (RWalk). The maximum leaves the last row out, so that an old task that
    improved counts as negative forgetting. None for T = 1 and for a joint run.
    """
    return of_one(_forgetting, matrix)


def _forgetting(a: Matrix) -> Values | None:
    return None if a.shape[-2] < 2 else mean_of(peaks(a) - a[..., -1, :-1])


def forgetting_mammoth(matrix: npt.ArrayLike) -> float | None:
    """Forgetting as the library mammoth computes it: the maximum takes in the last task.

    (1/(T-1)) sum_{j<T} (max_{j<=l<=T} a[l, j] - a[T, j]), in [0, 1], lower is better. It is
    forgetting with every task's improvement counted as 0. None for T = 1 and for a joint run.
    """
    return of_one(_forgetting_mammoth, matrix)


def _forgetting_mammoth(a: Matrix) -> Values | None:
    if a.shape[-2] < 2:
        return None
    return mean_of(np.maximum(peaks(a) - a[..., -1, :-1], 0.0))


def forgetting_avalanche(matrix: npt.ArrayLike) -> float | None:
    """Forgetting as the library avalanche computes it: first accuracy less the last.

    (1/(T-1)) sum_{j<T} (a[j, j] - a[T, j]), in [-1, 1], lower is better; -BWT. What a task gained
    before it was forgotten does not count, so it is at most `forgetting`. None for T = 1 and for a
    joint run.
    """
    return of_one(_forgetting_avalanche, matrix)


def _forgetting_avalanche(a: Matrix) -> Values | None:
    transfer = _bwt(a)
    return None if transfer is None else -transfer


def forgetting_continuum(matrix: npt.ArrayLike) -> float | None:
    """Forgetting as the library continuum 1.2.7 computes it, to compare with numbers from there.

    (1/(T-1)) sum_{j<T-1} (max_{j<=l<T-1} a[l, j] - a[T, j]), lower is better: its loops end one
    task early, so the task before the last counts as not forgotten and its row is no peak
    (Continvvm/continuum issue 291). None for T = 1 and for a joint run.
    """
    return of_one(_forgetting_continuum, matrix)


def _forgetting_continuum(a: Matrix) -> Values | None:
    stages = a.shape[-2]
    if stages < 2:
        return None
    drops = [a[..., j:-2, j].max(axis=-1) - a[..., -1, j] for j in range(stages - 2)]
    return np.asarray(sum(drops, np.zeros(a.shape[:-2])) / (stages - 1))


def bwt(matrix: npt.ArrayLike) -> float | None:
    """Backward transfer: mean change of the old tasks since each was learned.

    BWT = (1/(T-1)) sum_{j<T} (a[T, j] - a[j, j]), in [-1, 1], higher is better. Lopez-Paz and
    Ranzato 2017 (GEM). -BWT <= F always. None for T = 1 and for a joint run.
    """
    return of_one(_bwt, matrix)


def _bwt(a: Matrix) -> Values | None:
    return None if a.shape[-2] < 2 else mean_of(a[..., -1, :-1] - diagonal(a)[..., :-1])


def bwt_plus(matrix: npt.ArrayLike) -> float | None:
    """Positive backward transfer: max(BWT, 0), in [0, 1], higher is better.

    Diaz-Rodriguez et al. 2018. None for T = 1 and for a joint run.
    """
    return of_one(_bwt_plus, matrix)


def _bwt_plus(a: Matrix) -> Values | None:
    transfer = _bwt(a)
    return None if transfer is None else np.maximum(transfer, 0.0)


def remembering(matrix: npt.ArrayLike) -> float | None:
    """REM = 1 - |min(BWT, 0)|, in [0, 1], higher is better.

    Diaz-Rodriguez et al. 2018. None for T = 1 and for a joint run.
    """
    return of_one(_remembering, matrix)


def _remembering(a: Matrix) -> Values | None:
    transfer = _bwt(a)
    return None if transfer is None else 1.0 - np.abs(np.minimum(transfer, 0.0))


def bwt_all_pairs(matrix: npt.ArrayLike) -> float | None:
    """Backward transfer over all pairs of tasks, not only at the end.

    (2/(T(T-1))) sum_{i>=2} sum_{j<i} (a[i, j] - a[j, j]), in [-1, 1], higher is better.
    Diaz-Rodriguez et al. 2018. None for T = 1 and for a joint run.
    """
    return of_one(_bwt_all_pairs, matrix)


def _bwt_all_pairs(a: Matrix) -> Values | None:
    if a.shape[-2] < 2:
        return None
    changes = a - diagonal(a)[..., None, :]  # column j less what task j began with
    rows, columns = np.tril_indices(a.shape[-1], -1)
    return mean_of(changes[..., rows, columns])


def learning_accuracy(matrix: npt.ArrayLike) -> float | None:
    """Plasticity: mean accuracy on each task right after it was learned.

    LA = (1/T) sum_j a[j, j], in [0, 1], higher is better. Riemer et al. 2019. None for a joint
    run. A = LA + ((T-1)/T) BWT holds exactly.
    """
    return of_one(_learning_accuracy, matrix)


def _learning_accuracy(a: Matrix) -> Values | None:
    return mean_of(diagonal(a)) if has_history(a) else None


def stability(matrix: npt.ArrayLike) -> float | None:
    """Share of each old task's best accuracy that is left at the end.

    S = mean over j < T of a[T, j] / max_{j<=l<T} a[l, j], at least 0, above 1 where the last task
    helped; higher is better (docs/method.md 6.2). Tasks whose peak is 0 are left out. None for
    T = 1, for a joint run, and if no task is left.
    """
    return of_one(_stability, matrix)


def _stability(a: Matrix) -> Values | None:
    if a.shape[-2] < 2:
        return None
    best = peaks(a).reshape(-1, a.shape[-1] - 1)  # (N, T - 1)
    last = a[..., -1, :-1].reshape(best.shape)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        left = last / best  # a peak next to nothing gives inf, not an error
    found = mean_of(left)
    for row in np.flatnonzero(~(best > 0).all(axis=1)):
        kept = left[row][best[row] > 0]
        found[row] = kept.mean() if len(kept) else np.nan
    return np.asarray(found.reshape(a.shape[:-2]))


def stability_plasticity(matrix: npt.ArrayLike) -> float | None:
    """Harmonic mean of stability S and learning accuracy LA: 2 S LA / (S + LA).

    At least 0, higher is better (docs/method.md section 6.2); 0 where either is 0. None where
    stability is.
    """
    return of_one(_stability_plasticity, matrix)


def _stability_plasticity(a: Matrix) -> Values | None:
    kept, learned = _stability(a), _learning_accuracy(a)
    if kept is None or learned is None:
        return None
    with np.errstate(divide="ignore", over="ignore"):
        both = 2.0 / (1.0 / kept + 1.0 / learned)  # 0 where one of them is, or nearly so
    return np.where(np.isnan(kept), np.nan, np.where((kept > 0) & (learned > 0), both, 0.0))


class Metric(NamedTuple):
    """How a metric is computed from an accuracy matrix, and how to read it."""

    function: Callable[[npt.ArrayLike], float | None]
    direction: Direction
    """`max` if higher is better."""
    definition: str
    of_many: OfMany
    """The same of a stack of matrices."""


METRICS: dict[str, Metric] = {
    "average_accuracy": Metric(
        average_accuracy,
        "max",
        "mean accuracy over all tasks after the last one",
        _average_accuracy,
    ),
    "average_incremental_accuracy": Metric(
        average_incremental_accuracy,
        "max",
        "mean, over the tasks, of the average accuracy on the tasks seen by then",
        _average_incremental_accuracy,
    ),
    "forgetting": Metric(
        forgetting,
        "min",
        "mean drop of old tasks from their best accuracy before the last task",
        _forgetting,
    ),
    "forgetting_mammoth": Metric(
        forgetting_mammoth,
        "min",
        "forgetting with the last task in the maximum, as in mammoth and PILOT",
        _forgetting_mammoth,
    ),
    "forgetting_avalanche": Metric(
        forgetting_avalanche,
        "min",
        "mean drop of old tasks since each was learned, as in avalanche: -BWT",
        _forgetting_avalanche,
    ),
    "forgetting_continuum": Metric(
        forgetting_continuum,
        "min",
        "forgetting with the ranges of continuum 1.2.7, which end one task early",
        _forgetting_continuum,
    ),
    "bwt": Metric(bwt, "max", "mean change of old tasks since each was learned", _bwt),
    "bwt_plus": Metric(
        bwt_plus, "max", "backward transfer where it is positive, else 0", _bwt_plus
    ),
    "remembering": Metric(remembering, "max", "1 less what backward transfer lost", _remembering),
    "bwt_all_pairs": Metric(
        bwt_all_pairs,
        "max",
        "mean change of old tasks since learned, over all later tasks",
        _bwt_all_pairs,
    ),
    "learning_accuracy": Metric(
        learning_accuracy,
        "max",
        "mean accuracy on each task right after it was learned",
        _learning_accuracy,
    ),
    "stability": Metric(
        stability,
        "max",
        "share of the old tasks' best accuracy that is left at the end",
        _stability,
    ),
    "stability_plasticity": Metric(
        stability_plasticity,
        "max",
        "harmonic mean of stability and learning accuracy",
        _stability_plasticity,
    ),
}
"""Every metric of a class-incremental accuracy matrix, by its name in tables and objectives."""
