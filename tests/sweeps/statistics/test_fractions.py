"""Intervals of means of fractions: ends in [0, 1] and coverage on both sides."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from sweeps.statistics.fractions import logits
from sweeps.statistics.intervals import mean_interval
from sweeps.statistics.prediction_intervals import prediction_interval


def cells(i, j):
    return tuple(map(list, zip(*product(range(i), range(j)), strict=True)))


@given(st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6), st.booleans())
def test_ends_are_between_0_and_1(values, prediction):
    interval = (prediction_interval if prediction else mean_interval)(
        values, *cells(2, 3), fractions=True
    )
    assert 0.0 <= interval.low <= interval.high <= 1.0
    if not prediction:
        assert interval.low - 1e-12 <= interval.mean <= interval.high + 1e-12


def test_small_variances_have_the_interval_of_the_raw_values():
    rng = np.random.default_rng(0)
    values = 0.7 + 0.001 * rng.standard_normal(12)
    raw, bounded = (mean_interval(values, *cells(4, 3), fractions=f) for f in (False, True))
    assert bounded.mean == raw.mean
    assert bounded.low == pytest.approx(raw.low, abs=2e-5)
    assert bounded.high == pytest.approx(raw.high, abs=2e-5)


def test_fractions_mirror():
    """The interval of 1 - p is the mirror image of that of p."""
    values = np.random.default_rng(1).random(9)
    interval = mean_interval(values, *cells(3, 3), fractions=True)
    mirrored = mean_interval(1 - values, *cells(3, 3), fractions=True)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((interval.low, interval.high))


def test_values_of_exactly_1_have_a_logit():
    found = logits(np.array([1.0, 0.9, 1.0, 0.98]))
    assert np.isfinite(found).all()
    assert expit(found[0]) == pytest.approx(0.99)
    interval = mean_interval([1.0, 1.0, 1.0, 1.0], *cells(2, 2), fractions=True)
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_values_that_are_no_fraction_are_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([0.5, 1.2], [0, 1], [0, 0], fractions=True)


@pytest.mark.parametrize("design", [(3, 3), (10, 3), (5, 5)], ids=str)
@pytest.mark.parametrize("sizes", [(0.5, 0.2, 0.2), (0.2, 0.8, 0.3)], ids=["order", "seed"])
def test_coverage_near_the_ceiling(design, sizes):
    """True mean accuracies of 0.95: raw intervals miss at the low end in up to 12 %."""
    i, j = design
    rng = np.random.default_rng([2, i, j])
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    truth = float((weights * expit(3.2 + np.hypot.reduce(sizes) * nodes)).sum() / weights.sum())
    draws, above, below = 600, 0, 0
    for _ in range(draws):
        values = expit(
            3.2
            + sizes[0] * rng.standard_normal((i, 1))
            + sizes[1] * rng.standard_normal((1, j))
            + sizes[2] * rng.standard_normal((i, j))
        )
        interval = mean_interval(values.ravel(), *cells(i, j), fractions=True)
        above += interval.low > truth
        below += interval.high < truth
    assert above / draws <= 0.085  # 0.055 at 10 x 3 with 20,000 draws; standard error 0.01
    assert below / draws <= 0.03
