"""Mean ranks by hand, and groups that differ no more than the noise."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sweeps.analysis.orders.mean_ranks import largest_groups, mean_ranks
from tests.sweeps.analysis.orders.test_variance_shares import configuration


def grids(offsets, noise=0.01, shape=(4, 4)):
    rng = np.random.default_rng(0)
    shared = rng.standard_normal(shape)
    return [
        configuration(f"c{k}", offset + shared + noise * rng.standard_normal(shape))
        for k, offset in enumerate(offsets)
    ]


def test_ranks_are_means_over_orders_and_ties_share_one():
    configurations = [
        configuration("a", np.array([[3.0], [1.0]])),
        configuration("b", np.array([[2.0], [2.0]])),
        configuration("c", np.array([[2.0], [0.0]])),
    ]
    found = mean_ranks(configurations, "a", "max", most=10)
    assert dict(zip(found.labels, found.ranks, strict=True)) == {"a": 1.5, "b": 1.75, "c": 2.75}
    reverse = mean_ranks(configurations, "a", "min", most=10)
    assert reverse.labels[0] == "c"
    assert mean_ranks(configurations, "a", "max", most=2).labels == ("a", "b")
    assert mean_ranks(configurations[:1], "a", "max", most=10) is None


def test_groups_hold_what_the_noise_does_not_separate():
    found = mean_ranks(grids([0.0, 0.001, 1.0, 1.001]), "a", "max", most=10)
    assert [set(found.labels[a : b + 1]) for a, b in found.groups] == [{"c2", "c3"}, {"c0", "c1"}]
    assert (found.orders, found.compared) == (4, 4)
    apart = mean_ranks(grids([0.0, 1.0, 2.0]), "a", "max", most=10)
    assert apart.groups == ()
    assert apart.labels == ("c2", "c1", "c0")


def test_noise_alone_makes_one_group_in_most_sweeps():
    """Holm at 5 %: a pair of equal configurations is distinguished in at most 1 of 20 sweeps."""
    rng = np.random.default_rng(1)
    whole = 0
    for _ in range(100):
        equal = [configuration(f"c{k}", rng.standard_normal((4, 4))) for k in range(4)]
        whole += mean_ranks(equal, "a", "max", most=10).groups == ((0, 3),)
    assert whole >= 90


def test_configurations_without_an_interval_share_a_group():
    one_seed_missing = [
        configuration(f"c{k}", np.array([[float(k), k + 0.1], [float(k), np.nan]]))
        for k in range(3)
    ]
    assert mean_ranks(one_seed_missing, "a", "max", most=10).groups == ((0, 2),)


@given(st.integers(1, 7), st.data())
def test_groups_are_the_largest_without_a_different_pair(count, data):
    pairs = [(a, b) for b in range(count) for a in range(b)]
    different = set(data.draw(st.lists(st.sampled_from(pairs)))) if pairs else set()
    free = [
        (a, b)
        for a, b in pairs
        if not any((x, y) in different for x, y in pairs if a <= x and y <= b)
    ]
    expected = [
        (a, b) for a, b in free if not any(c <= a and b <= d and (a, b) != (c, d) for c, d in free)
    ]
    assert list(largest_groups(count, different)) == sorted(expected)
