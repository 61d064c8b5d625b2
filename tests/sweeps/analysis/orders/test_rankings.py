"""Rankings over task orders: Kendall's W against scipy, flips and extremes by hand."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import friedmanchisquare
from statsmodels.stats.proportion import proportion_confint

from sweeps.analysis.orders.rankings import (
    by_order,
    extreme_orders,
    pairwise_comparisons,
    rank_agreement,
)
from sweeps.analysis.trials.replicates import Replicates

MEANS = st.tuples(st.integers(3, 6), st.integers(2, 6)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 5).map(lambda v: v / 10))
)


def configuration(label, grid, role="search", orders=None):
    metrics: dict[str, dict[tuple[str, Hashable], float]] = {
        "a": {
            ((orders or "opqrst")[i], j): float(v)
            for i, row in enumerate(grid)
            for j, v in enumerate(row)
        }
    }
    return Replicates(label, label, role, "lorac_ipc", "last", "test", metrics, {})


@settings(deadline=None, max_examples=60)
@given(MEANS)
def test_kendalls_w_is_friedmans_statistic_of_scipy(means):
    found = rank_agreement(means)
    if found is None:
        assert (means == means[0]).all()
        return
    c, i = means.shape
    expected = friedmanchisquare(*means)  # C groups measured on I blocks
    assert found.w * i * (c - 1) == pytest.approx(expected.statistic)
    assert 0.0 < found.p_value <= 1.0
    assert -1e-9 <= found.w <= 1 + 1e-9


def test_complete_agreement_is_one_and_one_order_has_none():
    assert rank_agreement(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).w == pytest.approx(1.0)
    assert rank_agreement(np.array([[1.0], [2.0]])) is None
    assert rank_agreement(np.empty((0, 3))) is None


def test_a_worked_duel():
    means = np.array([[0.5, 0.6, 0.7, 0.5], [0.4, 0.7, 0.6, 0.5]])
    (pair,) = pairwise_comparisons(["one", "two"], means, "max")
    assert (pair.first, pair.wins, pair.ties, pair.flips) == ("one", 2, 1, 1)
    assert pair.probability == pytest.approx(2.5 / 4)
    (turned,) = pairwise_comparisons(["one", "two"], means, "min")
    assert turned.first == "two"


@pytest.mark.parametrize(("wins", "n"), [(0, 5), (7, 10), (10, 10)])
def test_the_interval_is_wilsons(wins, n):
    means = np.array([[1.0] * wins + [-1.0] * (n - wins), [0.0] * n])
    (pair,) = pairwise_comparisons(["one", "two"], means, "max")
    low, high = proportion_confint(round(pair.probability * n), n, method="wilson")
    assert (pair.low, pair.high) == (pytest.approx(low), pytest.approx(high))


def test_the_most_contested_pair_comes_first():
    means = np.array([[0.9, 0.9], [0.5, 0.4], [0.45, 0.5]])
    found = pairwise_comparisons(list("abc"), means, "max")
    assert {found[0].first, found[0].second} == {"b", "c"}


def test_only_orders_that_all_ran_are_ranked():
    one, two = configuration("one", [[0.1, 0.3], [0.5, 0.5]]), configuration("two", [[0.4, 0.4]])
    joint = configuration("joint", [[0.9]], orders=["any"])
    kept, means = by_order([one, two, joint], "a")
    assert [k.label for k in kept] == ["one", "two"]
    assert means == pytest.approx(np.array([[0.2], [0.4]]))


def test_best_and_worst_orders_follow_the_direction():
    one = configuration("one", [[0.1, 0.3], [0.5, 0.5], [0.4, 0.3]])
    (high,) = extreme_orders([one, configuration("single", [[0.5]])], "a", "max")
    assert (high.best_order, high.best, high.worst_order) == ("p", 0.5, "o")
    (low,) = extreme_orders([one], "a", "min")
    assert (low.best_order, low.worst_order, low.worst) == ("o", "p", 0.5)
