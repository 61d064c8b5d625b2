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

from clmethods import metrics

Counts = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]

_EVALUATION = ("stage_key", "partition_id", "readout_id")
_COUNTED = ("n", "correct", "correct_task_given", "task_id_correct")


class SequenceCounts(NamedTuple):
    """Counts of one trial: S stages by T tasks in the order of learning."""

    correct: Counts  # (S, T)
    n: Counts  # (S, T), 0 where the task was not seen or the evaluation is missing
    n_evaluated: Counts  # (S, T), 0 where the evaluation is missing
    correct_task_given: Counts  # (S, T), known for tasks not seen too
    task_id_correct: Counts | None  # (S, T), None where the readout infers no task

    @property
    def accuracy(self) -> Matrix:
        """correct / n, and NaN where n is 0."""
        with np.errstate(invalid="ignore"):
            return np.where(self.n > 0, self.correct / self.n, np.nan)  # (S, T)

    @property
    def counts(self) -> metrics.Counts:
        """The same as the metrics take it."""
        return metrics.Counts(
            n=self.n_evaluated,
            correct=self.correct,
            correct_task_given=self.correct_task_given,
            task_id_correct=self.task_id_correct,
        )


@final
class TaskCounts:
    """Right answers and images per evaluation and task, over one split.

    Class-incremental: an answer is right among all classes seen by then, and classes that were
    not seen yet are not counted. With the task given they are, for forward transfer.
    """

    def __init__(self, evals: pa.Table, split: str) -> None:
        """`evals` is a table of `sweeps.results`; Arrow and numpy visit its rows, no loop does."""
        chosen = evals.filter(pc.equal(evals["split"], split))
        sums = chosen.group_by([*_EVALUATION, "task"]).aggregate(
            [*((name, "sum") for name in _COUNTED), ("seen", "all"), ("task_id_correct", "count")]
        )
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
        place = (row.reshape(-1), task)
        self._tables: dict[str, Counts] = {}
        for name in _COUNTED:
            table = self._tables[name] = np.zeros(shape, dtype=np.int64)
            table[place] = np.asarray(sums[f"{name}_sum"].fill_null(0), dtype=np.int64)
        seen = np.asarray(sums["seen_all"], dtype=bool)
        seen_n = self._tables["seen_n"] = np.zeros(shape, dtype=np.int64)
        seen_n[place] = np.where(seen, np.asarray(sums["n_sum"], dtype=np.int64), 0)
        self._infers = np.zeros(len(distinct), dtype=bool)
        inferred = np.asarray(sums["task_id_correct_count"], dtype=np.int64) > 0
        self._infers[place[0][inferred]] = True

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
        known = np.flatnonzero(order < self._tables["n"].shape[1])

        def picked(name: str) -> Counts:
            table: Counts = np.zeros((len(found), len(order)), dtype=np.int64)
            table[np.ix_(stage, known)] = self._tables[name][np.ix_(source, order[known])]
            return table

        return SequenceCounts(
            correct=picked("correct"),
            n=picked("seen_n"),
            n_evaluated=picked("n"),
            correct_task_given=picked("correct_task_given"),
            task_id_correct=picked("task_id_correct") if self._infers[source].any() else None,
        )
