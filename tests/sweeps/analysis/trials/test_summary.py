"""Counts become metrics: hand-worked matrices, shared stages, missing pieces, a large table."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest

from clmethods.metrics import METRICS
from sweeps.analysis.trials.accuracy import TaskCounts
from sweeps.analysis.trials.summary import SUMMARY, summarize
from sweeps.results import TABLES

MATRIX = [[0.9, 0.0, 0.0], [0.7, 0.6, 0.0], [0.6, 0.7, 0.8]]


def metrics_of(matrix):
    return {name: metric.function(matrix) for name, metric in METRICS.items()}


def only_row(table: pa.Table) -> dict:
    (row,) = table.to_pylist()
    return row


def test_a_worked_trial(study):
    study.add(MATRIX, order=[2, 0, 1])
    table = summarize(study.trials, study.evals, "test")
    assert table.schema.equals(SUMMARY)
    row = only_row(table)
    for name, value in metrics_of(MATRIX).items():
        assert row[name] == pytest.approx(value), name
    assert row["pooled_accuracy"] == pytest.approx(0.7)
    assert row["trainable_parameters"] == 1000
    assert (row["order_id"], row["readout_id"], row["split"]) == ("2-0-1", "last", "test")
    assert row["reason"] is None


def test_task_incremental_and_routing_figures_come_from_their_own_counts(study):
    """Unseen tasks have counts with the task given, which forward transfer reads."""
    study.add([[0.9, 0.0], [0.5, 0.9]], readout="instance-cosine", order=[1, 0])
    given = {
        ("trial0-0", 1): 800,
        ("trial0-0", 0): 300,
        ("trial0-1", 1): 600,
        ("trial0-1", 0): 900,
    }
    for row in study.eval_rows:
        row["correct_task_given"] = given[row["stage_key"], row["task"]]
        row["task_id_correct"] = 700 if row["seen"] else None
    row = only_row(summarize(study.trials, study.evals, "test"))
    assert row["til_average_accuracy"] == pytest.approx((0.6 + 0.9) / 2)
    assert row["til_forgetting"] == pytest.approx(0.2)
    assert row["fwt_til_all_pairs"] == pytest.approx(0.3)
    assert row["task_id_accuracy"] == pytest.approx(0.7)
    assert row["average_accuracy"] == pytest.approx(0.7)
    assert "fwt_til" not in row  # it needs an untrained reference


def test_what_a_readout_does_not_infer_is_null(study):
    study.add(MATRIX)
    assert only_row(summarize(study.trials, study.evals, "test"))["task_id_accuracy"] is None


def test_i37_accuracies_are_fractions_of_the_counts(study):
    study.add(MATRIX)
    correct = study.eval_rows[-1]["correct"]
    counts = TaskCounts(study.evals, "test")
    found = counts.of(["trial0-2"], "halves", "last", [2])
    assert found.n.tolist() == [[2000]]
    assert found.correct[0, 0] == study.eval_rows[-2]["correct"] + correct
    assert found.accuracy.tolist() == [[0.8]]


def test_pooled_accuracy_weighs_tasks_by_their_images(study):
    study.add([[1.0, 0.0], [1.0, 0.0]])
    for row in study.eval_rows:
        if row["task"] == 1:
            row |= {"n": 3000}
            row["correct_task_given"] = 0
    row = only_row(summarize(study.trials, study.evals, "test"))
    assert row["average_accuracy"] == pytest.approx(0.5)
    assert row["pooled_accuracy"] == pytest.approx(0.25)


def test_i36_equal_sizes_make_both_averages_one(study):
    study.add(MATRIX)
    row = only_row(summarize(study.trials, study.evals, "test"))
    assert row["pooled_accuracy"] == pytest.approx(row["average_accuracy"])


def test_stages_that_trials_share_are_read_by_each_in_its_own_order(study):
    study.add([[0.9, 0.0, 0.0], [0.8, 0.7, 0.0], [0.7, 0.6, 0.5]], order=[0, 1, 2])
    study.add([[0.9, 0.0, 0.0], [0.6, 0.5, 0.0], [0.4, 0.3, 0.2]], order=[0, 2, 1])
    shared = "trial0-0"
    study.trial_rows[1]["stage_keys"][0] = shared
    study.eval_rows = [r for r in study.eval_rows if r["stage_key"] != "trial1-0"]
    first, second = summarize(study.trials, study.evals, "test").to_pylist()
    assert first["learning_accuracy"] == pytest.approx((0.9 + 0.7 + 0.5) / 3)
    assert second["learning_accuracy"] == pytest.approx((0.9 + 0.5 + 0.2) / 3)


def test_each_readout_and_split_has_its_own_row(study):
    study.add([[0.9, 0.0], [0.5, 0.9]], readout_ids=["last", "oracle"])
    for base in list(study.eval_rows):
        oracle = base | {"readout_id": "oracle"}
        study.eval_rows.append(oracle | ({"correct": base["n"]} if base["seen"] else {}))
    rows = summarize(study.trials, study.evals, "test").to_pylist()
    assert [(r["readout_id"], r["average_accuracy"]) for r in rows] == [
        ("last", pytest.approx(0.7)),
        ("oracle", 1.0),
    ]
    for row in summarize(study.trials, study.evals, "validation").to_pylist():
        assert row["average_accuracy"] is None
        assert row["reason"] == "no complete evaluation after position 0, 1"


def test_evaluations_under_another_grouping_do_not_mix(study):
    study.add([[0.9, 0.0], [0.5, 0.9]])
    study.eval_rows += [
        r | {"partition_id": "other", "correct": 0} for r in study.eval_rows if r["seen"]
    ]
    assert only_row(summarize(study.trials, study.evals, "test"))["average_accuracy"] == 0.7


def test_a_joint_run_has_an_average_accuracy_only(study):
    study.add([[0.6, 0.7, 0.8]], order=[1, 0, 2], role="reference")
    row = only_row(summarize(study.trials, study.evals, "test"))
    assert row["average_accuracy"] == pytest.approx(0.7)
    assert row["reason"] is None
    assert {row[name] for name in METRICS} == {row["average_accuracy"], None}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "failed", "error_kind": "NonFiniteLossError"}, "failed: NonFiniteLossError"),
        ({"status": "stopped", "stages_done": 1}, "stopped after 1 of 3 tasks"),
        (
            {"stage_keys": ["trial0-0", "trial0-1", "lost"]},
            "no complete evaluation after position 2",
        ),
        ({"stage_keys": ["trial0-0", "trial0-1"]}, "2 stages for 3 tasks"),
        ({"task_order": [0, 1, 9]}, "no complete evaluation after position 2"),
    ],
)
def test_a_trial_without_all_its_evaluations_keeps_its_row(study, changes, reason):
    study.add(MATRIX)
    study.trial_rows[0] |= changes
    row = only_row(summarize(study.trials, study.evals, "test"))
    assert {row[name] for name in METRICS} == {None}
    assert row["pooled_accuracy"] is None
    assert row["reason"] == reason


def test_only_the_last_attempt_counts(study):
    failed = study.add(MATRIX)
    study.trial_rows.append(failed | {"attempt": 2})
    study.trial_rows[0] = failed | {"status": "failed"}
    assert only_row(summarize(study.trials, study.evals, "test"))["reason"] is None


def test_nothing_yet_is_an_empty_summary(study):
    table = summarize(study.trials, study.evals, "test")
    assert table.num_rows == 0
    assert table.schema.equals(SUMMARY)


def test_a_trial_before_any_evaluation(study):
    study.add(MATRIX)
    study.eval_rows = []
    row = only_row(summarize(study.trials, study.evals, "test"))
    assert row["reason"] == "no complete evaluation after position 0, 1, 2"


def test_a_million_evaluations_take_seconds(study):
    """500 trials of 10 stages, 100 classes, both splits; no loop may visit the rows."""
    tasks, classes, trials = 10, 100, 500
    base = study.add(np.full((tasks, tasks), 0.5))
    rows = [
        base
        | {
            "trial_id": f"t{t}",
            "seed": t,
            "stage_keys": [f"{t:04d}-{k}" * 8 for k in range(tasks)],
        }
        for t in range(trials)
    ]
    keys = [key for row in rows for key in row["stage_keys"]]
    stage, split, class_id = (
        index.ravel() for index in np.indices((len(keys), 2, classes), dtype=np.int32)
    )
    task = class_id // (classes // tasks)
    seen = task <= stage % tasks
    size = len(stage)
    assert size == 1_000_000
    evals = pa.table(
        [
            pa.array(keys).take(pa.array(stage)),
            pa.array(["halves"] * size),
            pa.array(["last"] * size),
            pa.array(["validation", "test"]).take(pa.array(split)),
            pa.array(task.astype(np.int16)),
            pa.array(class_id),
            pa.array(seen),
            pa.array(np.full(size, 4, np.int32)),
            pa.array(np.full(size, 3, np.int32), mask=~seen),
            pa.array(np.full(size, 4, np.int32)),
            pa.nulls(size, pa.int32()),
        ],
        schema=TABLES["evals"].arrow,
    )
    table = pa.Table.from_pylist(rows, schema=TABLES["trials"].arrow)
    start = time.process_time()
    summary = summarize(table, evals, "test")
    assert time.process_time() - start < 10
    assert summary["average_accuracy"].to_pylist() == [0.75] * trials
