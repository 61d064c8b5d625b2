"""Intervals: formulas worked by hand, every kind of design, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from sweeps.statistics.intervals import iqm_interval, mean_interval
from sweeps.statistics.prediction_intervals import prediction_interval
from sweeps.statistics.variance_components import components, unbalanced


def cells(i, j):
    """Orders and seeds of a complete I x J design, row by row."""
    return [o for o in range(i) for _ in range(j)], [s for _ in range(i) for s in range(j)]


def cochran(of_two, of_one, residual=0.0):
    """The quantiles of 2, 1 and 2 degrees of freedom, weighted with the terms of each."""
    terms = of_two, of_one, residual
    own = student.ppf(0.975, [2, 1, 2])
    return sum(term * t for term, t in zip(terms, own, strict=True)) / sum(terms)


def test_a_worked_crossed_design():
    """The grid of test_components: mean squares 8, 6, 2 on 2, 1, 2 degrees of freedom."""
    values = [2.0, 2.0, 2.0, 6.0, 5.0, 7.0]
    interval = mean_interval(values, *cells(3, 2))
    variance = (8 + 6 - 2) / 6
    quantile = cochran(8, 6)  # two seeds; the residual's term is below 0
    assert quantile > student.ppf(0.975, 2)
    half = quantile * variance**0.5
    assert interval.mean == pytest.approx(4.0)
    assert student.ppf(0.975, interval.degrees) == pytest.approx(quantile)
    assert interval.low == pytest.approx(4.0 - half)
    assert interval.high == pytest.approx(4.0 + half)
    assert (interval.design, interval.approximate, interval.n) == ("crossed", False, 6)
    assert interval.note == "3 orders x 2 seeds"


@pytest.mark.parametrize("design", [(2, 4), (4, 2)])
def test_two_levels_cover_where_their_factor_matters_most(design):
    """1,500 draws: the standard error is 0.6 %; Satterthwaite's formula alone covers 91.9 %."""
    rng = np.random.default_rng(5)
    spreads = (1.0, 0.1) if design[0] == 2 else (0.1, 1.0)
    held = 0
    for _ in range(1500):
        order, seed = (
            spread * rng.standard_normal(n) for spread, n in zip(spreads, design, strict=True)
        )
        grid = order[:, None] + seed[None, :] + 0.3 * rng.standard_normal(design)
        found = mean_interval(grid.ravel(), *cells(*design))
        held += found.low <= 0.0 <= found.high
    assert held / 1500 >= 0.925


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
    assert "different order and seed" in interval.note


@pytest.mark.parametrize(
    ("orders", "seeds"), [(["a", "a", "b"], [0, 1, 0]), (["a", "a", "a"], [0, 0, 1])]
)
def test_too_few_values_of_an_incomplete_design_have_no_interval(orders, seeds):
    """A 2 x 2 design without one run: an interval over all values would cover 75 to 95 %."""
    interval = mean_interval([0.5, 0.6, 0.8], orders, seeds)
    assert interval.design == "incomplete"
    assert interval.approximate
    assert interval.low is interval.high is interval.degrees is None
    assert "too few" in interval.note
    assert interval.mean == pytest.approx(1.9 / 3)


@pytest.mark.parametrize(
    ("orders", "seeds", "factor"), [("aaa", [0, 1, 2], "order"), ("abc", [0, 0, 0], "seed")]
)
def test_factor_that_did_not_vary_is_named(orders, seeds, factor):
    assert f"the {factor} did not vary" in mean_interval([0.5, 0.6, 0.8], orders, seeds).note


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


def test_henderson_is_the_balanced_analysis_where_no_cell_is_missing():
    grid = np.random.default_rng(0).random((4, 3)) + np.arange(4.0)[:, None]
    found, expected = unbalanced(grid.ravel(), *cells(4, 3)), components(grid)
    assert found.order == pytest.approx(expected.order)
    assert found.seed == pytest.approx(expected.seed)
    assert found.residual == pytest.approx(expected.residual)
    assert (found.order_in_mean, found.seed_in_mean) == pytest.approx((1 / 4, 1 / 3))


def test_henderson_recovers_additive_effects_exactly():
    """Without residual the additive fit leaves nothing, whatever is missing."""
    grid = np.add.outer([0.0, 2.0, 5.0], [0.0, 1.0, -1.0, 0.5]).ravel()
    orders, seeds = cells(3, 4)
    kept = [0, 1, 3, 4, 5, 6, 8, 10, 11]
    some = unbalanced(grid[kept], [orders[k] for k in kept], [seeds[k] for k in kept])
    assert some.residual == pytest.approx(0.0, abs=1e-12)
    assert some.order > some.seed > 0
    path = [(0, 0), (0, 1), (1, 1), (1, 2)]  # nothing is left for the residual
    assert unbalanced(grid[:4], *zip(*path, strict=True)) is None


def test_a_missing_cell_is_said_and_widens_the_interval():
    values = np.add.outer([0.0, 1.0, 3.0], [0.0, 0.2, 0.1]).ravel()
    orders, seeds = cells(3, 3)
    interval = mean_interval(values[:-1], orders[:-1], seeds[:-1])
    assert (interval.design, interval.approximate) == ("incomplete", True)
    assert interval.note == "3 orders x 3 seeds with 8 runs, not one per cell"
    plain = student.ppf(0.975, 7) * np.std(values[:-1], ddof=1) / 8**0.5
    assert interval.high - interval.mean > 1.5 * plain


