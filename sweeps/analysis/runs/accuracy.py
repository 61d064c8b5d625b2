"""Evaluation counts, gathered so that a trial's accuracy matrix is a lookup.

Trials share stages, so the counts are summed over the classes of each task once per evaluation
(stage, partition, readout) and then read by as many trials as pass through the stage.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods import metrics

Counts = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]

_EVALUATION = ("stage_key", "partition_id", "readout_id")
_COUNTED = ("n", "correct", "correct_task_given", "task_id_correct")


class SequenceCounts(NamedTuple):
    """Counts of one trial: S stages by T tasks in the order of learning; or of many, (N, S, T)."""

    correct: Counts  # (S, T)
    n: Counts  # (S, T), 0 where the task was not seen or the evaluation is missing
    n_evaluated: Counts  # (S, T), 0 where the evaluation is missing
    correct_task_given: Counts  # (S, T), known for tasks not seen too
    task_id_correct: Counts | None  # (S, T), None where the readout infers no task

    def of(self, some: npt.NDArray[np.bool_] | int) -> SequenceCounts:
        """Those of some trials of many, or of one."""
        routed = self.task_id_correct
        return SequenceCounts(
            self.correct[some],
            self.n[some],
            self.n_evaluated[some],
            self.correct_task_given[some],
            None if routed is None else routed[some],
        )

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
        """`evals` is a table of `sweeps.results`; Arrow and numpy visit its rows, no loop does.

        `task_counts` makes one, or has it already.
        """
        chosen = _where(evals["split"], split)
        codes, names = zip(*(_coded(evals[name], chosen) for name in _EVALUATION), strict=True)
        task = _integers(evals["task"], chosen)
        # Rows of one evaluation and task lie together, so that most work is on runs of rows; a
        # group that comes in several runs is summed all the same.
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
            """Sums by evaluation and task; below 2^53, so that they are exact."""
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
        """Counts after each of the stages on each of the tasks, given by their group index."""
        found = [self._rows.get((key, partition_id, readout_id), -1) for key in stage_keys]
        sources = np.array(found, dtype=np.int64).reshape(1, -1)
        (one,) = self._picked(sources, np.asarray(tasks, dtype=np.int64).reshape(1, -1))
        return one[1].of(0)

    def of_many(
        self, trials: Sequence[Mapping[str, Any]], readouts: Sequence[str]
    ) -> list[tuple[npt.NDArray[np.int64], SequenceCounts]]:
        """Counts of rows of the trials table, each under one readout, in stacks.

        A stack is (places in `trials`, their counts (N, S, T)): the trials of equal S and T of
        which all or none infer the task.
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
            stacks += [(at[some], of) for some, of in self._picked(np.array(sources), orders)]
        return stacks

    def _picked(
        self, sources: Counts, orders: Counts
    ) -> list[tuple[npt.NDArray[np.int64], SequenceCounts]]:
        """Counts of the evaluations `sources` (N, S), -1 for a missing one, on `orders` (N, T)."""
        known = (sources >= 0)[:, :, None] & (orders < self._shape[1])[:, None, :]  # (N, S, T)
        rows = np.where(sources >= 0, sources, 0)[:, :, None]
        columns = np.where(orders < self._shape[1], orders, 0)[:, None, :]

        def picked(name: str, some: npt.NDArray[np.int64]) -> Counts:
            if not self._tables[name].size:
                return np.zeros(known[some].shape, dtype=np.int64)
            return np.where(known[some], self._tables[name][rows[some], columns[some]], 0)

        routed = np.append(self._infers, False)  # which the missing ones, -1, point at
        infers = np.asarray(routed[sources].any(axis=1))
        return [
            (
                some,
                SequenceCounts(
                    correct=picked("correct", some),
                    n=picked("seen_n", some),
                    n_evaluated=picked("n", some),
                    correct_task_given=picked("correct_task_given", some),
                    task_id_correct=picked("task_id_correct", some) if infers[some[0]] else None,
                ),
            )
            for some in (np.flatnonzero(infers), np.flatnonzero(~infers))
            if len(some)
        ]


_LAST: dict[str, tuple[weakref.ref[pa.Table], TaskCounts]] = {}


def task_counts(evals: pa.Table, split: str) -> TaskCounts:
    """The counts of a split; those of the last table asked for are kept while it lives.

    Several answers are read from one table, and with millions of rows each would cost seconds.
    """
    if split in _LAST and _LAST[split][0]() is evals:
        return _LAST[split][1]
    counts = TaskCounts(evals, split)
    _LAST[split] = (weakref.ref(evals, lambda _: _LAST.pop(split, None)), counts)
    return counts


def _where(column: pa.ChunkedArray, text: str) -> npt.NDArray[np.int64]:
    """Places of the rows with that text."""
    coded = column.combine_chunks().dictionary_encode()
    values = coded.dictionary.to_pylist()
    code = values.index(text) if text in values else -1
    return np.flatnonzero(np.asarray(coded.indices) == code)


def _coded(column: pa.ChunkedArray, rows: npt.NDArray[np.int64]) -> tuple[Counts, list[str]]:
    """Numbers for the texts of some rows, and the text of each number."""
    coded = column.combine_chunks().dictionary_encode()
    return np.asarray(coded.indices)[rows], coded.dictionary.to_pylist()


def _integers(column: pa.ChunkedArray, rows: npt.NDArray[np.int64]) -> Counts:
    """The column at some rows, with 0 for null."""
    return np.asarray(column.fill_null(0))[rows].astype(np.int64)


def _changes(columns: Sequence[Counts]) -> npt.NDArray[np.bool_]:
    """Whether a row differs from the one before it in any column."""
    changed = np.zeros(len(columns[0]), dtype=bool)
    changed[:1] = True
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return changed
