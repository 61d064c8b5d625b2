"""Intervals of spread designs: pairs of order and seed that do not form a grid."""

from __future__ import annotations

import numpy as np
import pytest

from sweeps.definition import ReplicateDesign
from sweeps.statistics.configuration_means import configuration_means
from sweeps.statistics.intervals import mean_interval
from sweeps.statistics.prediction_intervals import prediction_interval

DRAWS = 400
SPREADS = {
    "all alike": (1.0, 1.0, 1.0),
    "order": (1.0, 0.1, 0.3),
    "seed": (0.1, 1.0, 0.3),
    "order and seed": (1.0, 1.0, 0.1),
    "noise": (0.0, 0.0, 1.0),
}


def pairs(orders: int, seeds: int, runs: int = 9) -> list[tuple[int, int]]:
    return list(ReplicateDesign(kind="spread", runs=runs).pairs(range(orders), range(seeds)))


def drawn(rng: np.random.Generator, cells: list[tuple[int, int]], spread) -> np.ndarray:
    """Values of one configuration with a true mean of 0."""
    orders, seeds = (np.array(level) for level in zip(*cells, strict=True))
    return (
        spread[0] * rng.standard_normal(orders.max() + 1)[orders]
        + spread[1] * rng.standard_normal(seeds.max() + 1)[seeds]
        + spread[2] * rng.standard_normal(len(cells))
    )


@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.parametrize("levels", [(9, 9), (5, 9), (9, 4), (3, 9), (4, 4), (3, 5)])
def test_intervals_of_nine_runs_contain_the_truth_as_often_as_they_say(levels, name):
    rng = np.random.default_rng([*levels, *map(ord, name)])
    cells, spread = pairs(*levels), SPREADS[name]
    orders, seeds = zip(*cells, strict=True)
    of_mean = of_run = 0
    for _ in range(DRAWS):
        values = drawn(rng, cells, spread)
        mean = mean_interval(values, orders, seeds)
        run = prediction_interval(values, orders, seeds)
        of_mean += mean.low <= 0.0 <= mean.high
        of_run += run.low <= drawn(rng, [(0, 0)], spread)[0] <= run.high
    # the standard error at 95 % is 1.1 points
    assert of_mean / DRAWS >= 0.92
    assert of_run / DRAWS >= 0.92


@pytest.mark.parametrize("levels", [(9, 9), (3, 9), (4, 4)])
def test_bounds_of_configurations_hold_for_nine_runs(levels):
    rng = np.random.default_rng([1, *levels])
    cells, held, count = pairs(*levels), 0, 10
    for _ in range(DRAWS // 4):
        rows = np.stack([drawn(rng, cells, (1.0, 0.2, 0.3)) for _ in range(count)])
        result = configuration_means(rows, cells)
        half, error = result.comparison(0, 1, 0.95)[1], result.comparison(0, 1, 0.95)[0]
        held += abs(error) <= half
    assert held / (DRAWS // 4) >= 0.89  # the standard error is 2.2 points


def test_a_seed_for_each_run_is_named_and_counts_orders():
    cells = pairs(3, 9)
    orders, seeds = zip(*cells, strict=True)
    found = mean_interval(
        [0.1 * order + 0.01 * (seed % 2) for order, seed in cells], orders, seeds
    )
    assert found.design == "nested"
    assert not found.approximate
    assert found.degrees == 2
    assert found.note == "9 runs in 3 orders x 9 seeds, each with a different seed"


def test_nine_different_orders_and_seeds_have_the_t_interval_of_nine_values():
    cells = pairs(9, 9)
    found = mean_interval(np.arange(9.0), *zip(*cells, strict=True))
    assert found.degrees == 8
    assert found.high - found.mean == pytest.approx(2.306 * 2.7386 / 3, abs=1e-3)


def test_pairs_that_do_not_identify_the_components_have_no_interval():
    cells = pairs(5, 5)  # each order and each seed once or twice: nothing left for the residual
    orders, seeds = zip(*cells, strict=True)
    values = np.arange(9.0)
    for found in (
        mean_interval(values, orders, seeds),
        prediction_interval(values, orders, seeds),
        prediction_interval(values, orders, seeds, order=0),
    ):
        assert (found.low, found.high) == (None, None)
        assert "too few for an interval" in found.note
    assert configuration_means(values[None], cells) is None
