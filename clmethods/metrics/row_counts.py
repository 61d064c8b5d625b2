"""Sum of evaluation rows to `Counts`, with one rule for everything that is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypedDict, TypeGuard

import numpy as np
import numpy.typing as npt

from clmethods.metrics.counts import Counts


class EvalRow(TypedDict):
    """Fields of a `clmethods.evaluate.EvalCount`, as they are stored."""

    split: str
    task: int
    class_id: int
    seen: bool
    n: int
    correct: int | None
    correct_task_given: int
    task_id_correct: int | None


def stage_contradiction(rows: object, classes: Collection[int], learned: int) -> str:
    """Return why counts cannot belong to a stage; empty if nothing contradicts it.

    This is the only check for counts of earlier versions, which do not name their stage.
    `classes`: classes that the stage trained. `learned`: number of tasks learned up to it.
    """
    if not are_eval_rows(rows):
        return "it does not hold counts"
    for split in {row["split"] for row in rows}:
        seen = [row for row in rows if row["split"] == split and row["seen"]]
        if not set(classes) <= {row["class_id"] for row in seen}:
            return "it does not count the classes of this stage as learned"
        if len({row["task"] for row in seen}) != learned:
            return f"it does not have {learned} learned tasks, as this stage has"
    return ""


def are_eval_rows(value: object) -> TypeGuard[list[EvalRow]]:
    """Return True if a value read from JSON is a list of rows with possible counts."""
    return isinstance(value, list) and all(_is_row(row) for row in value)


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or not row.keys() >= EvalRow.__annotations__.keys():
        return False
    n, correct = row["n"], row["correct"]
    counts = [correct, row["correct_task_given"], row["task_id_correct"]]
    return (
        isinstance(row["split"], str)
        and type(row["seen"]) is bool
        and all(type(row[name]) is int for name in ("task", "class_id", "n", "correct_task_given"))
        and all(c is None or (type(c) is int and 0 <= c <= n) for c in counts)
        and (correct is not None) == row["seen"]
    )


def counts_from_rows(
    stages: Sequence[Iterable[EvalRow] | None], tasks: Sequence[int], split: str
) -> Counts:
    """Return the counts of one readout in a split, summed over the classes of each task.

    `stages` contains the rows of each stage in order, `tasks` the group index of each column in
    the order of learning. Rows of other splits and other tasks are ignored. Rules for gaps:

    * The evaluation of a stage is missing (None), or has no rows of a task: `n` is 0, so that its
      accuracy is NaN. `missing_evaluations` finds these entries.
    * A class is not learned yet: its images count, and none of them is correct. Its task is not
      `seen`, so that its class-incremental accuracy is NaN; its task-incremental one is known.
    * The readout infers no tasks: `task_id_correct` is None.
    """
    column = {task: index for index, task in enumerate(tasks)}
    table = np.zeros((4, len(stages), len(tasks)), dtype=np.int64)
    seen = np.ones((len(stages), len(tasks)), dtype=bool)
    infers = False
    for place, rows in enumerate(stages):
        for row in rows or ():
            task = column.get(row["task"])
            if task is None or row["split"] != split:
                continue
            routed = row["task_id_correct"]
            counted = row["n"], row["correct"] or 0, row["correct_task_given"], routed or 0
            table[:, place, task] += counted
            seen[place, task] &= row["seen"]
            infers |= routed is not None
    n, correct, given, inferred = table
    return Counts(
        n=n,
        correct=correct,
        correct_task_given=given,
        task_id_correct=inferred if infers else None,
        seen=seen,
    )


def missing_evaluations(n: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return a mask of the required evaluations that are missing, given image counts (..., S, T).

    If there is one stage per task, a task is required after its own stage and all later ones. If
    there is a single stage, all tasks are required after it.
    """
    stages, tasks = n.shape[-2:]
    required = np.tril(np.ones((stages, tasks), dtype=bool)) if stages == tasks else np.True_
    return np.asarray((n == 0) & required)
