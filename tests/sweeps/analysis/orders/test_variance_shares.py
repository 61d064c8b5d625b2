"""Variance over configuration, order and seed: by hand, and on simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sweeps.analysis.orders.variance_shares import factorial, variance_split
from sweeps.analysis.trials.replicates import Replicates
from sweeps.definition import ReplicateDesign
from sweeps.statistics.variance_components import components

GRIDS = st.tuples(*[st.integers(2, 4)] * 3).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(0, 1))
)


def configuration(label, grid, role="search", orders=None):
    metrics = {
        "a": {
            ((orders or "opqrst")[i], j): float(v)
            for i, row in enumerate(grid)
            for j, v in enumerate(row)
            if not np.isnan(v)
        }
    }
    return Replicates(label, label, role, "lorac_ipc", "last", "test", metrics, {})


def by_source(grid):
    return {part.source: part for part in factorial(np.asarray(grid, dtype=float))}


def test_two_factors_are_the_two_way_analysis():
    grid = np.random.default_rng(0).random((4, 3))
    expected = components(grid)
    found = by_source(grid[None])
    assert found["order"].variance == pytest.approx(expected.order)
    assert found["seed"].variance == pytest.approx(expected.seed)
    assert found["residual"].variance == pytest.approx(expected.residual)
    assert sorted(found) == ["order", "residual", "seed"]


def test_a_worked_three_way_split():
    """y = c + i with c in {0, 2} and i in {0, 4}: nothing else varies, whatever the seed."""
    grid = np.broadcast_to(np.add.outer([0.0, 2.0], [0.0, 4.0])[:, :, None], (2, 2, 2))
    found = by_source(grid)
    assert found["configuration"].variance == pytest.approx(2.0)  # var(0, 2)
    assert found["order"].variance == pytest.approx(8.0)  # var(0, 4)
    assert found["order"].share == pytest.approx(0.8)
    assert sum(found[name].variance for name in found) == pytest.approx(10.0)
    assert len(found) == 7


@settings(deadline=None, max_examples=20)
@given(GRIDS)
def test_shares_sum_to_one_and_bounds_hold_in_order(grid):
    parts = factorial(grid)
    if parts[0].share is not None:
        assert sum(part.share for part in parts) == pytest.approx(1.0)
    for part in parts:
        assert 0 <= part.low <= part.high


def test_a_constant_grid_has_no_shares():
    assert all(part.share is None for part in factorial(np.full((2, 3, 2), 0.1)))


def test_incomplete_configurations_are_named_and_left_out():
    rng = np.random.default_rng(0)
    holed = rng.random((3, 2))
    holed[1, 1] = np.nan
    joint = configuration("joint", rng.random((1, 2)), orders=["any"])
    reference = configuration("reference", rng.random((3, 2)), role="reference")
    whole = [configuration(name, rng.random((3, 2))) for name in "ab"]
    split = variance_split([*whole, configuration("c", holed), joint, reference], "a")
    assert split.left_out == ("c (5 of 6 runs)",)
    assert split.levels == {"configuration": 2, "order": 3, "seed": 2}
    assert split.reason is None


def test_where_no_two_are_complete_all_runs_are_used_without_intervals():
    rng = np.random.default_rng(0)
    found = []
    for c in range(4):
        grid = 0.5 * c + rng.normal(0, 0.1, (4, 3)) + np.arange(4.0)[:, None]
        grid[c, 0] = np.nan
        found.append(configuration("abcd"[c], grid))
    split = variance_split(found, "a")
    shares = {part.source: part.share for part in split.components}
    assert (
        "restricted maximum likelihood over 44 runs; incomplete: a (11 of 12 runs)" in split.note
    )
    assert max(shares, key=shares.get) == "order"
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(part.low is None and part.share_low is None for part in split.components)


def test_one_factor_says_so():
    split = variance_split([configuration("a", [[0.1, 0.2]])], "a")
    assert split.components == ()
    assert split.reason == (
        "at least two factors must vary, got 1 configuration, 1 order, 2 seeds"
    )
    assert "0 configurations" in variance_split([], "a").reason


TRUTH = {
    "configuration": 0.5,
    "order": 1.0,
    "seed": 0.2,
    "configuration:order": 0.3,
    "configuration:seed": 0.1,
    "order:seed": 0.2,
    "residual": 0.4,
}


def simulated(rng, c=6, i=6, j=5):
    """A grid whose components are those of `TRUTH`."""
    shapes = {
        "configuration": (c, 1, 1),
        "order": (1, i, 1),
        "seed": (1, 1, j),
        "configuration:order": (c, i, 1),
        "configuration:seed": (c, 1, j),
        "order:seed": (1, i, j),
        "residual": (c, i, j),
    }
    return sum(TRUTH[name] ** 0.5 * rng.standard_normal(shape) for name, shape in shapes.items())


def recovered(draws):
    """Share of draws in which each interval holds its true variance."""
    rng = np.random.default_rng(3)
    held = dict.fromkeys(TRUTH, 0)
    for _ in range(draws):
        for part in factorial(simulated(rng)):
            held[part.source] += part.low <= TRUTH[part.source] <= part.high
    return {name: count / draws for name, count in held.items()}


def test_variances_are_recovered_within_their_intervals():
    """100 draws: the standard error of a coverage of 95 % is 2.2 %."""
    assert min(recovered(100).values()) >= 0.88


@pytest.mark.slow
def test_variance_intervals_cover_at_least_93_percent():
    assert min(recovered(1500).values()) >= 0.93


def spread_runs(label, pairs, orders, seeds, offset, noise):
    values = {
        (f"o{i}", j): float(offset + orders[i] + seeds[j] + error)
        for (i, j), error in zip(pairs, noise, strict=True)
    }
    return Replicates(label, label, "search", "lorac_ipc", "last", "validation", {"a": values}, {})


def spread_sweep(orders, seeds, runs=9):
    """Six configurations with the pairs of a spread design; orders and seeds have effects."""
    rng = np.random.default_rng([orders, seeds])
    pairs = ReplicateDesign(kind="spread", runs=runs).pairs(range(orders), range(seeds))
    of_order, of_seed = rng.standard_normal(orders), rng.standard_normal(seeds)
    return [
        spread_runs(f"c{c}", pairs, of_order, of_seed, 3.0 * c, 0.1 * rng.standard_normal(runs))
        for c in range(6)
    ]


def test_different_orders_and_seeds_have_one_component_together():
    found = variance_split(spread_sweep(9, 9), "a")
    assert [part.source for part in found.components] == [
        "configuration",
        "order + seed",
        "residual",
    ]
    assert all(part.low is None for part in found.components)
    assert "order cannot be separated from seed and order x seed" in found.note
    assert "9 of each configuration" in found.note
    both = found.components[1]
    assert both.variance > 0.3  # two effects with a variance of 1 each
    assert found.components[2].variance == pytest.approx(0.01, rel=0.7)


def test_a_seed_for_each_run_is_separated_from_orders_over_configurations():
    found = variance_split(spread_sweep(3, 9), "a")
    sources = [part.source for part in found.components]
    assert sources == ["configuration", "order", "seed", "configuration:order", "residual"]
    assert "seed cannot be separated from order x seed" in found.note
    assert "the residual includes configuration x seed" in found.note


def test_one_configuration_with_different_orders_and_seeds_has_no_components():
    found = variance_split(spread_sweep(9, 9)[:1], "a")
    assert found.components == ()
    assert "do not separate" in found.reason
