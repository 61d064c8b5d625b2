"""Evaluation counts, gathered so that a trial's accuracy matrix is a lookup.

Trials share stages, so the counts are summed over the classes of each task once per evaluation
(stage, partition, readout) and then read by as many trials as pass through the stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Counts = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]

_EVALUATION = ("stage_key", "partition_id", "readout_id")


class SequenceCounts(NamedTuple):
    """Counts of one trial: S stages by T tasks in the order of learning."""

    correct: Counts  # (S, T)
    n: Counts  # (S, T), 0 where the task was not seen or the evaluation is missing

    @property
    def accuracy(self) -> Matrix:
        """correct / n, and NaN where n is 0."""
        with np.errstate(invalid="ignore"):
            return np.where(self.n > 0, self.correct / self.n, np.nan)  # (S, T)


@final
class TaskCounts:
    """Right answers and images per evaluation and task, over one split.

    Class-incremental: an answer is right among all classes seen by then, and classes that were
    not seen yet are not counted.
    """

    def __init__(self, evals: pa.Table, split: str) -> None:
        """`evals` is a table of `sweeps.results`; Arrow and numpy visit its rows, no loop does."""
        seen = evals.filter(pc.and_(evals["seen"], pc.equal(evals["split"], split)))
        sums = seen.group_by([*_EVALUATION, "task"]).aggregate([("correct", "sum"), ("n", "sum")])
        columns = [sums[name].combine_chunks().dictionary_encode() for name in _EVALUATION]
        codes = np.stack([np.asarray(c.indices, dtype=np.int64) for c in columns], axis=1)
        distinct, row = np.unique(codes, axis=0, return_inverse=True)
        names = [c.dictionary.to_pylist() for c in columns]
        self._rows = {
            tuple(names[i][code] for i, code in enumerate(evaluation)): index
            for index, evaluation in enumerate(distinct.tolist())
        }
        task = np.asarray(sums["task"], dtype=np.int64)
        shape = (len(distinct), int(task.max()) + 1 if len(task) else 0)
        self._correct: Counts = np.zeros(shape, dtype=np.int64)
        self._n: Counts = np.zeros(shape, dtype=np.int64)
        place = (row.reshape(-1), task)
        self._correct[place] = np.asarray(sums["correct_sum"], dtype=np.int64)
        self._n[place] = np.asarray(sums["n_sum"], dtype=np.int64)

    def of(
        self,
        stage_keys: Sequence[str],
        partition_id: str,
        readout_id: str,
        tasks: Sequence[int],
    ) -> SequenceCounts:
        """Counts after each of the stages on each of the tasks, given by their group index."""
        found = [self._rows.get((key, partition_id, readout_id), -1) for key in stage_keys]
        order = np.asarray(tasks, dtype=np.int64)
        stage = np.array([i for i, row in enumerate(found) if row >= 0], dtype=np.int64)
        source = np.array([row for row in found if row >= 0], dtype=np.int64)
        known = np.flatnonzero(order < self._n.shape[1])
        correct = np.zeros((len(found), len(order)), dtype=np.int64)
        n = np.zeros_like(correct)
        correct[np.ix_(stage, known)] = self._correct[np.ix_(source, order[known])]
        n[np.ix_(stage, known)] = self._n[np.ix_(source, order[known])]
        return SequenceCounts(correct, n)
