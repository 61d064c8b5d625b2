"""Evaluation counts, summed per task so that the accuracy matrix of a trial is a lookup.

Trials share stages. The counts are therefore summed over the classes of each task once per
evaluation (stage, partition, readout), and then read by all trials that contain the stage.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods import metrics
from sweeps.results.rows import TrialRow

Counts = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]

_EVALUATION = ("stage_key", "partition_id", "readout_id")
_COUNTED = ("n", "correct", "correct_task_given", "task_id_correct")


class SequenceCounts(NamedTuple):
    """Counts of one trial, S stages by T tasks in the order of learning; or of N, (N, S, T)."""

    correct: Counts  # (S, T)
    n: Counts  # (S, T), 0 if the task was not seen yet or the evaluation is missing
    n_evaluated: Counts  # (S, T), 0 if the evaluation is missing
    correct_task_given: Counts  # (S, T), also for tasks that were not seen yet
    task_id_correct: Counts | None  # (S, T), None if the readout does not infer the task

    def of(self, selection: npt.NDArray[np.bool_] | int) -> SequenceCounts:
        """Return the counts of some of the trials, or of one."""
        routed = self.task_id_correct
        return SequenceCounts(
            self.correct[selection],
            self.n[selection],
            self.n_evaluated[selection],
            self.correct_task_given[selection],
            None if routed is None else routed[selection],
        )

    @property
    def accuracy(self) -> Matrix:
        """Accuracy correct / n, and NaN where n is 0."""
        with np.errstate(invalid="ignore"):
            return np.where(self.n > 0, self.correct / self.n, np.nan)  # (S, T)

    @property
    def counts(self) -> metrics.Counts:
        """Counts in the form that `clmethods.metrics` expects."""
        return metrics.Counts(
            n=self.n_evaluated,
            correct=self.correct,
            correct_task_given=self.correct_task_given,
            task_id_correct=self.task_id_correct,
        )


@final
class TaskCounts:
    """Numbers of correct predictions and of images per evaluation and task, over one split.

    Class-incremental: a prediction is correct among all classes seen so far, and classes that were
    not seen yet are not counted. With the task given they are counted, for forward transfer.
    """

    def __init__(self, evals: pa.Table, split: str) -> None:
        """Sum the rows of `evals`, a table of `sweeps.results`, with Arrow and numpy only.

        Use `task_counts`, which keeps the last result, instead of calling this directly.
        """
        chosen = _where(evals["split"], split)
        codes, names = zip(*(_coded(evals[name], chosen) for name in _EVALUATION), strict=True)
        task = _integers(evals["task"], chosen)
        # Rows of one evaluation and task are adjacent in most cases, so that most of the work is
        # done on runs of rows. A group that is split into several runs is summed correctly too.
        starts = np.flatnonzero(_changes([*codes, task]))
        runs = np.stack([code[starts] for code in codes], axis=1)
        distinct, row = np.unique(runs, axis=0, return_inverse=True)
        self._rows = {
            tuple(names[i][code] for i, code in enumerate(evaluation)): index
            for index, evaluation in enumerate(distinct.tolist())
        }
        self._shape = (len(distinct), int(task.max()) + 1 if len(task) else 0)
        place = row.reshape(-1) * self._shape[1] + task[starts]

        def table(values: Counts) -> Counts:
            """Return sums by evaluation and task; they are exact because they are below 2^53."""
            sums = np.add.reduceat(values, starts) if len(starts) else values
            total = np.bincount(place, weights=sums, minlength=self._shape[0] * self._shape[1])
            return total.astype(np.int64).reshape(self._shape)

        self._tables = {name: table(_integers(evals[name], chosen)) for name in _COUNTED}
        unseen = table(1 - _integers(evals["seen"].cast(pa.int8()), chosen))
        self._tables["seen_n"] = np.where(unseen > 0, 0, self._tables["n"])
        inferred = evals["task_id_correct"].is_valid().cast(pa.int8())
        self._infers = (table(_integers(inferred, chosen)) > 0).any(axis=1)

    def of(
        self,
        stage_keys: Sequence[str],
        partition_id: str,
        readout_id: str,
        tasks: Sequence[int],
    ) -> SequenceCounts:
        """Return the counts after each stage on each task, with tasks given by group index."""
        known_rows = [self._rows.get((key, partition_id, readout_id), -1) for key in stage_keys]
        sources = np.array(known_rows, dtype=np.int64).reshape(1, -1)
        (stack,) = self._picked(sources, np.asarray(tasks, dtype=np.int64).reshape(1, -1))
        return stack[1].of(0)

    def of_many(
        self, trials: Sequence[TrialRow], readouts: Sequence[str]
    ) -> list[tuple[npt.NDArray[np.int64], SequenceCounts]]:
        """Return the counts of rows of the trials table, each under one readout, in stacks.

        A stack is a pair (indices into `trials`, their counts (N, S, T)). The trials of a stack
        have equal S and T, and either all or none of them infer the task.
        """
        shapes: dict[tuple[int, int], list[int]] = {}
        for index, trial in enumerate(trials):
            shape = len(trial["stage_keys"]), len(trial["task_order"])
            shapes.setdefault(shape, []).append(index)
        stacks = []
        for places in shapes.values():
            sources = [
                [
                    self._rows.get((key, trials[k]["partition_id"], readouts[k]), -1)
                    for key in trials[k]["stage_keys"]
                ]
                for k in places
            ]
            orders = np.array([trials[k]["task_order"] for k in places], dtype=np.int64)
            at = np.array(places, dtype=np.int64)
            stacks += [
                (at[selection], counts)
                for selection, counts in self._picked(np.array(sources), orders)
            ]
        return stacks

    def _picked(
        self, sources: Counts, orders: Counts
    ) -> list[tuple[npt.NDArray[np.int64], SequenceCounts]]:
        """Return the counts of evaluations `sources` (N, S), -1 if missing, on `orders` (N, T)."""
        known = (sources >= 0)[:, :, None] & (orders < self._shape[1])[:, None, :]  # (N, S, T)
        rows = np.where(sources >= 0, sources, 0)[:, :, None]
        columns = np.where(orders < self._shape[1], orders, 0)[:, None, :]

        def picked(name: str, selection: npt.NDArray[np.int64]) -> Counts:
            if not self._tables[name].size:
                return np.zeros(known[selection].shape, dtype=np.int64)
            return np.where(
                known[selection], self._tables[name][rows[selection], columns[selection]], 0
            )

        routed = np.append(self._infers, False)  # the last entry is for missing evaluations, -1
        infers = np.asarray(routed[sources].any(axis=1))
        return [
            (
                selection,
                SequenceCounts(
                    correct=picked("correct", selection),
                    n=picked("seen_n", selection),
                    n_evaluated=picked("n", selection),
                    correct_task_given=picked("correct_task_given", selection),
                    task_id_correct=picked("task_id_correct", selection)
                    if infers[selection[0]]
                    else None,
                ),
            )
            for selection in (np.flatnonzero(infers), np.flatnonzero(~infers))
            if len(selection)
        ]


_LAST: dict[str, tuple[weakref.ref[pa.Table], TaskCounts]] = {}


def task_counts(evals: pa.Table, split: str) -> TaskCounts:
    """Return the counts of a split; the result for the last table is cached while it exists.

    Several analyses read the same table. With millions of rows, each computation would take
    seconds.
    """
    if split in _LAST and _LAST[split][0]() is evals:
        return _LAST[split][1]
    counts = TaskCounts(evals, split)
    _LAST[split] = (weakref.ref(evals, lambda _: _LAST.pop(split, None)), counts)
    return counts


def _where(column: pa.ChunkedArray, text: str) -> npt.NDArray[np.int64]:
    """Return the indices of the rows with the given text."""
    coded = column.combine_chunks().dictionary_encode()
    values = coded.dictionary.to_pylist()
    code = values.index(text) if text in values else -1
    return np.flatnonzero(np.asarray(coded.indices) == code)


def _coded(column: pa.ChunkedArray, rows: npt.NDArray[np.int64]) -> tuple[Counts, list[str]]:
    """Return codes for the texts of some rows, and the text of each code."""
    coded = column.combine_chunks().dictionary_encode()
    return np.asarray(coded.indices)[rows], coded.dictionary.to_pylist()


def _integers(column: pa.ChunkedArray, rows: npt.NDArray[np.int64]) -> Counts:
    """Return the column at some rows, with 0 for null."""
    return np.asarray(column.fill_null(0))[rows].astype(np.int64)


def _changes(columns: Sequence[Counts]) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows that differ from the previous row in any column."""
    changed = np.zeros(len(columns[0]), dtype=bool)
    changed[:1] = True
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return changed
