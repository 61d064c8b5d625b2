"""Accuracy matrix -> average accuracy, forgetting, backward transfer and their relatives.

One definition each (method.md section 6.2), because published code disagrees on most of them. A
matrix a has one row per finished task and one column per task, in the order of learning: a[t, j]
is the accuracy on task j after task t, a fraction in [0, 1]. Entries above the diagonal are NaN
or the accuracy on a task not learned yet; no metric here reads them. A run that saw all tasks at
once has a single row of T columns: it has an average accuracy and no history.
Formulas count tasks from 1. A metric that is undefined is None and never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Direction = Literal["max", "min"]


def average_accuracy(matrix: npt.ArrayLike) -> float:
    """Mean accuracy over all tasks at the end, each task weighing the same.

    A = (1/T) sum_j a[T, j], in [0, 1], higher is better. Lopez-Paz and Ranzato 2017 (ACC); the
    "Avg. Acc" of arXiv 2504.13407. Raises ValueError for a malformed matrix, as all functions do.
    """
    a = checked(matrix)
    return float(a[-1].mean())


def average_incremental_accuracy(matrix: npt.ArrayLike) -> float | None:
    """Mean over the tasks of the average accuracy on the tasks seen by then.

    AIA = (1/T) sum_t (1/t) sum_{j<=t} a[t, j], in [0, 1], higher is better. Rebuffi et al. 2017
    (iCaRL), task-uniform. None for a joint run.
    """
    a = checked(matrix)
    if not has_history(a):
        return None
    return float(np.mean([a[t, : t + 1].mean() for t in range(len(a))]))


def forgetting(matrix: npt.ArrayLike) -> float | None:
    """Mean drop from each old task's best accuracy before the last task.

    F = (1/(T-1)) sum_{j<T} (max_{j<=l<T} a[l, j] - a[T, j]), in [-1, 1], lower is better.
    Chaudhry et al. 2018 (RWalk). The maximum leaves the last row out, so that an old task that
    improved counts as negative forgetting. None for T = 1 and for a joint run.
    """
    a = checked(matrix)
    if len(a) < 2:
        return None
    return float(np.mean(_peaks(a) - a[-1, :-1]))


def forgetting_mammoth(matrix: npt.ArrayLike) -> float | None:
    """Forgetting as the library mammoth computes it: the maximum takes in the last task.

    (1/(T-1)) sum_{j<T} (max_{j<=l<=T} a[l, j] - a[T, j]), in [0, 1], lower is better. It is
    forgetting with every task's improvement counted as 0. None for T = 1 and for a joint run.
    """
    a = checked(matrix)
    if len(a) < 2:
        return None
    return float(np.mean(np.maximum(_peaks(a) - a[-1, :-1], 0.0)))


def forgetting_avalanche(matrix: npt.ArrayLike) -> float | None:
    """Forgetting as the library avalanche computes it: first accuracy less the last.

    (1/(T-1)) sum_{j<T} (a[j, j] - a[T, j]), in [-1, 1], lower is better; -BWT. What a task gained
    before it was forgotten does not count, so it is at most `forgetting`. None for T = 1 and for a
    joint run.
    """
    transfer = bwt(matrix)
    return None if transfer is None else -transfer


def forgetting_continuum(matrix: npt.ArrayLike) -> float | None:
    """Forgetting as the library continuum 1.2.7 computes it, to compare with numbers from there.

    (1/(T-1)) sum_{j<T-1} (max_{j<=l<T-1} a[l, j] - a[T, j]), lower is better: its loops end one
    task early, so the task before the last counts as not forgotten and its row is no peak
    (Continvvm/continuum issue 291). None for T = 1 and for a joint run.
    """
    a = checked(matrix)
    if len(a) < 2:
        return None
    drops = [a[j:-2, j].max() - a[-1, j] for j in range(len(a) - 2)]
    return float(sum(drops) / (len(a) - 1))


def bwt(matrix: npt.ArrayLike) -> float | None:
    """Backward transfer: mean change of the old tasks since each was learned.

    BWT = (1/(T-1)) sum_{j<T} (a[T, j] - a[j, j]), in [-1, 1], higher is better. Lopez-Paz and
    Ranzato 2017 (GEM). -BWT <= F always. None for T = 1 and for a joint run.
    """
    a = checked(matrix)
    if len(a) < 2:
        return None
    return float(np.mean(a[-1, :-1] - a.diagonal()[:-1]))


def bwt_plus(matrix: npt.ArrayLike) -> float | None:
    """Positive backward transfer: max(BWT, 0), in [0, 1], higher is better.

    Diaz-Rodriguez et al. 2018. None for T = 1 and for a joint run.
    """
    transfer = bwt(matrix)
    return None if transfer is None else max(transfer, 0.0)


def remembering(matrix: npt.ArrayLike) -> float | None:
    """REM = 1 - |min(BWT, 0)|, in [0, 1], higher is better.

    Diaz-Rodriguez et al. 2018. None for T = 1 and for a joint run.
    """
    transfer = bwt(matrix)
    return None if transfer is None else 1.0 - abs(min(transfer, 0.0))


def bwt_all_pairs(matrix: npt.ArrayLike) -> float | None:
    """Backward transfer over all pairs of tasks, not only at the end.

    (2/(T(T-1))) sum_{i>=2} sum_{j<i} (a[i, j] - a[j, j]), in [-1, 1], higher is better.
    Diaz-Rodriguez et al. 2018. None for T = 1 and for a joint run.
    """
    a = checked(matrix)
    if len(a) < 2:
        return None
    changes = a - a.diagonal()  # (T, T): column j less what task j began with
    return float(np.mean(changes[np.tril_indices(len(a), -1)]))


def learning_accuracy(matrix: npt.ArrayLike) -> float | None:
    """Plasticity: mean accuracy on each task right after it was learned.

    LA = (1/T) sum_j a[j, j], in [0, 1], higher is better. Riemer et al. 2019. None for a joint
    run. A = LA + ((T-1)/T) BWT holds exactly.
    """
    a = checked(matrix)
    return float(a.diagonal().mean()) if has_history(a) else None


def stability(matrix: npt.ArrayLike) -> float | None:
    """Share of each old task's best accuracy that is left at the end.

    S = mean over j < T of a[T, j] / max_{j<=l<T} a[l, j], at least 0, above 1 where the last task
    helped; higher is better (method.md section 6.2). Tasks whose peak is 0 are left out. None for
    T = 1, for a joint run, and if no task is left.
    """
    a = checked(matrix)
    if len(a) < 2:
        return None
    peaks = _peaks(a)
    learned = peaks > 0
    if not learned.any():
        return None
    with np.errstate(over="ignore"):  # a peak next to nothing gives inf, not an error
        return float(np.mean(a[-1, :-1][learned] / peaks[learned]))


def stability_plasticity(matrix: npt.ArrayLike) -> float | None:
    """Harmonic mean of stability S and learning accuracy LA: 2 S LA / (S + LA).

    At least 0, higher is better (method.md section 6.2); 0 where either is 0. None where
    stability is.
    """
    kept, learned = stability(matrix), learning_accuracy(matrix)
    if kept is None or learned is None:
        return None
    return 2.0 / (1.0 / kept + 1.0 / learned) if kept > 0 and learned > 0 else 0.0


class Metric(NamedTuple):
    """How a metric is computed from an accuracy matrix, and how to read it."""

    function: Callable[[npt.ArrayLike], float | None]
    direction: Direction
    """`max` if higher is better."""
    definition: str


METRICS: dict[str, Metric] = {
    "average_accuracy": Metric(
        average_accuracy, "max", "mean accuracy over all tasks after the last one"
    ),
    "average_incremental_accuracy": Metric(
        average_incremental_accuracy,
        "max",
        "mean, over the tasks, of the average accuracy on the tasks seen by then",
    ),
    "forgetting": Metric(
        forgetting, "min", "mean drop of old tasks from their best accuracy before the last task"
    ),
    "forgetting_mammoth": Metric(
        forgetting_mammoth,
        "min",
        "forgetting with the last task in the maximum, as in mammoth and PILOT",
    ),
    "forgetting_avalanche": Metric(
        forgetting_avalanche,
        "min",
        "mean drop of old tasks since each was learned, as in avalanche: -BWT",
    ),
    "forgetting_continuum": Metric(
        forgetting_continuum,
        "min",
        "forgetting with the ranges of continuum 1.2.7, which end one task early",
    ),
    "bwt": Metric(bwt, "max", "mean change of old tasks since each was learned"),
    "bwt_plus": Metric(bwt_plus, "max", "backward transfer where it is positive, else 0"),
    "remembering": Metric(remembering, "max", "1 less what backward transfer lost"),
    "bwt_all_pairs": Metric(
        bwt_all_pairs, "max", "mean change of old tasks since learned, over all later tasks"
    ),
    "learning_accuracy": Metric(
        learning_accuracy, "max", "mean accuracy on each task right after it was learned"
    ),
    "stability": Metric(
        stability, "max", "share of the old tasks' best accuracy that is left at the end"
    ),
    "stability_plasticity": Metric(
        stability_plasticity, "max", "harmonic mean of stability and learning accuracy"
    ),
}
"""Every metric of a class-incremental accuracy matrix, by its name in tables and objectives."""


def checked(matrix: npt.ArrayLike) -> Matrix:
    """The matrix as float64, after its laws; every entry that some metric reads is a fraction."""
    a = np.asarray(matrix, dtype=np.float64)
    if a.ndim != 2 or a.shape[1] == 0 or a.shape[0] not in {1, a.shape[1]}:
        raise ValueError(f"an accuracy matrix is T x T, or 1 x T for a joint run, got {a.shape}")
    mandatory = np.tril(a) if len(a) == a.shape[1] else a
    if np.isnan(mandatory).any():
        t, j = (int(i[0]) for i in np.isnan(mandatory).nonzero())
        raise ValueError(f"a[{t}, {j}] must be known: task {j} was learned by then, got NaN")
    outside = (a < 0.0) | (a > 1.0)  # NaN above the diagonal is neither
    if outside.any():
        t, j = (int(i[0]) for i in outside.nonzero())
        raise ValueError(f"accuracies are fractions in [0, 1], got a[{t}, {j}] = {a[t, j]}")
    return a


def has_history(a: Matrix) -> bool:
    """Whether there is a row per task, which a joint run over several tasks lacks."""
    return bool(len(a) == a.shape[1])


def _peaks(a: Matrix) -> Matrix:
    """Best accuracy on each old task from its own end to just before the last task's."""
    return np.array([a[j:-1, j].max() for j in range(len(a) - 1)])  # (T - 1,)
