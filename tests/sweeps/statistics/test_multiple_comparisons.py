"""Adjusted p values: those of SciPy and statsmodels, and error rates that hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

from sweeps.statistics.multiple_comparisons import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_holm_is_that_of_statsmodels(size):
    """With few lists: statsmodels collects garbage at every call."""
    p_values = np.random.default_rng(size).random(size).round(1)  # with ties, 0 and 1
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@given(P_VALUES)
def test_benjamini_hochberg_is_that_of_scipy(p_values):
    assert benjamini_hochberg(p_values) == pytest.approx(false_discovery_control(p_values))


@given(P_VALUES)
def test_adjusted_values_keep_the_sequence_and_grow(p_values):
    ranks = np.argsort(p_values, kind="stable")
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust(p_values)
        assert (np.diff(adjusted[ranks]) >= -1e-12).all()
        assert (adjusted >= np.array(p_values) - 1e-12).all()


def test_missing_tests_do_not_count():
    assert holm([0.01, np.nan, 0.04]).tolist() == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)
    assert np.isnan(holm([np.nan])).all()


def test_eighteen_null_effects_are_rarely_reported():
    rng = np.random.default_rng(0)
    p_values = rng.random((2000, 18))
    assert (p_values.min(axis=1) < 0.05).mean() > 0.5
    assert np.mean([holm(row).min() < 0.05 for row in p_values]) <= 0.065


@pytest.mark.parametrize("bad", [[-0.1], [1.5]])
def test_values_that_are_no_probability_are_refused(bad):
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        holm(bad)
