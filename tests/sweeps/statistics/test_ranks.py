"""Ranks with ties: those of scipy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.stats import rankdata

from sweeps.statistics.ranks import average_ranks


@given(arrays(np.float64, array_shapes(max_dims=3), elements=st.integers(-3, 3).map(float)))
def test_they_are_those_of_scipy(values) -> None:
    assert np.array_equal(average_ranks(values), rankdata(values, axis=-1))


def test_no_values_have_no_ranks() -> None:
    assert average_ranks(np.empty((2, 0))).shape == (2, 0)
