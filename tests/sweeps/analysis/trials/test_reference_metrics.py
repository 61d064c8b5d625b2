"""Metrics that need other runs find them in the sweep, name them, and are null without them."""

from __future__ import annotations

import json

import pytest

from clmethods.metrics import COUNT_METRICS
from sweeps.analysis.trials.reference_metrics import NEEDY, full_summary
from sweeps.results import TABLES
from sweeps.results.rows import to_table

MATRIX = [[0.9, 0.0], [0.5, 0.7]]


def stages(study, sizes=None):
    """The stages table of a study, with bytes by stage key."""
    row = {c.name: None for c in TABLES["stages"].columns}
    row |= {
        "position": 0,
        "task_key": "k",
        "classes": [0],
        "steps": 1,
        "frozen_count": 0,
        "trainable_parameters": 1,
        "wall_s": 0.0,
        "cpu_s": 0.0,
        "peak_rss_bytes": 0,
        **dict.fromkeys(("host", "host_kind", "torch_version", "timm_version"), "x"),
        "code_version": "x",
        "started_at": "x",
    }
    rows = [row | {"stage_key": key, "state_bytes": n} for key, n in (sizes or {}).items()]
    return to_table(TABLES["stages"], rows)


def rows_of(study, sizes=None):
    table = full_summary(study.trials, study.evals, stages(study, sizes), "test")
    return {row["trial_id"]: row for row in table.to_pylist()}


def add_joint(study, accuracies, label="joint", **changes):
    joint = {"role": "reference", "method": "joint_lora", "config_id": label, "label": label}
    return study.add([accuracies], **(joint | changes))["trial_id"]


def test_without_reference_runs_their_metrics_are_null(study):
    study.add(MATRIX)
    (row,) = rows_of(study).values()
    assert {row[name] for name in NEEDY} == {None}
    assert row["references"] is None
    assert row["average_accuracy"] == pytest.approx(0.6)
    assert {COUNT_METRICS[name].needs for name in NEEDY} == {
        *("untrained", "joint_until", "single", "joint_final"),
        "memory",
    }


def test_a_joint_run_of_the_same_seed_is_the_reference(study):
    """Its groups are read in the order in which the run learned them."""
    mine = study.add(MATRIX, order=[1, 0], seed=3)["trial_id"]
    other = study.add(MATRIX, order=[1, 0], seed=4)["trial_id"]
    add_joint(study, [0.8, 0.95], seed=3)
    rows = rows_of(study)
    assert rows[mine]["intransigence_joint_final"] == pytest.approx(
        ((0.95 - 0.9) + (0.8 - 0.7)) / 2
    )
    assert json.loads(rows[mine]["references"]) == {"joint_final": "joint"}
    assert rows[other]["intransigence_joint_final"] is None
    assert rows[mine]["intransigence"] is None  # it needs joint training up to every task


def test_of_several_joint_runs_lora_is_taken_and_one_on_another_backbone_never(study):
    mine = study.add(MATRIX)["trial_id"]
    add_joint(study, [1.0, 1.0], "all weights", method="joint_full")
    add_joint(study, [0.9, 0.8], "lora")
    add_joint(study, [1.0, 1.0], "another", run=json.dumps({"backbone": {"weights": "better"}}))
    add_joint(study, [1.0, 1.0], "a failed one", status="failed")
    row = rows_of(study)[mine]
    assert json.loads(row["references"]) == {"joint_final": "lora"}
    assert row["intransigence_joint_final"] == pytest.approx((0.0 + 0.1) / 2)


def test_a_reference_without_the_readout_is_read_by_last_and_says_so(study):
    mine = study.add(MATRIX, readout="instance-cosine")["trial_id"]
    add_joint(study, [0.9, 0.8])
    row = rows_of(study)[mine]
    assert json.loads(row["references"]) == {"joint_final": "joint, readout `last`"}
    assert row["intransigence_joint_final"] == pytest.approx((0.0 + 0.1) / 2)


def test_the_first_stages_of_other_orders_are_models_of_one_task(study):
    """Group 0 alone reached 0.9, group 1 alone 0.6."""
    first = study.add(MATRIX, order=[0, 1])["trial_id"]
    second = study.add([[0.6, 0.0], [0.4, 0.8]], order=[1, 0])["trial_id"]
    rows = rows_of(study)
    assert rows[first]["intransigence_single"] == pytest.approx(((0.9 - 0.9) + (0.6 - 0.7)) / 2)
    assert rows[second]["intransigence_single"] == pytest.approx(((0.6 - 0.6) + (0.9 - 0.8)) / 2)
    study.add(MATRIX, order=[0, 1], config_id="no other order")
    assert rows_of(study)["trial2"]["intransigence_single"] is None


def test_a_run_without_training_is_the_base_of_forward_transfer(study):
    mine = study.add(MATRIX)["trial_id"]
    bare = study.add(
        [[0.1, 0.0], [0.1, 0.1]],
        config_id="bare",
        label="bare",
        run=json.dumps({"train": {"epochs": 0}}),
    )["trial_id"]
    for row in study.eval_rows:
        given = {(f"{mine}-0", 1): 400, (f"{bare}-0", 1): 150}
        row["correct_task_given"] = given.get((row["stage_key"], row["task"]), 900)
    row = rows_of(study)[mine]
    assert row["fwt_til"] == pytest.approx(0.4 - 0.15)
    assert json.loads(row["references"]) == {"untrained": "bare"}


def test_model_size_counts_the_stored_stages(study):
    trial = study.add(MATRIX)
    sizes = dict(zip(trial["stage_keys"], (100, 300), strict=True))
    row = rows_of(study, sizes)[trial["trial_id"]]
    assert row["model_size_efficiency"] == pytest.approx((1 + 100 / 400) / 2)
    sizes.popitem()
    assert rows_of(study, sizes)[trial["trial_id"]]["model_size_efficiency"] is None


def test_a_run_that_failed_has_no_reference_metrics(study):
    trial = study.add(MATRIX, status="failed")["trial_id"]
    add_joint(study, [0.9, 0.9])
    row = rows_of(study)[trial]
    assert row["intransigence_joint_final"] is None
    assert row["reason"] == "failed"
