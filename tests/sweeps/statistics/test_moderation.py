"""Moderated variances: pooled where they agree, apart where they differ."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import polygamma

from sweeps.statistics.moderation import _inverse_trigamma, moderate


@pytest.mark.parametrize("x", [0.01, 0.3, 2.0, 50.0])
def test_inverse_of_the_trigamma_function(x):
    assert _inverse_trigamma(float(polygamma(1, x))) == pytest.approx(x)


def test_equal_true_variances_are_replaced_by_their_mean():
    variances = np.array([1.0, 1.1, 0.9, 1.05])
    found = moderate(variances, 8)
    assert found.degrees == 4 * 8
    assert moderate(variances, 8, 3).degrees == 3 * 8
    assert found.variances == pytest.approx(variances.mean())


def test_prior_is_recovered_from_many_configurations():
    """True variances from a scaled inverse chi-squared with 6 degrees of freedom around 2."""
    rng = np.random.default_rng(0)
    true = 2.0 * 6 / rng.chisquare(6, 20_000)
    found = moderate(true * rng.chisquare(4, true.size) / 4, 4)
    assert found.degrees - 4 == pytest.approx(6, rel=0.1)
    error = np.log(found.variances / true)
    raw = np.log(rng.chisquare(4, true.size) / 4)
    assert error.std() < 0.8 * raw.std()


def test_moderated_variances_keep_the_sequence_of_the_raw_ones():
    raw = np.array([0.01, 4.0, 0.3, 30.0])
    found = moderate(raw, 6)
    assert np.isfinite(found.degrees)
    assert (np.argsort(found.variances) == np.argsort(raw)).all()
    assert np.ptp(np.log(found.variances)) < np.ptp(np.log(raw))


def test_constant_and_single_configurations_are_unchanged():
    assert moderate([0.0, 0.0], 3).variances.tolist() == [0.0, 0.0]
    assert moderate([2.5], 3) == (np.array([2.5]), 3.0)


def test_one_constant_configuration_has_a_finite_result():
    found = moderate([0.0, 1.0, 2.0, 1.5], 3)
    assert np.isfinite(found.variances).all()
    assert (found.variances > 0).all()
