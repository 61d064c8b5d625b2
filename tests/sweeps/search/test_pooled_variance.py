"""Pooled spreads: the paired interval for two, the textbook formulas for more, outliers aside."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from sweeps.definition import replicate_sequence
from sweeps.search.pooled_variance import pooled_variance, separate_variances
from sweeps.statistics.intervals import mean_interval
from sweeps.statistics.variance_components import components, unbalanced


def cells(orders, seeds, count=None):
    return replicate_sequence([f"o{i}" for i in range(orders)], range(seeds))[:count]


def test_for_two_configurations_it_is_the_interval_of_their_differences():
    """Along the diagonal, where no two cells share anything: mean ± t s / sqrt(n)."""
    values, diagonal = np.random.default_rng(0).random((2, 5)), cells(5, 5, 5)
    found = pooled_variance(values, diagonal)
    interval = mean_interval(values[0] - values[1], *zip(*diagonal, strict=True))
    half = student.ppf(0.975, found.degrees) * found.variance**0.5
    assert interval.high - interval.mean == pytest.approx(half)
    assert found.degrees == interval.degrees == 4


def test_a_complete_table_pools_the_mean_squares_of_every_pair():
    """The mean over all pairs of a mean square of their differences is twice the pooled one."""
    rng, (i, j) = np.random.default_rng(1), (4, 3)
    noise = rng.standard_normal((5, i, 1)) + rng.standard_normal((5, 1, j))
    grids = noise + 0.3 * rng.standard_normal((5, i, j))
    sequence = cells(i, j)
    values = np.array([[grid[int(o[1:]), s] for o, s in sequence] for grid in grids])
    pairs = [components(grids[a] - grids[b]) for a in range(5) for b in range(a)]
    order, seed, residual = (
        np.mean([getattr(pair, f"mean_square_{name}") for pair in pairs])
        for name in ("order", "seed", "residual")
    )
    found = pooled_variance(values, sequence)
    assert found.variance == pytest.approx((order + seed - residual) / (i * j))
    assert found.degrees == (5 - 1) * (3 - 1)


def test_an_incomplete_table_of_two_has_the_components_of_henderson():
    rng, sequence = np.random.default_rng(2), cells(4, 4, 10)
    values = rng.random((2, 10)) + rng.random((2, 4))[:, [int(o[1:]) for o, _ in sequence]] * 4
    orders, seeds = zip(*sequence, strict=True)
    parts = unbalanced(values[0] - values[1], orders, seeds)
    expected = (
        parts.order * parts.order_in_mean + parts.seed * parts.seed_in_mean + parts.residual / 10
    )
    assert pooled_variance(values, sequence).variance == pytest.approx(expected)


def test_rows_by_themselves_are_the_pairs_that_make_them():
    rng = np.random.default_rng(6)
    for sequence in (cells(5, 5, 5), cells(4, 4, 10), cells(4, 3)):
        values = rng.random((4, len(sequence)))
        found, degrees = separate_variances(values[::2] - values[1::2], sequence)
        pairs = [pooled_variance(values[k : k + 2], sequence) for k in (0, 2)]
        assert found.tolist() == pytest.approx([pair.variance for pair in pairs])
        assert degrees == pairs[0].degrees
    assert separate_variances(np.full((1, 5), 0.3), cells(5, 5, 5))[0].tolist() == [0.0]


def test_what_all_configurations_share_does_not_matter():
    values, shared = np.random.default_rng(3).random((4, 6)), np.arange(6.0) ** 3
    sequence = cells(6, 6, 6)
    found = pooled_variance(values + shared, sequence)
    assert found.variance == pytest.approx(pooled_variance(values, sequence).variance)


def test_one_that_scatters_more_is_set_aside():
    values = np.random.default_rng(4).standard_normal((8, 6))
    values[3] *= 30
    found = pooled_variance(values, cells(6, 6, 6))
    assert found.alike.tolist() == [True] * 3 + [False] + [True] * 4
    assert found.degrees == 6 * 5
    assert found.variance == pytest.approx(2 / 6, rel=0.5)


def test_nothing_is_known_of_one_configuration_or_of_values_that_do_not_vary():
    assert pooled_variance(np.random.default_rng(5).random((1, 4)), cells(4, 4, 4)) is None
    equal = np.add.outer([0.1, 0.7, 0.9], np.linspace(0, 1, 4))
    assert pooled_variance(equal, cells(4, 4, 4)) is None
