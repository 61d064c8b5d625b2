"""Metrics that need more than a class-incremental matrix: forward transfer, intransigence, growth.

Forward transfer uses the task-incremental matrix, which is also defined above the diagonal: its
entry a[t, j] is the accuracy among the classes of task j only, even before task j was learned.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clmethods.metrics.stacks import Matrix, Values, checked, has_history, of_one


def forward_transfer(matrix: npt.ArrayLike, untrained: npt.ArrayLike) -> float | None:
    """Compute the forward transfer of GEM: the effect of earlier tasks on a task not yet learned.

    FWT = (1/(T-1)) sum_{j>=2} (a[j-1, j] - b[j]), in [-1, 1], higher is better. Lopez-Paz and
    Ranzato 2017. `matrix` (T, T) is task-incremental, because classes that were not seen have no
    class-incremental accuracy. `untrained` (T,) is b, the accuracy of the untrained model. Returns
    None for T = 1, for a joint run, and if the matrix has NaN just above its diagonal.
    """
    a = checked(matrix)
    if len(a) < 2:
        return None
    before = a.diagonal(offset=1)
    base = _fractions(untrained, len(a))[1:]
    return None if np.isnan(before).any() else float(np.mean(before - base))


def forward_transfer_all_pairs(matrix: npt.ArrayLike) -> float | None:
    """Compute the mean accuracy on tasks that are not learned yet, over all pairs of tasks.

    (2/(T(T-1))) sum_{i<j} a[i, j], in [0, 1], higher is better. Diaz-Rodriguez et al. 2018, here
    of the task-incremental matrix (T, T). Returns None for T = 1, for a joint run, and if the
    matrix has NaN above its diagonal.
    """
    return of_one(forward_transfer_all_pairs_of_many, matrix)


def forward_transfer_all_pairs_of_many(a: Matrix) -> Values | None:
    """Compute `forward_transfer_all_pairs` of matrices (..., T, T).

    A value is NaN if its matrix has NaN above the diagonal.
    """
    if a.shape[-2] < 2:
        return None
    rows, columns = np.triu_indices(a.shape[-1], 1)
    return np.asarray(np.ascontiguousarray(a[..., rows, columns]).mean(axis=-1))


def intransigence(matrix: npt.ArrayLike, reference: npt.ArrayLike) -> float | None:
    """Compute the intransigence: the accuracy deficit of each new task relative to a reference.

    I = (1/T) sum_j (a*[j] - a[j, j]), in [-1, 1], lower is better. Chaudhry et al. 2018 (RWalk).
    `matrix` is (T, T). `reference` (T,) is a*, where a*[j] is the accuracy of a model trained
    jointly on the tasks up to j. With any other reference the result is a proxy and must be
    labeled as one. Returns None for a joint run.
    """
    a = checked(matrix)
    if not has_history(a):
        return None
    return float(np.mean(_fractions(reference, len(a)) - a.diagonal()))


def model_size_efficiency(memory: npt.ArrayLike) -> float | None:
    """Compute the model size efficiency MS = min(1, (1/T) sum_t Mem(1) / Mem(t)).

    In [0, 1], higher is better; 1 means that the model does not grow. Diaz-Rodriguez et al. 2018.
    `memory` (T,) is the size of the model after each task, in any unit. Returns None if the size
    after the first task is 0. Raises ValueError for negative or infinite sizes.
    """
    sizes = np.asarray(memory, dtype=np.float64)
    if sizes.ndim != 1 or len(sizes) == 0 or not np.isfinite(sizes).all() or (sizes < 0).any():
        raise ValueError(f"memory is a size per task, 0 or more, got {sizes.tolist()}")
    if sizes[0] == 0:
        return None
    return float(min(1.0, np.mean(sizes[0] / np.maximum(sizes, np.finfo(np.float64).tiny))))


def feature_drift(then: npt.ArrayLike, now: npt.ArrayLike) -> float:
    """Compute the mean of 1 - cos(h(x), h'(x)) over images, in [0, 2], lower is better.

    `then` and `now` are (n, D) features of the same images under two snapshots (docs/method.md
    section 6.2). Raises ValueError if their shapes differ or n is 0.
    """
    left, right = (np.asarray(h, dtype=np.float64) for h in (then, now))
    if left.shape != right.shape or left.ndim != 2 or len(left) == 0:
        raise ValueError(f"features of the same images, (n, D), got {left.shape}, {right.shape}")
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines = (left * right).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return float(np.mean(1.0 - np.clip(cosines, -1.0, 1.0)))


def _fractions(values: npt.ArrayLike, tasks: int) -> Matrix:
    """Return the accuracies of a reference, one per task, after validation."""
    fractions = np.asarray(values, dtype=np.float64)
    if fractions.shape != (tasks,) or not ((fractions >= 0.0) & (fractions <= 1.0)).all():
        raise ValueError(f"a reference has {tasks} fractions in [0, 1], got {fractions.tolist()}")
    return fractions
