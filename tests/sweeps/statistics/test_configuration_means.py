"""Errors of configuration means, their bounds, and estimates that hold after a selection."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from sweeps.statistics.configuration_means import configuration_means, shrunken
from sweeps.statistics.intervals import mean_interval

CELLS = list(product(range(3), range(3)))


def simulated(rng, truth, sizes=(0.0, 0.0, 1.0), shared=(1.0, 0.5), unequal=0.0):
    """Values (C, 9) of a 3 x 3 design around `truth` (C,)."""
    order, seed, residual = sizes
    count = len(truth)
    scale = np.exp(unequal * rng.standard_normal((count, 1, 1)))
    own = (
        order * rng.standard_normal((count, 3, 1))
        + seed * rng.standard_normal((count, 1, 3))
        + residual * rng.standard_normal((count, 3, 3))
    )
    common = shared[0] * rng.standard_normal((1, 3, 1)) + shared[1] * rng.standard_normal(
        (1, 1, 3)
    )
    return (truth[:, None, None] + scale * own + common).reshape(count, 9)


def test_effects_that_all_configurations_share_do_not_enter_the_comparison():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(6)
    values = simulated(rng, truth, shared=(0.0, 0.0))
    shift = np.repeat([5.0, -3.0, 0.5], 3)
    plain, shifted = (configuration_means(v, CELLS) for v in (values, values + shift))
    assert shifted.variances == pytest.approx(plain.variances)
    assert shifted.shared_variance > 10 * plain.shared_variance


def test_two_configurations_have_the_interval_of_their_differences():
    """All of the difference is in what they do not share; the degrees of freedom agree too."""
    rng = np.random.default_rng(1)
    cells = [(k, k) for k in range(6)]
    values = rng.standard_normal((2, 6))
    found = configuration_means(values, cells)
    interval = mean_interval(values[0] - values[1], *zip(*cells, strict=True))
    difference, half = found.comparison(0, 1, 0.95)
    assert difference == pytest.approx(interval.mean)
    assert half == pytest.approx(interval.high - interval.mean)
    assert found.degrees.tolist() == [5.0, 5.0]


def test_bounds_rank_as_the_means_if_variances_agree():
    pattern = np.random.default_rng(2).standard_normal((3, 3))
    noise = np.array([np.roll(pattern, (i, j), (0, 1)).ravel() for i, j in CELLS])
    values = np.linspace(0, 1, 9)[:, None] + 0.1 * noise
    found = configuration_means(values, CELLS)
    assert np.ptp(found.variances) == pytest.approx(0.0)
    assert (np.argsort(found.bounds(1.0)) == np.argsort(found.means)).all()
    assert (found.bounds(1.0) < found.means).all()
    assert (found.bounds(-1.0) > found.means).all()


def test_lower_bound_prefers_the_configuration_that_varies_less():
    rng = np.random.default_rng(3)
    quiet = 0.02 * rng.standard_normal((9, 9))
    noisy = 1.0 * rng.standard_normal((3, 9)) + 0.05
    found = configuration_means(np.vstack([quiet, noisy]), CELLS)
    assert int(np.argmax(found.bounds(1.0))) < 9


def test_regret_of_the_bound_is_that_of_the_mean_and_lower_if_noise_differs():
    """Selections of 20 configurations whose true means spread by 0.6 residual deviations."""
    rng = np.random.default_rng(4)
    regret = {(unequal, rule): 0.0 for unequal in (0.0, 0.8) for rule in ("mean", "bound")}
    draws = 300
    for unequal in (0.0, 0.8):
        for _ in range(draws):
            truth = 0.6 * rng.standard_normal(20)
            found = configuration_means(simulated(rng, truth, unequal=unequal), CELLS)
            for rule, score in (("mean", found.means), ("bound", found.bounds(1.0))):
                regret[unequal, rule] += (truth.max() - truth[np.argmax(score)]) / draws
    assert regret[0.0, "bound"] < regret[0.0, "mean"] + 0.03
    assert regret[0.8, "bound"] < 0.8 * regret[0.8, "mean"]


@pytest.mark.parametrize(("count", "between"), [(5, 0.6), (30, 0.2), (30, 2.0), (200, 0.6)])
@pytest.mark.parametrize("sizes", [(0.0, 0.0, 1.0), (1.0, 0.2, 0.3)], ids=["residual", "order"])
def test_interval_of_the_selected_configuration_covers(count, between, sizes):
    rng = np.random.default_rng([5, count])
    draws, held, bias, raw_bias = 150, 0, 0.0, 0.0
    for _ in range(draws):
        truth = between * rng.standard_normal(count)
        found = configuration_means(simulated(rng, truth, sizes), CELLS)
        best = int(np.argmax(found.means))
        estimate = shrunken(found)
        held += estimate.low[best] <= truth[best] <= estimate.high[best]
        bias += (estimate.estimates[best] - truth[best]) / draws
        raw_bias += (found.means[best] - truth[best]) / draws
    assert held / draws >= 0.90  # nominal 0.95; 150 draws have a standard error of 0.018
    assert raw_bias - bias >= -0.02


def test_few_configurations_are_not_shrunken():
    rng = np.random.default_rng(6)
    found = configuration_means(simulated(rng, np.arange(3.0)), CELLS)
    assert shrunken(found).estimates == pytest.approx(found.means)


def test_constant_values_have_no_error():
    found = configuration_means(np.full((5, 9), 0.3) + np.arange(5)[:, None], CELLS)
    assert found.variances.tolist() == [0.0] * 5
    assert shrunken(found).low == pytest.approx(found.means)
    assert found.bounds(1.0) == pytest.approx(found.means)


def test_cells_that_identify_nothing_have_no_result():
    assert configuration_means(np.ones((2, 3)), [(0, 0), (0, 1), (1, 0)]) is None
    assert configuration_means(np.ones((2, 1)), [(0, 0)]) is None


@pytest.mark.parametrize("values", [np.ones((2, 3)), np.ones(9), np.full((2, 9), np.nan)])
def test_values_that_do_not_match_are_refused(values):
    with pytest.raises(ValueError, match="values must be"):
        configuration_means(values, CELLS)