def test_orders_that_are_all_there_are_add_nothing_to_the_interval():
    grid = np.array([[0.1, 0.2, 0.3], [0.9, 0.9, 0.9]])
    fixed = mean_interval(grid.ravel(), *cells(2, 3), fixed_orders=True)
    low, high = student.interval(0.95, 2, 0.55, np.std([0.5, 0.55, 0.6], ddof=1) / 3**0.5)
    assert (fixed.low, fixed.high) == (pytest.approx(low), pytest.approx(high))
    assert fixed.high - fixed.low < mean_interval(grid.ravel(), *cells(2, 3)).high / 2
    one_seed = mean_interval([0.1, 0.9], [0, 1], [0, 0], fixed_orders=True)
    assert one_seed.low is None
    assert "no interval" in one_seed.note


def test_a_worked_prediction_within_an_order():
    """(v_seed + v_residual)(1 + 1/J), unbiased by MS_seed / I + (1 - 1/I) MS_residual."""
    values = [2.0, 2.0, 2.0, 6.0, 5.0, 7.0]  # mean squares 8, 6, 2
    found = prediction_interval(values, *cells(3, 2), order=1)
    terms = np.array([6 / 3, 2 * (1 - 1 / 3)]) * 1.5
    half = cochran(0.0, *terms) * terms.sum() ** 0.5
    assert found.mean == pytest.approx(4.0)
    assert found.high == pytest.approx(4.0 + half)
    assert "this order" in found.note


def test_a_prediction_is_wider_than_the_interval_of_the_mean():
    values = np.random.default_rng(2).random(12)
    mean, new = mean_interval(values, *cells(4, 3)), prediction_interval(values, *cells(4, 3))
    assert new.mean == pytest.approx(mean.mean)
    assert new.high - new.low > 1.5 * (mean.high - mean.low)
    one_seed = prediction_interval([0.1, 0.2, 0.4], ["a", "b", "c"], [0, 0, 0])
    assert "the seed did not vary" in one_seed.note
    assert one_seed.high - one_seed.mean == pytest.approx(
        student.ppf(0.975, 2) * np.std([0.1, 0.2, 0.4], ddof=1) * (4 / 3) ** 0.5
    )
    assert prediction_interval([0.1, 0.2], ["a", "b"], [0, 0], order="a").low is None


def test_the_interquartile_mean_ignores_a_run_that_failed_badly():
    good = np.array([0.70, 0.71, 0.72, 0.73, 0.70, 0.72, 0.71, 0.73, 0.72])
    bad = np.append(good[:-1], 0.01)
    assert abs(iqm_interval(bad, *cells(3, 3)).mean - iqm_interval(good, *cells(3, 3)).mean) < 0.01
    assert mean_interval(bad, *cells(3, 3)).mean < 0.65
    assert iqm_interval([0.1, 0.2, 0.6], [0, 1, 2], [0, 0, 0]) == mean_interval(
        [0.1, 0.2, 0.6], [0, 1, 2], [0, 0, 0]
    )  # fewer than four values lose none


SPREADS = [(1.0, 1.0, 1.0), (1.0, 0.0, 0.1), (0.3, 1.0, 0.3), (0.0, 0.0, 1.0)]


def coverage(spreads, draws, seed=11):
    """Share of draws in which each kind of interval holds its truth, 3 x 3 to 5 x 5."""
    rng = np.random.default_rng(seed)
    held = dict.fromkeys(("incomplete", "new run", "same order", "iqm", "fixed orders"), 0)
    for _ in range(draws):
        i, j = rng.integers(3, 6, 2)
        order, seeds, noise = (
            spread * rng.standard_normal(shape)
            for spread, shape in zip(
                spreads, ((i + 1, 1), (1, j + 1), (i + 1, j + 1)), strict=True
            )
        )
        whole = order + seeds + noise
        values, where = whole[:i, :j].ravel(), cells(i, j)
        kept = np.sort(rng.permutation(i * j)[2:])
        some = [[where[axis][k] for k in kept] for axis in (0, 1)]
        for kind, interval, truth in (
            ("incomplete", mean_interval(values[kept], *some), 0.0),
            ("new run", prediction_interval(values, *where), whole[i, j]),
            ("same order", prediction_interval(values, *where, order=0), whole[0, j]),
            ("iqm", iqm_interval(values, *where), 0.0),
            ("fixed orders", mean_interval(values, *where, fixed_orders=True), order[:i].mean()),
        ):
            held[kind] += interval.low <= truth <= interval.high
    return {kind: count / draws for kind, count in held.items()}


@pytest.mark.parametrize("spreads", SPREADS)
def test_every_kind_of_interval_covers(spreads):
    """200 draws: the standard error of a coverage of 95 % is 1.5 %."""
    assert min(coverage(spreads, 200).values()) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("spreads", SPREADS)
def test_every_kind_of_interval_covers_at_least_93_percent(spreads):
    """4,000 draws: the standard error is 0.35 %."""
    assert min(coverage(spreads, 4000).values()) >= 0.93
