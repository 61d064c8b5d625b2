"""The Pareto front: definition, properties, and the table over replicates."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sweeps.analysis.front.dominance import front
from sweeps.analysis.front.pareto import pareto_table
from sweeps.analysis.trials.summary import SUMMARY, summarize

DIRECTIONS = ("max", "min", "max")
# Few distinct values, so that ties and duplicates are common.
VALUES = st.one_of(st.integers(0, 4).map(float), st.just(np.nan))
POINTS = st.integers(0, 25).flatmap(lambda n: arrays(np.float64, (n, 3), elements=VALUES))


def plain_front(points, directions):
    """The definition, pair by pair."""
    signs = [1 if d == "max" else -1 for d in directions]
    rows = [[s * v for s, v in zip(signs, p, strict=True)] for p in points]
    sound = [all(np.isfinite(v) for v in row) for row in rows]

    def dominates(a, b):
        pairs = list(zip(a, b, strict=True))
        return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)

    return [
        ok and not any(dominates(other, row) for other, o in zip(rows, sound, strict=True) if o)
        for row, ok in zip(rows, sound, strict=True)
    ]


def test_a_worked_front():
    points = [[0.8, 0.1], [0.9, 0.3], [0.7, 0.2], [0.9, 0.3], [0.9, 0.4], [np.nan, 0.0]]
    assert front(points, ("max", "min")).tolist() == [True, True, False, True, False, False]


@settings(deadline=None)
@given(POINTS)
def test_the_front_is_its_definition(points):
    assert front(points, DIRECTIONS).tolist() == plain_front(points, DIRECTIONS)


@settings(deadline=None)
@given(POINTS, st.randoms(use_true_random=False))
def test_permuting_rows_permutes_the_mask(points, random):
    order = list(range(len(points)))
    random.shuffle(order)
    assert front(points[order], DIRECTIONS).tolist() == front(points, DIRECTIONS)[order].tolist()


@settings(deadline=None)
@given(POINTS)
def test_the_front_is_not_empty_while_a_finite_point_exists(points):
    finite = np.isfinite(points).all(axis=1)
    mask = front(points, DIRECTIONS)
    assert mask.any() == finite.any()
    assert not mask[~finite].any()


@settings(deadline=None)
@given(POINTS, st.data())
def test_a_dominated_point_changes_nothing(points, data):
    mask = front(points, DIRECTIONS)
    if not mask.any():
        return
    above = points[data.draw(st.sampled_from(list(np.flatnonzero(mask))))]
    worse = above + np.array([-1.0, 0.0, 0.0])
    with_worse = front(np.vstack([points, worse]), DIRECTIONS)
    assert with_worse[:-1].tolist() == mask.tolist()
    assert not with_worse[-1]


@settings(deadline=None)
@given(POINTS)
def test_the_front_of_the_front_is_itself(points):
    best = points[front(points, DIRECTIONS)]
    assert front(best, DIRECTIONS).all()


@settings(deadline=None)
@given(POINTS)
def test_turning_all_signs_and_directions_changes_nothing(points):
    turned = tuple("min" if d == "max" else "max" for d in DIRECTIONS)
    assert front(-points, turned).tolist() == front(points, DIRECTIONS).tolist()


@pytest.mark.parametrize(
    ("points", "directions"),
    [([[1.0]], ("max", "min")), ([1.0], ("max",)), ([[1.0]], ("up",)), ([[]], ())],
)
def test_directions_must_fit(points, directions):
    with pytest.raises(ValueError, match="direction"):
        front(points, directions)


OBJECTIVES = {"average_accuracy": "max", "forgetting": "min", "trainable_parameters": "min"}


def matrix(final, drop):
    """Two tasks: average accuracy `final`, forgetting `drop`."""
    return [[final + drop, 0.0], [final, final]]


def by_label(table: pa.Table) -> dict[str, dict]:
    return {row["label"]: row for row in table.to_pylist()}


def test_one_row_per_configuration_with_means_and_intervals(study):
    for order in ([0, 1], [1, 0]):
        for seed in range(3):
            value = 0.6 + 0.01 * seed + 0.02 * order[0]
            study.add(matrix(value, 0.1), order=order, seed=seed, config_id="a", label="a")
    study.add(matrix(0.5, 0.05), config_id="b", label="b")
    study.add(matrix(0.5, 0.06), config_id="c", label="c")
    rows = by_label(pareto_table(summarize(study.trials, study.evals, "test"), OBJECTIVES))
    a, b, c = rows["a"], rows["b"], rows["c"]
    assert a["average_accuracy"] == pytest.approx(0.62)
    assert a["average_accuracy_low"] < 0.62 < a["average_accuracy_high"]
    assert a["trainable_parameters_low"] == a["trainable_parameters_high"] == 1000
    assert (a["n_replicates"], a["n_missing"], a["approximate"]) == (6, 0, False)
    assert a["interval"] == "2 orders x 3 seeds"
    assert b["average_accuracy_low"] is None
    assert b["interval"] == "one run: no interval"
    assert [row["on_front"] for row in (a, b, c)] == [True, True, False]


def test_references_and_upper_bounds_are_lines_not_points(study):
    study.add(matrix(0.6, 0.1), config_id="a", label="a")
    study.add([[0.95, 0.95]], config_id="j", label="joint", role="reference")
    study.add(matrix(0.9, 0.0), config_id="r", label="reference", role="reference")
    study.add(matrix(0.9, 0.0), config_id="o", label="oracle", readout="oracle")
    rows = by_label(pareto_table(summarize(study.trials, study.evals, "test"), OBJECTIVES))
    assert {name for name, row in rows.items() if row["on_front"]} == {"a"}
    assert rows["joint"]["average_accuracy"] == pytest.approx(0.95)
    assert rows["joint"]["forgetting"] is None
    assert rows["joint"]["n_replicates"] == 1


def test_readouts_of_one_configuration_compete(study):
    study.add(matrix(0.6, 0.1), config_id="a")
    study.add(matrix(0.7, 0.0), config_id="a", readout="instance-cosine")
    table = pareto_table(summarize(study.trials, study.evals, "test"), OBJECTIVES)
    assert [(r["readout_id"], r["on_front"]) for r in table.to_pylist()] == [
        ("last", False),
        ("instance-cosine", True),
    ]


def test_batch_wise_readouts_have_a_front_of_their_own(study):
    """They leak the task: they push no instance-wise readout off its front, nor are pushed off."""
    study.add(matrix(0.6, 0.1), config_id="a", readout="instance-cosine")
    study.add(matrix(0.9, 0.0), config_id="a", readout="batch-cosine")
    study.add(matrix(0.8, 0.0), config_id="b", readout="batch-cosine")
    study.add(matrix(0.99, 0.0), config_id="b", readout="oracle-tap")
    table = pareto_table(summarize(study.trials, study.evals, "test"), OBJECTIVES)
    found = {(r["config_id"], r["readout_id"]): r for r in table.to_pylist()}
    assert {key for key, row in found.items() if row["on_front"]} == {
        ("a", "instance-cosine"),
        ("a", "batch-cosine"),
    }
    assert found["a", "batch-cosine"]["average_accuracy"] == pytest.approx(0.9)


def test_failed_runs_are_counted_and_marked(study):
    for seed in range(3):
        study.add(
            matrix(0.6, 0.1), seed=seed, label="a", status="failed" if seed == 2 else "finished"
        )
    study.add(matrix(0.9, 0.0), config_id="b", label="b", status="failed")
    rows = by_label(pareto_table(summarize(study.trials, study.evals, "test"), OBJECTIVES))
    assert (rows["a"]["n_replicates"], rows["a"]["n_missing"]) == (2, 1)
    assert rows["a"]["approximate"]
    assert rows["b"]["average_accuracy"] is None
    assert rows["b"]["interval"] == "no finished run"
    assert not rows["b"]["on_front"]


def test_a_split_of_its_own_per_seed_is_still_a_complete_design(study):
    for order in ([0, 1], [1, 0]):
        for seed in range(2):
            study.add(matrix(0.6 + 0.1 * seed, 0.1), order=order, seed=0, split_seed=seed)
    (row,) = pareto_table(summarize(study.trials, study.evals, "test"), OBJECTIVES).to_pylist()
    assert row["interval"] == "2 orders x 2 seeds"
    assert not row["approximate"]


def test_no_runs_make_an_empty_table_and_a_misspelt_objective_an_error():
    empty = SUMMARY.empty_table()
    table = pareto_table(empty, OBJECTIVES)
    assert table.num_rows == 0
    assert "average_accuracy_low" in table.column_names
    with pytest.raises(KeyError, match="unknown objective 'acuracy'"):
        pareto_table(empty, {"acuracy": "max"})


def test_interquartile_means_are_not_moved_by_one_bad_run(study):
    for order, seed in [((0, 1), 0), ((0, 1), 1), ((1, 0), 0), ((1, 0), 1)]:
        bad = (order, seed) == ((1, 0), 1)
        study.add([[0.1 if bad else 0.8] * 2] * 2, order=order, seed=seed)
    summary = summarize(study.trials, study.evals, "test")
    (plain,) = pareto_table(summary, {"average_accuracy": "max"}).to_pylist()
    (robust,) = pareto_table(summary, {"average_accuracy": "max"}, iqm=True).to_pylist()
    assert plain["average_accuracy"] == pytest.approx(0.625)
    assert robust["average_accuracy"] == pytest.approx(0.8)
