"""Paired differences and power: worked by hand, and checked on simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import nct
from scipy.stats import t as student

from clmethods.config import InvalidConfigError
from sweeps.analysis.trials.paired_differences import compare, compare_samples
from sweeps.analysis.trials.planned_design import expected_power, smallest_design
from sweeps.analysis.trials.power import (
    VarianceEstimate,
    detectable_difference,
    detectable_in,
    estimate_variance,
)
from sweeps.analysis.trials.replicates import Replicates, Sample, difference, replicates, sample
from sweeps.analysis.trials.summary import summarize
from sweeps.definition import ReplicateDesign
from sweeps.statistics.cell_designs import cell_design
from sweeps.statistics.intervals import mean_interval
from sweeps.statistics.t_quantiles import of_mean, t_quantile, variance_terms


def configuration(grid, label="one", order_ids=None):
    """Replicates of one metric from a grid of orders x seeds; NaN cells are missing."""
    orders = order_ids or [f"order{i}" for i in range(len(grid))]
    cells = {
        (orders[i], j): float(v)
        for i, row in enumerate(grid)
        for j, v in enumerate(row)
        if not np.isnan(v)
    }
    return Replicates(label, label, "search", "lorac_ipc", "last", "test", {"a": cells}, {})


def test_what_two_configurations_share_cancels():
    shared = np.add.outer([0.0, 0.3, 0.1], [0.0, 0.2, 0.05])
    found = compare(configuration(shared + 0.52), configuration(shared + 0.5), "a")
    assert found.interval.mean == pytest.approx(0.02)
    assert found.interval.high - found.interval.low == pytest.approx(0.0, abs=1e-9)
    assert found.significant
    assert found.unpaired == 0


def test_a_worked_pair_is_the_interval_of_the_differences():
    a, b = np.array([[5.0, 6.0], [9.0, 8.0]]), np.array([[4.0, 4.0], [6.0, 7.0]])
    found = compare(configuration(a), configuration(b), "a")
    expected = mean_interval((a - b).ravel(), [0, 0, 1, 1], [0, 1, 0, 1])
    assert found.interval.mean == pytest.approx(1.75)
    assert found.interval.low == pytest.approx(expected.low)
    assert not found.significant


def test_cells_that_one_lacks_are_left_out_and_counted():
    a, b = np.arange(6.0).reshape(3, 2), np.zeros((3, 2))
    a[2, 1] = np.nan
    b[0, 0] = np.nan
    found = compare(configuration(a), configuration(b), "a")
    assert found.unpaired == 2
    assert found.interval.n == 4
    assert found.interval.approximate
    assert compare(configuration(a[:1]), configuration(b, order_ids=list("xyz")), "a") is None


def test_a_run_that_saw_all_tasks_at_once_is_paired_by_seed():
    joint = configuration([[0.9, 0.8]], order_ids=["any"])
    found = compare(joint, configuration([[0.5, 0.6], [0.7, 0.7]]), "a")
    assert sorted(difference(joint, configuration([[0.5, 0.6], [0.7, 0.7]]), "a").values) == (
        pytest.approx([0.1, 0.2, 0.2, 0.4])
    )
    assert (found.interval.n, found.unpaired) == (4, 0)
    assert len(sample(joint, "a")) == 2


def test_replicates_come_from_the_summary_and_name_what_is_absent(study):
    study.add([[0.9, 0.0], [0.5, 0.7]], seed=0)
    study.add([[0.9]], seed=1, status="failed", error_kind="DivergedError", stages_done=0)
    (one,) = replicates(summarize(study.trials, study.evals, "test"), ["forgetting"])
    assert list(one.metrics["forgetting"].values()) == pytest.approx([0.4])
    assert list(one.absent.values()) == ["failed: DivergedError"]
    with pytest.raises(InvalidConfigError, match="Did you mean 'forgetting'"):
        replicates(summarize(study.trials, study.evals, "test"), ["forgeting"])


def test_with_many_orders_and_seeds_detectable_is_the_plain_power_formula():
    """With residual noise alone the mean of I x J values has the variance v / (I J)."""
    plain = (student.ppf(0.975, 63) + student.ppf(0.8, 63)) * (4.0 + 64 + 64) ** 0.5 / 64
    assert detectable_difference(VarianceEstimate(1.0, 1.0, 4.0, 3, 3), 64, 64) == pytest.approx(
        plain, rel=0.02
    )
    assert detectable_difference(VarianceEstimate(0.0, 0.0, 0.0, 3, 3), 3, 3) == 0.0


def test_a_plan_has_the_fewest_runs_and_spends_where_the_noise_is():
    spread = VarianceEstimate(1.0, 0.0, 0.01, 3, 3)
    orders, seeds = smallest_design(spread, 2.0)
    assert orders > seeds == 3
    assert expected_power(spread, 2.0, orders, seeds) >= 0.8
    assert expected_power(spread, 2.0, orders - 1, seeds) < 0.8
    assert smallest_design(VarianceEstimate(1.0, 1.0, 1.0, 2, 2), 1e-6) is None
    assert smallest_design(VarianceEstimate(0.0, 0.0, 0.0, 2, 2), 0.1) == (2, 2)


def test_a_plan_is_larger_than_one_that_takes_the_estimates_for_the_truth():
    spread = VarianceEstimate(1.0, 1.0, 1.0, 3, 3)
    orders, seeds = smallest_design(spread, 2.5)
    assert detectable_difference(spread, orders, seeds) < 0.9 * 2.5


@pytest.mark.parametrize(
    ("design", "spreads"),
    [((3, 3), (1.0, 1.0, 1.0)), ((5, 3), (1.0, 0.2, 0.3)), ((3, 3), (0.0, 0.0, 1.0))],
)
def test_true_power_of_plans_for_differences_that_were_not_significant(design, spreads):
    """True differences of all sizes; the power of a plan is that for the true values."""
    rng = np.random.default_rng([6, *design])
    components = [spread**2 for spread in spreads]
    numbers = (*design, design[0] * design[1])
    error = sum(c / n for c, n in zip(components, numbers, strict=True)) ** 0.5
    powers = []
    while len(powers) < 40:
        truth = 2.5 * error * rng.standard_normal()
        i, j = design
        grid = (
            truth
            + spreads[0] * rng.standard_normal((i, 1))
            + spreads[1] * rng.standard_normal((1, j))
            + spreads[2] * rng.standard_normal((i, j))
        )
        found = compare(configuration(grid), configuration(np.zeros((i, j))), "a")
        plan = None if found.significant else smallest_design(found.spread, found.interval.mean)
        if plan is not None:
            powers.append(true_power(rng, components, truth, *plan))
    assert np.mean(powers) >= 0.7  # 0.8 on average; 40 plans have a standard error of 0.05


def true_power(rng, components, difference, orders, seeds, draws=400):
    """Probability that the interval of the mean difference leaves 0 out, for known components."""
    target, design = of_mean(orders, seeds), (orders, seeds)
    order, seed, residual = components
    parts = zip(
        (seeds * order + residual, orders * seed + residual, residual),
        (orders - 1, seeds - 1, (orders - 1) * (seeds - 1)),
        strict=True,
    )
    terms = variance_terms(
        tuple(expected * rng.chisquare(f, draws) / f for expected, f in parts), design, target
    )
    half = t_quantile(terms, design, target, 0.95) * np.sqrt(terms.sum(axis=0))
    error = sum(c * part for c, part in zip(target[:3], components, strict=True)) ** 0.5
    return float((np.abs(difference + error * rng.standard_normal(draws)) > half).mean())


def test_spread_needs_two_of_each():
    one = Sample(np.array([1.0, 2.0]), ("a", "a"), (0, 1))
    assert estimate_variance(one) is None


def simulated_power(rng, spreads, difference, orders, seeds, draws):
    """Share of draws whose paired interval leaves 0 out, with order, seed and residual noise."""
    shown = 0
    for _ in range(draws):
        noise = sum(
            spread * rng.standard_normal(shape)
            for spread, shape in zip(
                spreads, ((orders, 1), (1, seeds), (orders, seeds)), strict=True
            )
        )
        both = rng.standard_normal((orders, 1)) * 5
        a, b = both + noise + difference, np.broadcast_to(both, noise.shape)
        shown += compare(configuration(a), configuration(b), "a").significant
    return shown / draws


@pytest.mark.parametrize("design", [(2, 4), (3, 3), (5, 5)])
@pytest.mark.parametrize("spreads", [(0.5, 0.5, 0.7), (1.0, 0.1, 0.3), (0.0, 0.0, 1.0)])
def test_the_promised_power_is_that_of_the_intervals(
    design: tuple[int, int], spreads: tuple[float, float, float]
) -> None:
    """500 draws have a standard error of 1.8 %."""
    order, seed, residual = (spread**2 for spread in spreads)
    size = detectable_difference(VarianceEstimate(order, seed, residual, *design), *design)
    power = simulated_power(np.random.default_rng(4), spreads, size, *design, 500)
    assert power == pytest.approx(0.8, abs=0.05)


def test_no_difference_is_shown_no_more_often_than_promised():
    assert simulated_power(np.random.default_rng(5), (0.5, 0.5, 0.7), 0.0, 5, 5, 200) <= 0.09


@pytest.mark.parametrize("levels", [(9, 9), (5, 9), (9, 3), (4, 4)])
@pytest.mark.parametrize("spreads", [(0.5, 0.5, 0.7), (1.0, 0.1, 0.3)])
def test_the_promised_power_is_that_of_nine_runs_that_are_no_grid(levels, spreads):
    """800 draws have a standard error of 1.4 %; mean squares of 4 x 4 are not independent."""
    cells = ReplicateDesign(kind="spread", runs=9).pairs(range(levels[0]), range(levels[1]))
    design = cell_design(cells)
    squares = design.expected_mean_squares(*(spread**2 for spread in spreads))
    size = detectable_in(design, squares)
    rng = np.random.default_rng(6)
    orders, seeds = (np.array(level) for level in zip(*cells, strict=True))
    shown, estimates = 0, []
    for _ in range(800):
        values = (
            size
            + spreads[0] * rng.standard_normal(levels[0])[orders]
            + spreads[1] * rng.standard_normal(levels[1])[seeds]
            + spreads[2] * rng.standard_normal(9)
        )
        found = compare_samples(Sample(values, tuple(map(str, orders)), tuple(seeds)), "a")
        shown += found.significant
        estimates.append(found.detectable_difference)
    assert shown / 800 == pytest.approx(0.8, abs=0.06)
    assert np.median(estimates) == pytest.approx(size, rel=0.35)


def test_nine_different_orders_and_seeds_detect_what_a_t_test_of_nine_values_does():
    design = cell_design([(k, k) for k in range(9)])
    squares = design.expected_mean_squares(0.25, 0.25, 0.5)
    assert squares.tolist() == [1.0]
    critical = student.ppf(0.975, 8)
    size = detectable_in(design, squares)
    assert nct.sf(critical, 8, 3 * size) == pytest.approx(0.8, abs=0.01)
