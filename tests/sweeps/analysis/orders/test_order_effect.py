"""Order sensitivity: disparity by hand, its floor, variance shares, and what no design tells."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clmethods.metrics.orders import disparity
from sweeps.analysis.orders.order_effect import ORDER_SENSITIVITY, order_sensitivity

FINALS = st.tuples(st.integers(1, 6), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(0, 1))
)


def finish(study, finals, order, seed, **changes):
    """A run that ends with accuracy finals[g] on group g; nothing is ever forgotten."""
    learned = [finals[group] for group in order]
    study.add(np.tile(learned, (len(order), 1)), order=order, seed=seed, **changes)


def sensitivity(study, **options):
    return order_sensitivity(study.trials, study.evals, "last", "test", **options).to_pylist()


def test_a_worked_disparity():
    finals = [[0.5, 0.8, 0.6], [0.7, 0.8, 0.3]]
    assert disparity(finals).tolist() == pytest.approx([0.2, 0.0, 0.3])


@settings(deadline=None)
@given(FINALS, st.randoms(use_true_random=False))
def test_i36_mopd_is_at_least_aopd_and_permuting_runs_changes_nothing(finals, random):
    opd = disparity(finals)
    assert opd.max() + 1e-12 >= opd.mean() >= 0
    order = list(range(len(finals)))
    random.shuffle(order)
    assert disparity(finals[order]).tolist() == opd.tolist()


@settings(deadline=None)
@given(arrays(np.float64, (1, 4), elements=st.floats(0, 1)))
def test_i36_one_run_has_no_disparity(finals):
    assert disparity(finals).tolist() == [0.0] * 4


@settings(deadline=None)
@given(FINALS)
def test_more_orders_never_lower_the_disparity(finals):
    assert (disparity(finals) >= disparity(finals[:1])).all()


def test_groups_are_matched_wherever_they_came(study):
    finish(study, [0.5, 0.8, 0.6], [0, 1, 2], 0)
    finish(study, [0.7, 0.8, 0.3], [2, 0, 1], 0)
    (row,) = sensitivity(study)
    assert row["opd"] == pytest.approx([0.2, 0.0, 0.3])
    assert row["aopd"] == pytest.approx(0.5 / 3)
    assert row["mopd"] == pytest.approx(0.3)
    assert (row["n_orders"], row["n_seeds"]) == (2, 1)


def test_i36_a_method_that_ignores_the_order_has_none(study):
    for order in itertools.permutations(range(3)):
        finish(study, [0.5, 0.8, 0.6], order, 0)
    (row,) = sensitivity(study)
    assert row["aopd"] == row["mopd"] == 0.0
    assert row["order_std"] == pytest.approx(0, abs=1e-12)


def test_seeds_are_averaged_first_and_give_the_floor(study):
    for seed, noise in enumerate((-0.1, 0.1)):
        finish(study, [0.5 + noise, 0.7], [0, 1], seed)
        finish(study, [0.6 - noise, 0.7], [1, 0], seed)
    (row,) = sensitivity(study)
    assert row["opd"] == pytest.approx([0.1, 0.0])
    assert row["seed_aopd"] == pytest.approx(0.1)
    assert row["seed_mopd"] == pytest.approx(0.2)


def test_variance_shares_follow_planted_effects(study):
    """Average accuracy 0.5 + order + seed, and nothing else: the residual has no share."""
    orders = list(itertools.permutations(range(3)))[:3]
    for i, j in itertools.product(range(3), range(2)):
        value = 0.5 + 0.1 * i + 0.02 * j
        finish(study, [value] * 3, orders[i], j)
    (row,) = sensitivity(study)
    order, seed = np.var([0.0, 0.1, 0.2], ddof=1), np.var([0.0, 0.02], ddof=1)
    assert row["share_order"] == pytest.approx(order / (order + seed))
    assert row["share_seed"] == pytest.approx(seed / (order + seed))
    assert row["share_residual"] == pytest.approx(0, abs=1e-12)
    assert row["order_std"] == pytest.approx(0.1)
    assert row["reason"] is None


def test_another_metric(study):
    study.add([[0.9, 0.0], [0.5, 0.8]], order=[0, 1])
    study.add([[0.9, 0.0], [0.7, 0.8]], order=[1, 0])
    (row,) = sensitivity(study, metric="forgetting")
    assert row["metric"] == "forgetting"
    assert row["order_std"] == pytest.approx(np.std([0.4, 0.2], ddof=1))
    with pytest.raises(KeyError, match="forgeting"):
        sensitivity(study, metric="forgeting")


def test_one_order_tells_nothing_of_orders(study):
    for seed in range(2):
        finish(study, [0.5 + 0.1 * seed, 0.7], [0, 1], seed)
    (row,) = sensitivity(study)
    assert row["opd"] is row["aopd"] is row["mopd"] is row["order_std"] is None
    assert row["share_order"] is None
    assert row["seed_mopd"] == pytest.approx(0.1)
    assert "one task order" in row["reason"]
    assert "fewer than 2 orders x 2 seeds" in row["reason"]


def test_one_seed_has_no_floor(study):
    finish(study, [0.5, 0.7], [0, 1], 0)
    finish(study, [0.6, 0.7], [1, 0], 0)
    (row,) = sensitivity(study)
    assert row["aopd"] == pytest.approx(0.05)
    assert row["seed_aopd"] is row["share_seed"] is None
    assert "one seed per order" in row["reason"]


def test_a_missing_cell_leaves_no_shares_and_is_counted(study):
    for order, seed in itertools.product([[0, 1], [1, 0]], range(2)):
        status = "failed" if (order, seed) == ([1, 0], 1) else "finished"
        finish(study, [0.5 + 0.1 * seed, 0.7], order, seed, status=status)
    (row,) = sensitivity(study)
    assert row["n_missing"] == 1
    assert row["share_order"] is None
    assert row["aopd"] is not None
    assert "not every order ran once with every seed" in row["reason"]


def runs_of(study, cells):
    """A run of two tasks in each cell (order, seed), with an effect of the order on accuracy."""
    orders = list(itertools.permutations(range(4)))
    for order, seed in cells:
        accuracy = 0.5 + 0.05 * order + 0.01 * (seed % 2)
        finish(study, [accuracy] * 4, list(orders[order]), seed)


def test_runs_that_repeat_orders_and_seeds_have_shares_without_a_grid(study):
    cells = [(i, j) for i, j in itertools.product(range(3), range(3)) if (i, j) != (2, 0)]
    runs_of(study, cells)
    (row,) = sensitivity(study)
    assert row["reason"] is None
    assert row["share_order"] > 0.9
    assert row["share_order"] + row["share_seed"] + row["share_residual"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([(k, k) for k in range(5)], "each run has a different order and seed"),
        ([(k % 2, k) for k in range(6)], "each run has a different seed, which is not separable"),
    ],
)
def test_the_reason_names_what_the_runs_do_not_separate(study, cells, reason):
    runs_of(study, cells)
    (row,) = sensitivity(study)
    assert row["share_order"] is row["share_seed"] is row["share_residual"] is None
    assert reason in row["reason"]
    assert row["order_std"] > 0.0


def test_a_constant_metric_has_no_shares(study):
    for order, seed in itertools.product([[0, 1], [1, 0]], range(2)):
        finish(study, [0.5, 0.5], order, seed)
    (row,) = sensitivity(study)
    assert row["share_order"] is None
    assert "nothing varies" in row["reason"]


def test_a_joint_run_has_no_order_and_lacks_the_metric(study):
    for seed in range(2):
        study.add([[0.5, 0.7]], seed=seed, role="reference")
    (row,) = sensitivity(study, metric="bwt")
    assert "one task order" in row["reason"]
    assert "the metric does not exist" in row["reason"]


def test_configurations_and_groupings_are_kept_apart(study):
    finish(study, [0.5, 0.7], [0, 1], 0, config_id="a")
    finish(study, [0.5, 0.7], [0, 1], 0, config_id="b")
    finish(study, [0.9, 0.1], [1, 0], 0, config_id="a", partition_id="other")
    finish(study, [0.9, 0.1], [1, 0], 0, config_id="a", readout="oracle")
    rows = sensitivity(study)
    assert [(r["config_id"], r["partition_id"]) for r in rows] == [
        ("a", "halves"),
        ("b", "halves"),
        ("a", "other"),
    ]
    assert {r["n_orders"] for r in rows} == {1}


def test_nothing_finished_and_nothing_at_all(study):
    finish(study, [0.5, 0.7], [0, 1], 0, status="failed")
    (row,) = sensitivity(study)
    assert (row["n_orders"], row["n_missing"], row["reason"]) == (0, 1, "no finished run")
    empty = order_sensitivity(study.trials.slice(0, 0), study.evals, "last", "test")
    assert empty.num_rows == 0
    assert empty.schema.equals(ORDER_SENSITIVITY)
