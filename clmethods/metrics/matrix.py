"""Metrics of an accuracy matrix: average accuracy, forgetting, backward transfer and others.

Each metric has one definition (docs/method.md section 6.2), because published implementations
disagree on most of them. An accuracy matrix a has one row per finished task and one column per
task, in the order of learning: a[t, j] is the accuracy on task j after task t, between 0 and 1.
Entries above the diagonal are NaN or the accuracy on a task that is not learned yet; no metric
in this module uses them. A joint run, which trains on all tasks at once, has a single row of T
columns. It has an average accuracy but no history. Formulas count tasks from 1. An undefined
metric is None and never 0.

Each metric is computed by a private function of stacks (..., S, T) of matrices, because a sweep
has thousands of runs. This function returns NaN for a matrix, and None for a shape, for which the
metric is undefined. The public function of one matrix gives the same bits as a stack of one.
All functions raise ValueError for an invalid matrix.
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
    """Compute the mean accuracy over all tasks after the last one, with equal weights.

    A = (1/T) sum_j a[T, j], in [0, 1], higher is better. Lopez-Paz and Ranzato 2017 (ACC); the
    "Avg. Acc" of arXiv 2504.13407.
    """
    return float(_average_accuracy(checked(matrix)))


def _average_accuracy(a: Matrix) -> Values:
    return mean_of(a[..., -1, :])


def average_incremental_accuracy(matrix: npt.ArrayLike) -> float | None:
    """Compute the mean over all stages of the average accuracy on the tasks seen so far.

    AIA = (1/T) sum_t (1/t) sum_{j<=t} a[t, j], in [0, 1], higher is better. Rebuffi et al. 2017
    (iCaRL), with equal weights of the tasks. Returns None for a joint run.
    """
    return of_one(_average_incremental_accuracy, matrix)


def _average_incremental_accuracy(a: Matrix) -> Values | None:
    if not has_history(a):
        return None
    return mean_of(np.stack([mean_of(a[..., t, : t + 1]) for t in range(a.shape[-1])], axis=-1))


def forgetting(matrix: npt.ArrayLike) -> float | None:
    """Compute the mean drop of each old task from its best accuracy before the last task.

    F = (1/(T-1)) sum_{j<T} (max_{j<=l<T} a[l, j] - a[T, j]), in [-1, 1], lower is better.
    Chaudhry et al. 2018 (RWalk). The maximum excludes the last row, so that an old task that
    improved has negative forgetting. Returns None for T = 1 and for a joint run.
    """
    return of_one(_forgetting, matrix)


def _forgetting(a: Matrix) -> Values | None:
    return None if a.shape[-2] < 2 else mean_of(peaks(a) - a[..., -1, :-1])


def forgetting_mammoth(matrix: npt.ArrayLike) -> float | None:
    """Compute forgetting as the library mammoth does: the maximum includes the last task.

    (1/(T-1)) sum_{j<T} (max_{j<=l<=T} a[l, j] - a[T, j]), in [0, 1], lower is better. It equals
    forgetting with negative terms set to 0. Returns None for T = 1 and for a joint run.
    """
    return of_one(_forgetting_mammoth, matrix)


def _forgetting_mammoth(a: Matrix) -> Values | None:
    if a.shape[-2] < 2:
        return None
    return mean_of(np.maximum(peaks(a) - a[..., -1, :-1], 0.0))


def forgetting_avalanche(matrix: npt.ArrayLike) -> float | None:
    """Compute forgetting as the library avalanche does: first accuracy minus last accuracy.

    (1/(T-1)) sum_{j<T} (a[j, j] - a[T, j]), in [-1, 1], lower is better. It equals -BWT. Gains
    of a task between its first and its last accuracy do not count, so it is at most `forgetting`.
    Returns None for T = 1 and for a joint run.
    """
    return of_one(_forgetting_avalanche, matrix)


def _forgetting_avalanche(a: Matrix) -> Values | None:
    transfer = _bwt(a)
    return None if transfer is None else -transfer


def forgetting_continuum(matrix: npt.ArrayLike) -> float | None:
    """Compute forgetting as the library continuum 1.2.7 does, for comparison with its results.

    (1/(T-1)) sum_{j<T-1} (max_{j<=l<T-1} a[l, j] - a[T, j]), lower is better. The loops of
    continuum end one task early: the second-to-last task counts as not forgotten, and its row is
    not part of the maximum (Continvvm/continuum issue 291). Returns None for T = 1 and for a joint
    run.
    """
    return of_one(_forgetting_continuum, matrix)


def _forgetting_continuum(a: Matrix) -> Values | None:
    stages = a.shape[-2]
    if stages < 2:
        return None
    drops = [a[..., j:-2, j].max(axis=-1) - a[..., -1, j] for j in range(stages - 2)]
    return np.asarray(sum(drops, np.zeros(a.shape[:-2])) / (stages - 1))


def bwt(matrix: npt.ArrayLike) -> float | None:
    """Compute the backward transfer: the mean change of old tasks since each was learned.

    BWT = (1/(T-1)) sum_{j<T} (a[T, j] - a[j, j]), in [-1, 1], higher is better. Lopez-Paz and
    Ranzato 2017 (GEM). -BWT <= F always. Returns None for T = 1 and for a joint run.
    """
    return of_one(_bwt, matrix)


def _bwt(a: Matrix) -> Values | None:
    return None if a.shape[-2] < 2 else mean_of(a[..., -1, :-1] - diagonal(a)[..., :-1])


def bwt_plus(matrix: npt.ArrayLike) -> float | None:
    """Compute the positive backward transfer max(BWT, 0), in [0, 1], higher is better.

    Diaz-Rodriguez et al. 2018. Returns None for T = 1 and for a joint run.
    """
    return of_one(_bwt_plus, matrix)


def _bwt_plus(a: Matrix) -> Values | None:
    transfer = _bwt(a)
    return None if transfer is None else np.maximum(transfer, 0.0)


def remembering(matrix: npt.ArrayLike) -> float | None:
    """Compute remembering, REM = 1 - |min(BWT, 0)|, in [0, 1], higher is better.

    Diaz-Rodriguez et al. 2018. Returns None for T = 1 and for a joint run.
    """
    return of_one(_remembering, matrix)


def _remembering(a: Matrix) -> Values | None:
    transfer = _bwt(a)
    return None if transfer is None else 1.0 - np.abs(np.minimum(transfer, 0.0))


def bwt_all_pairs(matrix: npt.ArrayLike) -> float | None:
    """Compute the backward transfer over all pairs of tasks, not only after the last task.

    (2/(T(T-1))) sum_{i>=2} sum_{j<i} (a[i, j] - a[j, j]), in [-1, 1], higher is better.
    Diaz-Rodriguez et al. 2018. Returns None for T = 1 and for a joint run.
    """
    return of_one(_bwt_all_pairs, matrix)


def _bwt_all_pairs(a: Matrix) -> Values | None:
    if a.shape[-2] < 2:
        return None
    changes = a - diagonal(a)[..., None, :]  # column j minus the first accuracy on task j
    rows, columns = np.tril_indices(a.shape[-1], -1)
    return mean_of(changes[..., rows, columns])


def learning_accuracy(matrix: npt.ArrayLike) -> float | None:
    """Compute the learning accuracy (plasticity): mean accuracy on each task right after it.

    LA = (1/T) sum_j a[j, j], in [0, 1], higher is better. Riemer et al. 2019. A = LA +
    ((T-1)/T) BWT holds exactly. Returns None for a joint run.
    """
    return of_one(_learning_accuracy, matrix)


def _learning_accuracy(a: Matrix) -> Values | None:
    return mean_of(diagonal(a)) if has_history(a) else None


def stability(matrix: npt.ArrayLike) -> float | None:
    """Compute the mean ratio of each old task's final accuracy to its best earlier accuracy.

    S = mean over j < T of a[T, j] / max_{j<=l<T} a[l, j], at least 0, higher is better
    (docs/method.md section 6.2). A ratio above 1 means that the last task improved the old task.
    Tasks with a best accuracy of 0 are excluded. Returns None for T = 1, for a joint run, and if
    all tasks are excluded.
    """
    return of_one(_stability, matrix)


def _stability(a: Matrix) -> Values | None:
    if a.shape[-2] < 2:
        return None
    best = peaks(a).reshape(-1, a.shape[-1] - 1)  # (N, T - 1)
    last = a[..., -1, :-1].reshape(best.shape)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        ratios = last / best  # a tiny best accuracy gives inf, not an error
    values = mean_of(ratios)
    for row in np.flatnonzero(~(best > 0).all(axis=1)):
        included = ratios[row][best[row] > 0]
        values[row] = included.mean() if len(included) else np.nan
    return np.asarray(values.reshape(a.shape[:-2]))


def stability_plasticity(matrix: npt.ArrayLike) -> float | None:
    """Compute the harmonic mean of stability S and learning accuracy LA: 2 S LA / (S + LA).

    At least 0, higher is better (docs/method.md section 6.2). It is 0 if S or LA is 0. Returns
    None if stability is None.
    """
    return of_one(_stability_plasticity, matrix)


def _stability_plasticity(a: Matrix) -> Values | None:
    kept, learned = _stability(a), _learning_accuracy(a)
    if kept is None or learned is None:
        return None
    with np.errstate(divide="ignore", over="ignore"):
        both = 2.0 / (1.0 / kept + 1.0 / learned)  # 0 if one of them is 0 or tiny
    return np.where(np.isnan(kept), np.nan, np.where((kept > 0) & (learned > 0), both, 0.0))


class Metric(NamedTuple):
    """Metric of an accuracy matrix, with its direction and definition."""

    function: Callable[[npt.ArrayLike], float | None]
    direction: Direction
    """`max` if higher is better, else `min`."""
    definition: str
    of_many: OfMany
    """Function for a stack of matrices."""


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
        "mean over all stages of the average accuracy on the tasks seen so far",
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
        "forgetting with the last task included in the maximum, as in mammoth and PILOT",
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
        "forgetting with the index ranges of continuum 1.2.7, which end one task early",
        _forgetting_continuum,
    ),
    "bwt": Metric(bwt, "max", "mean change of old tasks since each was learned", _bwt),
    "bwt_plus": Metric(bwt_plus, "max", "backward transfer if it is positive, else 0", _bwt_plus),
    "remembering": Metric(
        remembering, "max", "1 minus the size of negative backward transfer", _remembering
    ),
    "bwt_all_pairs": Metric(
        bwt_all_pairs,
        "max",
        "mean change of old tasks since each was learned, over all later tasks",
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
        "mean ratio of the old tasks' final accuracy to their best accuracy",
        _stability,
    ),
    "stability_plasticity": Metric(
        stability_plasticity,
        "max",
        "harmonic mean of stability and learning accuracy",
        _stability_plasticity,
    ),
}
"""All metrics of a class-incremental accuracy matrix, by their names in tables and objectives."""
