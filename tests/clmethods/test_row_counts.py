"""Evaluation rows become counts with one rule for gaps, also where a table is summed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from clmethods.metrics import EvalRow, counts_from_rows, every_metric, missing_evaluations
from sweeps.analysis.trials.accuracy import TaskCounts


def row(task: int, correct: int | None, n: int = 4, split: str = "test", **fields: int) -> EvalRow:
    return EvalRow(
        split=split,
        task=task,
        class_id=task,
        seen=correct is not None,
        n=n,
        correct=correct,
        correct_task_given=fields.get("given", 1),
        task_id_correct=fields.get("routed"),
    )


def test_classes_of_a_task_are_summed_in_the_order_of_learning() -> None:
    stages = [[row(5, 1), row(5, 2), row(3, None)], [row(5, 0), row(5, 3), row(3, 4)]]
    counts = counts_from_rows(stages, [5, 3], "test")
    assert counts.n.tolist() == [[8, 4], [8, 4]]
    assert counts.correct.tolist() == [[3, 0], [3, 4]]
    assert counts.class_incremental[1].tolist() == [3 / 8, 1.0]


def test_a_class_that_is_not_learned_counts_only_with_its_task_given() -> None:
    counts = counts_from_rows([[row(0, 2), row(1, None, given=3)]], [0, 1], "test")
    assert counts.class_incremental[0, 0] == 0.5
    assert np.isnan(counts.class_incremental[0, 1])
    assert counts.task_incremental.tolist() == [[0.25, 0.75]]


def test_a_joint_run_has_learned_every_task_at_its_only_stage() -> None:
    counts = counts_from_rows([[row(0, 2), row(1, 4)]], [0, 1], "test")
    assert counts.class_incremental.tolist() == [[0.5, 1.0]]


def test_a_missing_evaluation_has_no_images_and_no_accuracy() -> None:
    counts = counts_from_rows([[row(0, 2), row(1, None)], None], [0, 1], "test")
    assert counts.n.tolist() == [[4, 4], [0, 0]]
    assert np.isnan(counts.class_incremental[1]).all()
    assert missing_evaluations(counts.n).tolist() == [[False, False], [True, True]]


def test_rows_of_other_splits_and_tasks_are_ignored() -> None:
    stages = [[row(0, 2), row(0, 4, split="validation"), row(7, 4)]]
    counts = counts_from_rows(stages, [0], "test")
    assert (counts.n.tolist(), counts.correct.tolist()) == ([[4]], [[2]])


def test_a_readout_that_infers_no_tasks_has_no_counts_of_them() -> None:
    assert counts_from_rows([[row(0, 2)]], [0], "test").task_id_correct is None
    inferred = counts_from_rows([[row(0, 2, routed=3), row(1, None)]], [0, 1], "test")
    assert inferred.task_id_correct is not None
    assert inferred.task_id_correct.tolist() == [[3, 0]]
    assert every_metric(counts_from_rows([[row(0, 2)]], [0], "test"))["task_id_accuracy"] is None


@given(st.data())
def test_sums_of_a_table_are_the_counts_of_its_rows(data: st.DataObject) -> None:
    """The analysis sums a whole table at once; its rule for gaps is the same."""
    tasks = data.draw(st.permutations(range(3)))
    stages: list[list[EvalRow] | None] = []
    for stage in range(3):
        if data.draw(st.booleans()) and stage > 0:
            stages.append(None)
            continue
        rows = []
        for task in data.draw(st.lists(st.sampled_from(tasks), min_size=1)):
            learned = tasks.index(task) <= stage
            correct = data.draw(st.integers(0, 4)) if learned else None
            given_task = data.draw(st.integers(0, 4))
            fields = {"given": given_task}
            if learned:
                fields["routed"] = data.draw(st.integers(0, 4))
            rows.append(row(task, correct, **fields))
        stages.append(rows)
    identity = {"partition_id": "p", "readout_id": "r"}
    table = pa.Table.from_pylist(
        [
            {"stage_key": str(stage), **identity, **entry}
            for stage, rows in enumerate(stages)
            for entry in rows or ()
        ],
        schema=pa.schema(
            [
                ("stage_key", pa.string()),
                ("partition_id", pa.string()),
                ("readout_id", pa.string()),
                ("split", pa.string()),
                ("task", pa.int64()),
                ("class_id", pa.int64()),
                ("seen", pa.bool_()),
                ("n", pa.int64()),
                ("correct", pa.int64()),
                ("correct_task_given", pa.int64()),
                ("task_id_correct", pa.int64()),
            ]
        ),
    )
    summed = TaskCounts(table, "test").of(["0", "1", "2"], "p", "r", tasks)
    counts = counts_from_rows(stages, tasks, "test")
    assert summed.n_evaluated.tolist() == counts.n.tolist()
    assert summed.correct.tolist() == counts.correct.tolist()
    assert summed.correct_task_given.tolist() == counts.correct_task_given.tolist()
    np.testing.assert_array_equal(summed.accuracy, counts.class_incremental)
    if counts.task_id_correct is None:
        assert summed.task_id_correct is None
    else:
        assert summed.task_id_correct is not None
        assert summed.task_id_correct.tolist() == counts.task_id_correct.tolist()
