"""Front membership probabilities: calibrated, paired, and only from common runs."""

from __future__ import annotations

import numpy as np
import pytest

from sweeps.analysis.front.dominance import front
from sweeps.analysis.front.membership_probability import front_probability
from sweeps.analysis.trials.replicates import Replicates

OBJECTIVES = {"average_accuracy": "max", "forgetting": "min"}


def configuration(name, accuracy, forgetting, role="search"):
    """Configuration from grids (orders, seeds) of two metrics; NaN is a run that is missing."""
    metrics = {
        metric: {
            (f"order{i}", j): float(value)
            for (i, j), value in np.ndenumerate(np.asarray(grid, dtype=float))
            if np.isfinite(value)
        }
        for metric, grid in (("average_accuracy", accuracy), ("forgetting", forgetting))
    }
    return Replicates(name, name, role, "lora", "last", "validation", metrics, {})


def noisy(rng, name, accuracy, shape=(3, 3), size=0.02, forgetting=0.1, **rest):
    grid = accuracy + size * rng.standard_normal(shape)
    return configuration(name, grid, np.full(shape, forgetting), **rest)


def test_effects_that_all_runs_share_do_not_hide_a_clear_winner():
    rng = np.random.default_rng(0)
    shared = 0.2 * rng.standard_normal((4, 3))
    found = [
        configuration(name, level + shared + 0.01 * rng.standard_normal((4, 3)), np.ones((4, 3)))
        for name, level in (("best", 0.8), ("worse", 0.7), ("worst", 0.6))
    ]
    share = front_probability(found, OBJECTIVES)
    assert share[0] > 0.97
    assert share[1] < 0.03


def test_references_have_no_probability_and_dominate_nothing():
    rng = np.random.default_rng(1)
    found = [noisy(rng, "a", 0.5), noisy(rng, "joint", 0.99, role="reference")]
    share = front_probability(found, OBJECTIVES)
    assert share[0] == 1.0
    assert np.isnan(share[1])


def test_two_that_differ_by_noise_alone_share_the_front():
    rng = np.random.default_rng(2)
    shares = [
        front_probability([noisy(rng, n, 0.5, (4, 3)) for n in "ab"], OBJECTIVES, draws=200)[0]
        for _ in range(60)
    ]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.12)


def test_draws_repeat():
    rng = np.random.default_rng(9)
    found = [noisy(rng, name, 0.5) for name in "ab"]
    share = front_probability(found, OBJECTIVES)
    assert front_probability(found, OBJECTIVES).tolist() == share.tolist()
    assert front_probability(found, OBJECTIVES, seed=1).tolist() != share.tolist()


def test_equal_configurations_are_tied_in_every_draw():
    rng = np.random.default_rng(3)
    one, worse = rng.random((3, 3)), rng.random((3, 3)) - 5.0
    found = [configuration(name, one, np.ones((3, 3))) for name in "ab"]
    share = front_probability([*found, configuration("c", worse, np.ones((3, 3)))], OBJECTIVES)
    assert share[0] == share[1] > 0.95


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (2, 5), (5, 2), (1, 6)])
def test_fewer_than_three_orders_or_seeds_have_no_probability(shape):
    rng = np.random.default_rng(4)
    found = [noisy(rng, name, 0.5, shape) for name in "ab"]
    assert np.isnan(front_probability(found, OBJECTIVES)).all()


def test_all_orders_need_seeds_alone():
    rng = np.random.default_rng(5)
    found = [noisy(rng, name, level, (2, 4)) for name, level in (("a", 0.9), ("b", 0.2))]
    share = front_probability(found, OBJECTIVES, fixed_orders=True)
    assert share[0] > 0.95 > 0.05 > share[1]


def test_only_runs_in_common_count():
    """The better one has worse orders in addition; means over all runs would rank it second."""
    rng = np.random.default_rng(6)
    shape = (6, 3)
    good = 0.8 + 0.01 * rng.standard_normal(shape)
    good[3:] -= 0.5
    bad = 0.7 + 0.01 * rng.standard_normal(shape)
    bad[3:] = np.nan
    found = [configuration(n, grid, np.ones(shape)) for n, grid in (("good", good), ("bad", bad))]
    share = front_probability(found, OBJECTIVES)
    assert share[0] > 0.95 > 0.05 > share[1]


def test_configurations_that_a_race_ended_early_are_left_out():
    rng = np.random.default_rng(7)
    found = [noisy(rng, name, 0.5, (4, 4)) for name in "ab"]
    ended = np.full((4, 4), np.nan)
    ended[:2, :2] = 0.9
    share = front_probability([*found, configuration("ended", ended, ended)], OBJECTIVES)
    assert np.isnan(share[2])
    assert np.isfinite(share[:2]).all()


def test_no_configuration_no_probability():
    assert front_probability([], OBJECTIVES).tolist() == []


@pytest.mark.parametrize("shape", [(3, 3), (5, 3)], ids=str)
@pytest.mark.parametrize("unequal", [0.0, 0.7])
def test_probabilities_are_calibrated(shape, unequal):
    """12 configurations, two correlated objectives: what is said with p holds about as often."""
    rng = np.random.default_rng([8, *shape])
    said, true = [], []
    for _ in range(60):
        truth = 0.6 * rng.standard_normal((12, 1)) + 0.5 * rng.standard_normal((12, 2))
        scale = np.exp(unequal * rng.standard_normal((12, 1, 1)) - unequal**2 / 2)
        shared = rng.standard_normal((2, shape[0], 1))
        first, second = rng.standard_normal((2, 12, *shape))
        noise = scale * first, scale * (0.5 * first + 0.75**0.5 * second)
        found = [
            configuration(str(c), *(truth[c, m] + noise[m][c] + shared[m] for m in (0, 1)))
            for c in range(12)
        ]
        said.append(front_probability(found, OBJECTIVES, draws=200))
        true.append(front(truth, ["max", "min"]))
    p, on = np.concatenate(said), np.concatenate(true)
    assert p.mean() == pytest.approx(on.mean(), abs=0.05)
    for low, high in ((0.0, 0.15), (0.15, 0.5), (0.5, 0.85), (0.85, 1.01)):
        inside = (p >= low) & (p < high)
        assert on[inside].mean() == pytest.approx(p[inside].mean(), abs=0.13), (low, high)
