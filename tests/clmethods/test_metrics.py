"""Metrics against closed forms, worked matrices and invariants of docs/method.md section 11."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clmethods.metrics import (
    METRICS,
    average_accuracy,
    average_incremental_accuracy,
    bwt,
    forgetting,
    learning_accuracy,
    pooled_accuracy,
    stability,
    stability_plasticity,
)
from tests.clmethods.accuracy_matrices import WORKED, matrices


def test_a_worked_matrix():
    assert average_accuracy(WORKED) == pytest.approx((0.6 + 0.7 + 0.8) / 3)
    assert average_incremental_accuracy(WORKED) == pytest.approx((0.9 + 0.65 + 0.7) / 3)
    assert forgetting(WORKED) == pytest.approx((0.3 - 0.1) / 2)
    assert bwt(WORKED) == pytest.approx((-0.3 + 0.1) / 2)
    assert learning_accuracy(WORKED) == pytest.approx((0.9 + 0.6 + 0.8) / 3)
    assert stability(WORKED) == pytest.approx((0.6 / 0.9 + 0.7 / 0.6) / 2)


def test_the_peak_may_lie_after_the_task_and_never_is_the_last_row():
    a = [[0.5, np.nan, np.nan], [0.8, 0.4, np.nan], [0.6, 0.9, 1.0]]
    assert forgetting(a) == pytest.approx(((0.8 - 0.6) + (0.4 - 0.9)) / 2)


@pytest.mark.parametrize("tasks", [2, 3, 7])
def test_i34_all_ones(tasks):
    ones = np.tril(np.ones((tasks, tasks)))
    values = {name: metric.function(ones) for name, metric in METRICS.items()}
    assert values == {
        "average_accuracy": 1.0,
        "average_incremental_accuracy": 1.0,
        "forgetting": 0.0,
        "bwt": 0.0,
        "forgetting_mammoth": 0.0,
        "forgetting_avalanche": 0.0,
        "forgetting_continuum": 0.0,
        "bwt_plus": 0.0,
        "remembering": 1.0,
        "bwt_all_pairs": 0.0,
        "learning_accuracy": 1.0,
        "stability": 1.0,
        "stability_plasticity": 1.0,
    }


@pytest.mark.parametrize("tasks", [2, 5])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.97])
def test_i34_geometric_decay(tasks, p):
    t, j = np.indices((tasks, tasks))
    a = np.where(t >= j, p ** np.maximum(t - j, 0), np.nan)
    expected = np.mean([1 - p ** (tasks - j) for j in range(1, tasks)])
    assert forgetting(a) == pytest.approx(expected)
    assert bwt(a) == pytest.approx(-expected)


@settings(deadline=None)
@given(matrices())
def test_i35_forgetting_bounds_backward_transfer(a):
    lost, transfer = forgetting(a), bwt(a)
    assert lost >= -transfer - 1e-12
    peak_at_own_end = all(a[j:-1, j].max() == a[j, j] for j in range(len(a) - 1))
    if peak_at_own_end:
        assert lost == pytest.approx(-transfer, abs=1e-12)


def test_i35_a_later_peak_makes_forgetting_larger():
    a = [[0.5, np.nan, np.nan], [0.6, 0.5, np.nan], [0.5, 0.5, 0.5]]
    assert forgetting(a) == pytest.approx(0.05)
    assert bwt(a) == 0.0


@settings(deadline=None)
@given(matrices())
def test_i35_average_accuracy_is_learning_accuracy_plus_transfer(a):
    tasks = len(a)
    right = learning_accuracy(a) + (tasks - 1) / tasks * bwt(a)
    assert average_accuracy(a) == pytest.approx(right, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=8))
def test_i36_equal_sizes_make_pooled_and_average_accuracy_one(correct):
    row = [[c / 50 for c in correct]]
    assert pooled_accuracy([(c, 50) for c in correct]) == pytest.approx(average_accuracy(row))


def test_pooled_accuracy_weighs_by_images():
    assert pooled_accuracy([(90, 100), (1, 10)]) == pytest.approx(91 / 110)
    assert pooled_accuracy([(0, 0)]) is None


@pytest.mark.parametrize("counts", [[(3, 2)], [(-1, 2)], [(1, 2, 3)], [1, 2]])
def test_pooled_accuracy_refuses_counts_that_make_no_fraction(counts):
    with pytest.raises(ValueError, match="correct"):
        pooled_accuracy(counts)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("bad", [-0.01, 1.01, 62.4, np.inf])
def test_i37_anything_but_a_fraction_is_refused(name, bad):
    a = np.tril(np.full((3, 3), 0.5))
    a[2, 1] = bad
    with pytest.raises(ValueError, match=r"fractions in \[0, 1\], got a\[2, 1\]"):
        METRICS[name].function(a)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (0, 0), (3,), (2, 2, 2)])
def test_a_shape_that_is_no_accuracy_matrix_is_refused(name, shape):
    with pytest.raises(ValueError, match="T x T"):
        METRICS[name].function(np.zeros(shape))


@pytest.mark.parametrize("name", METRICS)
def test_a_hole_below_the_diagonal_is_refused(name):
    a = np.tril(np.full((3, 3), 0.5))
    a[2, 0] = np.nan
    with pytest.raises(ValueError, match=r"a\[2, 0\] must be known"):
        METRICS[name].function(a)


@settings(deadline=None)
@given(matrices(), st.data())
def test_no_metric_reads_above_the_diagonal(a, data):
    filled = a.copy()
    upper = np.triu_indices(len(a), 1)
    size = len(upper[0])
    filled[upper] = data.draw(
        arrays(np.float64, size, elements=st.floats(0, 1, allow_subnormal=False))
    )
    for metric in METRICS.values():
        assert metric.function(filled) == metric.function(a)


@pytest.mark.parametrize("learned", [1e-320, 1e-308])
def test_who_learns_next_to_nothing_has_no_balance_of_stability_and_plasticity(learned):
    """The reciprocal of the learned accuracy exceeds the largest float."""
    assert stability_plasticity([[learned, np.nan], [0.0, 0.0]]) == pytest.approx(0.0, abs=1e-300)


@settings(deadline=None)
@given(matrices())
def test_every_metric_keeps_to_its_range(a):
    assert -1 <= forgetting(a) <= 1
    assert -1 <= bwt(a) <= 1
    for fraction in (average_accuracy, average_incremental_accuracy, learning_accuracy):
        assert 0 <= fraction(a) <= 1
    kept = stability(a)
    assert kept is None or kept >= 0


def test_one_task_has_no_past_to_lose():
    assert average_accuracy([[0.7]]) == average_incremental_accuracy([[0.7]]) == 0.7
    assert learning_accuracy([[0.7]]) == 0.7
    assert forgetting([[0.7]]) is bwt([[0.7]]) is stability([[0.7]]) is None


def test_a_joint_run_has_an_average_accuracy_and_no_history():
    joint = [[0.5, 0.7, 0.9]]
    values = {name: metric.function(joint) for name, metric in METRICS.items()}
    assert values.pop("average_accuracy") == pytest.approx(0.7)
    assert set(values.values()) == {None}


def test_stability_leaves_out_tasks_that_were_never_known():
    a = [[0.0, np.nan, np.nan], [0.0, 0.8, np.nan], [0.1, 0.4, 1.0]]
    assert stability(a) == pytest.approx(0.5)
    assert stability([[0.0, np.nan], [0.5, 1.0]]) is None


@settings(max_examples=30, deadline=None)
@given(matrices())
def test_the_direction_says_which_way_is_better(a):
    """More right answers on old tasks at the end never make a metric worse."""
    better = a.copy()
    better[-1, :-1] = np.minimum(1.0, a[-1, :-1] + 0.1)
    for metric in METRICS.values():
        before, after = metric.function(a), metric.function(better)
        if before is None:
            continue
        gain = after - before if metric.direction == "max" else before - after
        assert gain >= -1e-12


def test_metrics_need_numpy_only():
    code = (
        "import sys, clmethods.metrics; "
        "sys.exit(bool({'torch', 'pyarrow', 'scipy', 'ray', 'timm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
