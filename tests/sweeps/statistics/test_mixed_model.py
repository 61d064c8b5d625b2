"""Restricted maximum likelihood against statsmodels and the analysis of variance."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from sweeps.statistics.mixed_model import restricted_likelihood
from sweeps.statistics.variance_components import components

statsmodels = pytest.importorskip("statsmodels.api")


def crossed_values(rng, i=6, j=5):
    grid = rng.normal(0, 1.0, (i, 1)) + rng.normal(0, 0.7, (1, j)) + rng.normal(0, 0.4, (i, j))
    orders = [o for o in range(i) for _ in range(j)]
    seeds = [s for _ in range(i) for s in range(j)]
    return grid, orders, seeds


def test_a_complete_design_is_the_analysis_of_variance():
    grid, orders, seeds = crossed_values(np.random.default_rng(0))
    expected = components(grid)
    found = restricted_likelihood(grid.ravel(), {"order": orders, "seed": seeds})
    assert found["order"] == pytest.approx(expected.order, rel=1e-3)
    assert found["seed"] == pytest.approx(expected.seed, rel=1e-3)
    assert found["residual"] == pytest.approx(expected.residual, rel=1e-3)


def test_an_incomplete_design_is_statsmodels_mixed_model():
    grid, orders, seeds = crossed_values(np.random.default_rng(1))
    kept = np.sort(np.random.default_rng(2).permutation(30)[:23])
    values = grid.ravel()[kept]
    order, seed = np.array(orders)[kept], np.array(seeds)[kept]
    found = restricted_likelihood(values, {"order": order.tolist(), "seed": seed.tolist()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = statsmodels.MixedLM(
            values,
            np.ones((23, 1)),
            groups=np.zeros(23),
            exog_vc={
                "order": {0.0: np.eye(6)[order]},
                "seed": {0.0: np.eye(5)[seed]},
            },
        )
        fit = model.fit(reml=True)
    expected = dict(zip(["order", "seed"], fit.vcomp, strict=True))
    assert found["order"] == pytest.approx(expected["order"], rel=0.02)
    assert found["seed"] == pytest.approx(expected["seed"], rel=0.02)
    assert found["residual"] == pytest.approx(fit.scale, rel=0.02)


def test_a_source_that_is_not_there_is_zero():
    rng = np.random.default_rng(3)
    values = np.repeat(rng.normal(0, 1, 8), 4) + np.tile([-0.1, 0.1, -0.1, 0.1], 8)
    orders, seeds = np.repeat(range(8), 4).tolist(), [0, 0, 1, 1] * 8
    found = restricted_likelihood(values, {"order": orders, "seed": seeds})
    assert found["seed"] == 0.0
    assert found["order"] > 10 * found["residual"]


def test_nothing_is_estimated_from_a_constant_or_from_two_values():
    assert restricted_likelihood(np.full(6, 0.3), {"order": [0, 0, 1, 1, 2, 2]}) is None
    assert restricted_likelihood(np.array([0.1, 0.2]), {"order": [0, 1]}) is None
