"""Variance components against a design worked by hand and planted effects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sweeps.statistics.variance_components import components, crossed

GRIDS = st.tuples(st.integers(2, 5), st.integers(2, 5)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-1, 1, width=32))
)


def test_a_worked_design():
    """Means of orders 2, 4, 6; of seeds 3, 5; residuals +-1, -+1, 0."""
    grid = np.array([[2.0, 2.0], [2.0, 6.0], [5.0, 7.0]])
    parts = components(grid)
    assert parts.mean_square_order == pytest.approx(2 * (4 + 0 + 4) / 2)
    assert parts.mean_square_seed == pytest.approx(3 * (1 + 1) / 1)
    assert parts.mean_square_residual == pytest.approx((1 + 1 + 1 + 1) / 2)
    assert parts.order == pytest.approx((8 - 2) / 2)
    assert parts.seed == pytest.approx((6 - 2) / 3)
    assert parts.shares == pytest.approx(tuple(v / (3 + 4 / 3 + 2) for v in (3, 4 / 3, 2)))


def test_planted_variances_are_found():
    rng = np.random.default_rng(0)
    grid = rng.normal(0, 3, (400, 1)) + rng.normal(0, 2, (1, 400)) + rng.normal(0, 1, (400, 400))
    parts = components(grid)
    assert parts.order == pytest.approx(9, rel=0.2)
    assert parts.seed == pytest.approx(4, rel=0.2)
    assert parts.residual == pytest.approx(1, rel=0.02)


def test_additive_effects_leave_no_residual():
    grid = np.add.outer([0.1, 0.4], [0.0, 0.2, 0.3])
    assert components(grid).residual == pytest.approx(0, abs=1e-15)


def test_a_negative_estimate_is_set_to_zero():
    parts = components(np.array([[1.0, -1.0], [-1.0, 1.0]]))  # equal margins, all interaction
    assert parts.order == parts.seed == 0.0
    assert parts.shares == (0.0, 0.0, 1.0)


@settings(deadline=None)
@given(GRIDS, st.integers(-3, 3))
def test_a_shift_changes_nothing_and_the_transpose_swaps_the_roles(grid, shift):
    parts, shifted, swapped = components(grid), components(grid + shift), components(grid.T)
    assert shifted.order == pytest.approx(parts.order, abs=1e-9)
    assert shifted.residual == pytest.approx(parts.residual, abs=1e-9)
    assert swapped.seed == pytest.approx(parts.order, abs=1e-12)
    assert swapped.order == pytest.approx(parts.seed, abs=1e-12)


@settings(deadline=None)
@given(GRIDS)
def test_the_sums_of_squares_add_up(grid):
    parts = components(grid)
    i, j = grid.shape
    total = (
        parts.mean_square_order * (i - 1)
        + parts.mean_square_seed * (j - 1)
        + parts.mean_square_residual * (i - 1) * (j - 1)
    )
    assert total == pytest.approx(((grid - grid.mean()) ** 2).sum(), abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (4,)])
def test_one_order_or_one_seed_has_no_components(shape):
    with pytest.raises(ValueError, match="2 orders x 2 seeds"):
        components(np.zeros(shape))


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_nothing_varies_when_only_rounding_does(value):
    assert components(np.full((3, 3), value)).shares is None
    assert components(np.array([[0.3, 0.1 + 0.2], [0.1 + 0.2, 0.3]])).shares is None


def test_a_complete_crossing_is_recognised_in_any_order():
    values = np.array([4.0, 1.0, 3.0, 2.0])
    grid = crossed(values, ["b", "a", "b", "a"], [1, 0, 0, 1])
    assert grid.tolist() == [[4.0, 3.0], [2.0, 1.0]]  # rows b, a; columns 1, 0


@pytest.mark.parametrize(
    ("orders", "seeds"),
    [(["a", "a", "b"], [0, 1, 0]), (["a", "a"], [0, 0]), (["a", "a", "b", "b"], [0, 0, 1, 1])],
)
def test_missing_or_doubled_cells_are_no_crossing(orders, seeds):
    assert crossed(np.arange(float(len(orders))), orders, seeds) is None
