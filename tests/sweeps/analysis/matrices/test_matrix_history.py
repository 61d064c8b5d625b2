"""The critical-parameter picture against figures worked by hand, and pairs found by stage keys."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from clmethods.config import BackboneConfig, LoracIpcConfig, RunConfig, StreamConfig, resolve
from clmethods.config.keys import stage_chain
from clmethods.config.run import run_to_dict
from sweeps.analysis.matrices.freezing_effect import (
    drift_differences,
    freezing_pairs,
    importance_and_drift,
)
from sweeps.analysis.matrices.matrix_history import Site, history_table, matrix_runs, matrix_table
from sweeps.results import TABLES
from sweeps.results.rows import to_table


def matrix(key, block, site, importance, frozen, change, norm=1.0):
    return {
        "stage_key": key,
        "block": block,
        "site": site,
        "importance": importance,
        "frozen": frozen,
        "omega": [1.0] * (len(change) + 1),
        "delta_norm": norm,
        "change_since": change,
    }


def table(rows):
    return to_table(TABLES["matrices"], rows)


def small_run(threshold, seed=0, **fields):
    method = LoracIpcConfig(rank=2, importance_threshold=threshold, **fields)
    backbone = BackboneConfig(name="tiny_vit8", weights="random", image_size=8)
    stream = StreamConfig(dataset="digits", tasks=2)
    return resolve(RunConfig(backbone=backbone, stream=stream, method=method, seed=seed))


def add(study, run, config_id, seed=0):
    """A finished trial with the stage keys that its run has."""
    return study.add(
        [[0.9, 0.0], [0.8, 0.7]],
        seed=seed,
        config_id=config_id,
        label=config_id,
        run=json.dumps(run_to_dict(run)),
        stage_keys=[stage.key for stage in stage_chain(run)],
    )


@pytest.fixture
def two_seeds(study):
    """A configuration that freezes (0, v) at the second task, and the same without, two seeds.

    Without freezing (0, v) moves by 0.4 + 0.1 seed and (0, q) by 0.2; with it by 0 and 0.3.
    """
    rows = []
    for seed in (0, 1):
        runs = {
            name: small_run(t, seed, ipc_selector="importance")
            for name, t in (("on", 0.5), ("off", 0.0))
        }
        for name, run in runs.items():
            first, second = add(study, run, name, seed)["stage_keys"]
            if name == "on":
                rows += [
                    matrix(first, 0, "v", 0.9, False, []),
                    matrix(first, 0, "q", 0.1, False, []),
                    matrix(second, 0, "v", None, True, [0.0], 2.0),
                    matrix(second, 0, "q", 0.3, False, [0.3], 4.0),
                ]
            else:
                rows += [
                    matrix(second, 0, "v", 0.9, False, [0.4 + 0.1 * seed]),
                    matrix(second, 0, "q", 0.95, False, [0.2]),
                ]
    return study.trials, table(rows)


def test_importance_freezing_and_drift_of_every_matrix(two_seeds):
    found = {one.label: one for one in matrix_runs(*two_seeds)}
    on = found["on"]
    assert on.sites == (Site(0, "q"), Site(0, "v"))  # q before v, as in a block
    assert on.frozen.tolist() == [[[False, False], [False, True]]] * 2
    assert on.importance[0].tolist()[0] == [0.0, 1.0]
    assert np.isnan(on.importance[0, 1]).all()  # one was frozen: the other's rank says nothing
    rows = {row["site"]: row for row in matrix_table([on]).to_pylist()}
    assert (rows["v"]["importance"], rows["q"]["importance"]) == (1.0, 0.0)
    assert (rows["v"]["frozen_share"], rows["v"]["frozen_from"]) == (1.0, 2.0)
    assert (rows["q"]["frozen_share"], rows["q"]["frozen_from"]) == (0.0, None)
    assert (rows["v"]["drift"], rows["q"]["drift"]) == pytest.approx((0.0, 0.3))
    assert rows["q"]["delta_norm"] == 4.0
    assert rows["v"]["runs"] == 2
    off = {row["site"]: row for row in matrix_table([found["off"]]).to_pylist()}
    assert off["v"]["drift"] == pytest.approx(0.45)
    # t interval of two seeds: 12.706 * 0.05 about the mean
    assert off["v"]["drift_high"] == pytest.approx(0.45 + 12.7062 * 0.05, abs=1e-4)
    assert off["v"]["importance"] == pytest.approx(0.5)  # on top after task 1, below after task 2


def test_the_history_has_a_row_per_task_and_matrix(two_seeds):
    rows = history_table([one for one in matrix_runs(*two_seeds) if one.label == "on"]).to_pylist()
    assert len(rows) == 2 * 2
    at = {(row["position"], row["site"]): row for row in rows}
    assert at[0, "v"]["frozen_share"] == 0.0
    assert at[1, "v"]["frozen_share"] == 1.0
    assert at[0, "q"]["drift"] is None
    assert at[1, "q"]["drift"] == pytest.approx(0.3)


def test_freezing_is_compared_with_the_same_run_without(two_seeds):
    trials, matrices = two_seeds
    (pair,) = freezing_pairs(trials, matrix_runs(trials, matrices))
    assert (pair.frozen.label, pair.free.label, len(pair.cells)) == ("on", "off", 2)
    groups = {found.group: found for found in drift_differences(pair)}
    assert groups["all"].difference.mean == pytest.approx((-0.45 + 0.1) / 2)
    assert groups["frozen"].without.mean == pytest.approx(0.45)
    assert groups["frozen"].with_freezing.mean == 0.0
    assert groups["never frozen"].difference.mean == pytest.approx(0.1)
    assert groups["frozen"].matrices == 1.0


def test_a_field_that_acts_only_while_freezing_does_not_hide_the_pair(study, two_seeds):
    """The run without freezing is spelt with another selector, which does not act in it."""
    trials, matrices = two_seeds
    runs = matrix_runs(trials, matrices)
    spelt = small_run(0.0, 0, ipc_selector="inverse")
    assert (
        stage_chain(spelt)[-1].key
        == stage_chain(small_run(0.0, 0, ipc_selector="importance"))[-1].key
    )
    assert len(freezing_pairs(trials, runs)) == 1
    other_rank = replace(spelt, method=replace(spelt.method, rank=4))
    rows = trials.to_pylist()
    keys = [stage.key for stage in stage_chain(other_rank)]
    changed = [r | {"stage_keys": keys} if r["config_id"] == "off" else r for r in rows]
    assert freezing_pairs(to_table(TABLES["trials"], changed), runs) == []


def test_importance_and_drift_are_ranked_run_by_run(two_seeds):
    runs = {one.label: one for one in matrix_runs(*two_seeds)}
    # over both tasks v and q are on top once each: nothing to rank
    assert importance_and_drift(runs["off"]) is None
    found = importance_and_drift(runs["on"])
    assert (found.mean, found.n) == (pytest.approx(-1.0), 2)  # what is frozen does not move


def test_the_drift_is_the_mean_over_the_earlier_tasks_at_the_end(study):
    """After task 3 the matrix is 0.2 from where task 1 and 0.4 from where task 2 left it."""
    trial = study.add([[0.9, 0.0, 0.0], [0.8, 0.7, 0.0], [0.8, 0.7, 0.9]])
    changes = ([], [0.9], [0.2, 0.4])
    frozen = (False, False, True)
    rows = [
        matrix(key, 3, "f1", None, f, change)
        for key, f, change in zip(trial["stage_keys"], frozen, changes, strict=True)
    ]
    (row,) = matrix_table(matrix_runs(study.trials, table(rows))).to_pylist()
    assert row["drift"] == pytest.approx(0.3)
    assert (row["frozen_from"], row["importance"]) == (3.0, None)


def test_a_matrix_that_one_configuration_does_not_adapt_is_no_row_of_it(study):
    one, other = (study.add([[0.9, 0.0], [0.8, 0.7]], config_id=name) for name in "ab")
    rows = []
    for trial, sites in ((one, "qv"), (other, "v")):
        for t, key in enumerate(trial["stage_keys"]):
            rows += [matrix(key, 0, site, 0.5, False, [0.1] * t) for site in sites]
    found = matrix_table(matrix_runs(study.trials, table(rows))).to_pylist()
    assert [(row["config_id"], row["site"]) for row in found] == [
        ("a", "q"),
        ("a", "v"),
        ("b", "v"),
    ]
    assert all(row["drift_low"] is None for row in found)  # one run: no interval


def test_trials_that_did_not_finish_and_methods_without_matrices_are_left_out(study):
    failed = study.add([[0.9, 0.0], [0.8, 0.7]], config_id="failed", status="failed")
    study.add([[0.9, 0.0], [0.8, 0.7]], config_id="none")
    rows = [
        matrix(key, 0, "q", 0.5, False, [0.1] * t) for t, key in enumerate(failed["stage_keys"])
    ]
    assert matrix_runs(study.trials, table(rows)) == []
    empty = table([])
    assert matrix_runs(study.trials, empty) == []
    assert isinstance(matrix_table([]), pa.Table)
