"""Intervals: formulas worked by hand, every kind of design, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from sweeps.analysis.intervals import mean_interval


def cells(i, j):
    """Orders and seeds of a complete I x J design, row by row."""
    return [o for o in range(i) for _ in range(j)], [s for _ in range(i) for s in range(j)]


def test_a_worked_crossed_design():
    """The grid of test_components: mean squares 8, 6, 2 on 2, 1, 2 degrees of freedom."""
    values = [2.0, 2.0, 2.0, 6.0, 5.0, 7.0]
    interval = mean_interval(values, *cells(3, 2))
    variance = (8 + 6 - 2) / 6
    degrees = (8 + 6 - 2) ** 2 / (8**2 / 2 + 6**2 / 1 + 2**2 / 2)
    half = student.ppf(0.975, degrees) * variance**0.5
    assert interval.mean == pytest.approx(4.0)
    assert interval.degrees == pytest.approx(degrees)
    assert interval.low == pytest.approx(4.0 - half)
    assert interval.high == pytest.approx(4.0 + half)
    assert (interval.design, interval.approximate, interval.n) == ("crossed", False, 6)
    assert interval.note == "3 orders x 2 seeds"


def test_a_floored_component_leaves_its_mean_square_out():
    interaction = np.array([[1.0, -1.0], [-1.0, 1.0], [0.0, 0.0]])
    grid = np.add.outer([0.0, 1.0, 5.0], [0.0, 0.0]) + interaction
    interval = mean_interval(grid.ravel(), *cells(3, 2))  # seeds have equal means
    ms_order = 2 * np.var([0.0, 1.0, 5.0], ddof=1)
    assert interval.degrees == pytest.approx(2)
    half = student.ppf(0.975, 2) * (ms_order / 6) ** 0.5
    assert interval.high - interval.mean == pytest.approx(half)


@pytest.mark.parametrize("transposed", [False, True])
def test_one_factor_is_the_plain_t_interval(transposed):
    values, many, one = [0.5, 0.6, 0.8], ["a", "b", "c"], [0, 0, 0]
    orders, seeds = (one, many) if transposed else (many, one)
    interval = mean_interval(values, orders, seeds)
    low, high = student.interval(0.95, 2, np.mean(values), np.std(values, ddof=1) / 3**0.5)
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))
    assert (interval.design, interval.degrees, interval.approximate) == ("one factor", 2, False)


def test_runs_with_an_order_and_a_seed_each_are_independent():
    interval = mean_interval([0.5, 0.6, 0.8], ["a", "b", "c"], [0, 1, 2])
    assert interval.design == "one factor"
    assert not interval.approximate
    assert "of its own" in interval.note


@pytest.mark.parametrize(
    ("orders", "seeds"), [(["a", "a", "b"], [0, 1, 0]), (["a", "a", "a"], [0, 0, 1])]
)
def test_an_incomplete_design_is_marked(orders, seeds):
    interval = mean_interval([0.5, 0.6, 0.8], orders, seeds)
    assert interval.design == "incomplete"
    assert interval.approximate
    assert interval.degrees == 2
    assert "too narrow" in interval.note


def test_one_value_has_no_interval_and_says_so():
    interval = mean_interval([0.5], ["a"], [0])
    assert interval.mean == 0.5
    assert interval.low is interval.high is interval.degrees is None
    assert interval.note == "one run: no interval"


@pytest.mark.parametrize("design", [cells(2, 3), cells(3, 1)])
def test_constant_values_have_a_point(design):
    interval = mean_interval([0.25] * len(design[0]), *design)
    assert interval.low == interval.mean == interval.high == 0.25


def test_the_order_of_the_values_does_not_matter():
    rng = np.random.default_rng(1)
    values = rng.random(12)
    orders, seeds = cells(4, 3)
    shuffle = rng.permutation(12)
    expected = mean_interval(values, orders, seeds)
    shuffled = mean_interval(
        values[shuffle], [orders[k] for k in shuffle], [seeds[k] for k in shuffle]
    )
    assert shuffled.low == pytest.approx(expected.low)
    assert shuffled.degrees == pytest.approx(expected.degrees)


@pytest.mark.parametrize(
    ("values", "orders"), [([], []), ([0.5, np.nan], ["a", "b"]), ([0.5], ["a", "b"])]
)
def test_what_has_no_mean_is_refused(values, orders):
    with pytest.raises(ValueError, match="must be"):
        mean_interval(values, orders, list(range(len(orders))))


@pytest.mark.parametrize(
    "spreads", [(1.0, 1.0, 1.0), (1.0, 0.0, 0.1), (0.3, 1.0, 0.3), (0.0, 0.0, 1.0)]
)
def test_nominal_intervals_cover(spreads):
    """400 designs of 3 x 3 to 5 x 5 with true mean 0; the standard error of coverage is 1.1 %."""
    rng = np.random.default_rng(7)
    covered = narrow = 0
    for _ in range(400):
        i, j = rng.integers(3, 6, 2)
        order, seed, noise = (
            spread * rng.standard_normal(shape)
            for spread, shape in zip(spreads, ((i, 1), (1, j), (i, j)), strict=True)
        )
        values = (order + seed + noise).ravel()
        interval = mean_interval(values, *cells(i, j))
        covered += interval.low <= 0 <= interval.high
        plain = student.ppf(0.975, i * j - 1) * np.std(values, ddof=1) / (i * j) ** 0.5
        narrow += abs(values.mean()) <= plain
    assert covered / 400 >= 0.92
    if spreads[0] == 1.0:
        assert narrow / 400 < 0.85  # why the plain interval over all runs is not used
