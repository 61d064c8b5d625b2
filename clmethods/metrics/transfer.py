"""Metrics that look beyond one class-incremental matrix: forward transfer, intransigence, growth.

Forward transfer reads the task-incremental matrix, which is known above the diagonal too: its
entry a[t, j] is the accuracy among the classes of task j alone, whether or not it was learned.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clmethods.metrics.stacks import Matrix, Values, checked, has_history


def forward_transfer(matrix: npt.ArrayLike, untrained: npt.ArrayLike) -> float | None:
    """Forward transfer of GEM: what earlier tasks do for a task before it is learned.

    FWT = (1/(T-1)) sum_{j>=2} (a[j-1, j] - b[j]), in [-1, 1], higher is better. Lopez-Paz and
    Ranzato 2017. `matrix` is task-incremental, as classes not seen have no class-incremental
    accuracy; `untrained` (T,) holds b, the same of the untrained model. None for T = 1, for a
    joint run, and where the matrix does not reach above its diagonal.
    """
    a = checked(matrix)
    if len(a) < 2:
        return None
    before = a.diagonal(offset=1)
    base = _fractions(untrained, len(a))[1:]
    return None if np.isnan(before).any() else float(np.mean(before - base))


def forward_transfer_all_pairs(matrix: npt.ArrayLike) -> float | None:
    """Mean accuracy on tasks not learned yet, over all pairs.

    (2/(T(T-1))) sum_{i<j} a[i, j], in [0, 1], higher is better. Diaz-Rodriguez et al. 2018, of the
    task-incremental matrix. None as for `forward_transfer`.
    """
    found = forward_transfer_all_pairs_of_many(checked(matrix))
    return None if found is None or np.isnan(found) else float(found)


def forward_transfer_all_pairs_of_many(a: Matrix) -> Values | None:
    """The same of matrices (..., T, T): NaN where one does not reach above its diagonal."""
    if a.shape[-2] < 2:
        return None
    rows, columns = np.triu_indices(a.shape[-1], 1)
    return np.asarray(np.ascontiguousarray(a[..., rows, columns]).mean(axis=-1))


def intransigence(matrix: npt.ArrayLike, reference: npt.ArrayLike) -> float | None:
    """How far each task stays behind a model that was free to learn it.

    I = (1/T) sum_j (a*[j] - a[j, j]), in [-1, 1], lower is better. Chaudhry et al. 2018 (RWalk).
    `reference` (T,) holds a*: of a model trained jointly on the tasks up to j; of anything else it
    is a stand-in and must be called so. None for a joint run.
    """
    a = checked(matrix)
    if not has_history(a):
        return None
    return float(np.mean(_fractions(reference, len(a)) - a.diagonal()))


def model_size_efficiency(memory: npt.ArrayLike) -> float | None:
    """How little the model grows: MS = min(1, (1/T) sum_t Mem(1) / Mem(t)).

    In [0, 1], higher is better. Diaz-Rodriguez et al. 2018. `memory` (T,) is what the model takes
    after each task, in any unit. None where nothing is stored after the first task.
    """
    sizes = np.asarray(memory, dtype=np.float64)
    if sizes.ndim != 1 or len(sizes) == 0 or not np.isfinite(sizes).all() or (sizes < 0).any():
        raise ValueError(f"memory is a size per task, 0 or more, got {sizes.tolist()}")
    if sizes[0] == 0:
        return None
    return float(min(1.0, np.mean(sizes[0] / np.maximum(sizes, np.finfo(np.float64).tiny))))


def feature_drift(then: npt.ArrayLike, now: npt.ArrayLike) -> float:
    """Mean of 1 - cos(h(x), h'(x)) over images: how far features have turned, in [0, 2].

    `then` and `now` are (n, D) features of the same images under two snapshots (docs/method.md
    section 6.2). Lower is better.
    """
    left, right = (np.asarray(h, dtype=np.float64) for h in (then, now))
    if left.shape != right.shape or left.ndim != 2 or len(left) == 0:
        raise ValueError(f"features of the same images, (n, D), got {left.shape}, {right.shape}")
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines = (left * right).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return float(np.mean(1.0 - np.clip(cosines, -1.0, 1.0)))


def _fractions(values: npt.ArrayLike, tasks: int) -> Matrix:
    """Accuracies of a reference, one per task."""
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (tasks,) or not ((found >= 0.0) & (found <= 1.0)).all():
        raise ValueError(f"a reference has {tasks} fractions in [0, 1], got {found.tolist()}")
    return found
