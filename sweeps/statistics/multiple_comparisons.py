"""Adjustment of p values of many tests at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

LONG = 20
"""Maximum number of tests that `adjusted_p_values` adjusts by Holm's method."""


def adjusted_p_values(p_values: npt.ArrayLike) -> Values:
    """Return adjusted p values, shape (K,): by Holm for short lists, else by Benjamini-Hochberg.

    If the effects with adjusted values below 5 % are reported, the probability of at least one
    false report is at most 5 % for up to `LONG` tests. In longer lists, in which Holm finds
    little, 5 % of the reports are false on average.
    """
    known = int(np.isfinite(np.asarray(p_values, dtype=np.float64)).sum())
    return holm(p_values) if known <= LONG else benjamini_hochberg(p_values)


def holm(p_values: npt.ArrayLike) -> Values:
    """Return p values adjusted by Holm 1979, in the given sequence; shape (K,).

    If all effects with an adjusted value below a are reported, the probability of at least one
    false report is at most a, for any dependence of the tests. NaN stands for a test that could
    not be made: it stays NaN and does not count.
    """
    return _of_known(p_values, _holm)


def benjamini_hochberg(p_values: npt.ArrayLike) -> Values:
    """Return p values adjusted by Benjamini and Hochberg 1995, in the given sequence; shape (K,).

    If all effects with an adjusted value below a are reported, the expected share of false reports
    among them is at most a, for independent or positively dependent tests. It finds more than Holm
    in long lists. NaN is treated as by `holm`.
    """
    return _of_known(p_values, _benjamini_hochberg)


def _benjamini_hochberg(known: Values) -> Values:
    count, ranks = len(known), np.argsort(known, kind="stable")[::-1]  # the largest first
    stepwise = np.minimum.accumulate(known[ranks] * (count / np.arange(count, 0, -1)))
    adjusted = np.empty(count)
    adjusted[ranks] = np.minimum(stepwise, 1.0)
    return adjusted


def _holm(known: Values) -> Values:
    count, ranks = len(known), np.argsort(known, kind="stable")
    stepwise = np.maximum.accumulate(known[ranks] * (count - np.arange(count)))
    adjusted = np.empty(count)
    adjusted[ranks] = np.minimum(stepwise, 1.0)
    return adjusted


def _of_known(p_values: npt.ArrayLike, adjust: Callable[[Values], Values]) -> Values:
    values = np.asarray(p_values, dtype=np.float64)
    known = ~np.isnan(values)
    if ((values[known] < 0.0) | (values[known] > 1.0)).any():
        raise ValueError(f"p values must be in [0, 1], got {values.tolist()}")
    adjusted = np.full(values.shape, np.nan)
    if known.any():
        adjusted[known] = adjust(values[known])
    return adjusted
