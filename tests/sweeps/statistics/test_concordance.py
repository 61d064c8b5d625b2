"""Kendall's W and the size of its permutation test."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from sweeps.statistics.concordance import concordance


def test_w_is_that_of_friedman():
    scores = np.random.default_rng(0).random((5, 7))
    statistic = friedmanchisquare(*scores.T).statistic
    assert concordance(scores).w == pytest.approx(statistic / (5 * 6))


def test_exact_p_value_of_two_rankings():
    """Equal rankings of four items: one of the 24 permutations is as concordant."""
    found = concordance([[1, 2, 3, 4], [1, 2, 3, 4]])
    assert found == (1.0, 1 / 24, True)


def test_exact_p_values_are_those_of_an_enumeration():
    scores = np.random.default_rng(1).random((3, 4))
    ranks = scores.argsort(axis=1).argsort(axis=1)
    spreads = np.array(
        [
            np.var(ranks[0] + np.array(a) + np.array(b))
            for a in permutations(range(4))
            for b in permutations(range(4))
        ]
    )
    expected = (spreads >= np.var(ranks.sum(axis=0)) - 1e-12).mean()
    assert concordance(scores).p_value == pytest.approx(expected)


@pytest.mark.parametrize(("rankings", "items"), [(2, 5), (3, 6), (3, 12), (5, 8)])
def test_size_is_that_of_the_level(rankings, items):
    rng = np.random.default_rng(2)
    p_values = np.array([concordance(rng.random((rankings, items))).p_value for _ in range(150)])
    assert 0.005 <= (p_values <= 0.05).mean() <= 0.11
    assert p_values.mean() == pytest.approx(0.5, abs=0.09)


def test_random_permutations_repeat():
    scores = np.random.default_rng(3).random((4, 9))
    assert concordance(scores) == concordance(scores)
    assert not concordance(scores).exact


@pytest.mark.parametrize("scores", [np.ones((3, 1)), np.ones((1, 4)), np.ones((3, 4))])
def test_no_ranking_no_result(scores):
    assert concordance(scores) is None
