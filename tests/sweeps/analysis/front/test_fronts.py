"""Hypervolume, knee, front probability and attainment, against moocore and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sweeps.analysis.front.attainment import attainment
from sweeps.analysis.front.hypervolume import hypervolume, knee, worst_point
from sweeps.analysis.trials.replicates import Replicates

moocore = pytest.importorskip("moocore")

CLOUDS = st.tuples(st.integers(1, 12), st.integers(2, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 8).map(lambda v: v / 8))
)
OBJECTIVES = {"a": "max", "f": "min"}


def configuration(label, a, f, role="search"):
    """Replicates from two grids of orders x seeds."""
    metrics = {
        name: {
            (f"order{i}", j): float(v)
            for i, row in enumerate(grid)
            for j, v in enumerate(row)
            if not np.isnan(v)
        }
        for name, grid in (("a", a), ("f", f))
    }
    return Replicates(label, label, role, "lorac_ipc", "last", "test", metrics, {})


def test_a_worked_hypervolume():
    """Accuracy above 0.5 times forgetting below 0.4: two rectangles and what they share."""
    points = [[0.9, 0.3], [0.7, 0.1], [0.6, 0.35], [0.95, 0.5], [np.nan, 0.0]]
    expected = 0.4 * 0.1 + 0.2 * 0.3 - 0.2 * 0.1
    assert hypervolume(points, ["max", "min"], [0.5, 0.4]) == pytest.approx(expected)
    assert hypervolume(points, ["max", "min"], [1.0, 0.0]) == 0.0


@settings(deadline=None, max_examples=60)
@given(CLOUDS)
def test_the_hypervolume_is_moocores(points):
    m = points.shape[1]
    reference = np.full(m, 1.05)
    ours = hypervolume(points, ["min"] * m, reference)
    assert ours == pytest.approx(moocore.hypervolume(points, ref=reference), abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(CLOUDS, st.randoms(use_true_random=False))
def test_a_dominated_point_adds_nothing_and_order_does_not_matter(points, random):
    m = points.shape[1]
    whole = hypervolume(points, ["max"] * m, np.full(m, -0.1))
    rows = list(range(len(points)))
    random.shuffle(rows)
    more = np.vstack([points[rows], points.min(axis=0)])
    assert hypervolume(more, ["max"] * m, np.full(m, -0.1)) == pytest.approx(whole)


def test_the_worst_point_of_finite_rows():
    assert worst_point([[0.9, 0.3], [0.5, 0.1], [np.nan, 9.0]], ["max", "min"]).tolist() == [
        0.5,
        0.3,
    ]


def test_the_knee_is_where_the_front_bends_in_any_unit():
    points = np.array([[0.90, 0.30], [0.88, 0.10], [0.60, 0.08], [0.5, 0.5]])
    assert knee(points, ["max", "min"]) == 1
    assert knee(points * [100.0, 1e6], ["max", "min"]) == 1
    assert knee([[0.9, 0.1], [0.8, 0.2]], ["max", "min"]) == 0  # a front of one
    assert knee([[0.9, 0.1], [0.9, 0.1]], ["max", "min"]) == 0  # nothing varies
    assert knee([[np.nan, 0.1]], ["max", "min"]) is None


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_attainment_is_moocores(share):
    rng = np.random.default_rng(5)
    a, f = rng.integers(0, 20, (6, 2, 2)) / 20, rng.integers(0, 20, (6, 2, 2)) / 20
    found = [configuration(str(c), a[c], f[c]) for c in range(6)]
    rows = [
        [-a[c, i, j], f[c, i, j], 2 * i + j + 1]
        for i in range(2)
        for j in range(2)
        for c in range(6)
    ]
    data = np.array(rows)
    theirs = moocore.eaf(data[:, :2], sets=data[:, 2], percentiles=[100 * share])[:, :2]
    ours = attainment(found, OBJECTIVES, share)
    expected = np.array(sorted(map(tuple, theirs * [-1.0, 1.0]), reverse=True))
    assert ours == pytest.approx(expected)


def test_a_worked_attainment():
    """Two cells. In the first x reaches (0.8, 0.2) and y (0.6, 0.1), in the second x (0.7, 0.3)
    and y (0.9, 0.4): one of two cells is enough for the outer corners, both reach the inner ones.
    """
    x = configuration("x", [[0.8], [0.7]], [[0.2], [0.3]])
    y = configuration("y", [[0.6], [0.9]], [[0.1], [0.4]])
    half, all_of_them = (attainment([x, y], OBJECTIVES, share) for share in (0.5, 1.0))
    assert half.tolist() == [[0.9, 0.4], [0.8, 0.2], [0.6, 0.1]]
    assert all_of_them.tolist() == [[0.8, 0.4], [0.7, 0.3]]


def test_attainment_needs_two_objectives():
    with pytest.raises(ValueError, match="two objectives"):
        attainment([], {"a": "max"}, 0.5)
    assert attainment([], OBJECTIVES, 0.5).shape == (0, 2)
