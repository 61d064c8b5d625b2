"""The quantiles of crossed designs: the formulas by hand, stacks, and coverage at every spread."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import t as student

from sweeps.statistics.intervals import LEVEL, mean_interval
from sweeps.statistics.prediction_intervals import prediction_interval
from sweeps.statistics.t_quantiles import of_mean, of_new_run, t_quantile, variance_terms
from sweeps.statistics.variance_components import components
from tests.sweeps.analysis.spreads import least_coverage, targets

DESIGNS = [(2, 4), (12, 2), (3, 3), (3, 4), (8, 3), (20, 3), (4, 6), (5, 5)]


def squares_of(grids):
    found = [components(grid) for grid in grids]
    return tuple(
        np.array([getattr(one, f"mean_square_{name}") for one in found])
        for name in ("order", "seed", "residual")
    )


@pytest.mark.parametrize("design", [(2, 4), (3, 4), (5, 3)])
def test_a_stack_has_the_intervals_of_its_designs(design):
    """The intervals of a batch of simulated designs equal those that a command computes."""
    grids = np.random.default_rng(0).random((20, *design))
    where = zip(*product(range(design[0]), range(design[1])), strict=True)
    orders, seeds = map(list, where)
    squares = squares_of(grids)
    for kind, target in targets(design).items():
        terms = variance_terms(squares, design, target)
        halves = t_quantile(terms, design, target, LEVEL) * np.sqrt(terms.sum(axis=0))
        for grid, half in zip(grids, halves, strict=True):
            alone = {
                "mean": lambda v=grid: mean_interval(v.ravel(), orders, seeds),
                "new run": lambda v=grid: prediction_interval(v.ravel(), orders, seeds),
                "same order": lambda v=grid: prediction_interval(v.ravel(), orders, seeds, 1),
            }[kind]()
            assert alone.high - alone.mean == pytest.approx(half, rel=1e-9)


def test_a_worked_satterthwaite_and_a_worked_cochran():
    """Mean squares 12, 6 and 3 of 3 orders x 4 seeds, on 2, 3 and 6 degrees of freedom."""
    squares, design = (12.0, 6.0, 3.0), (3, 4)
    terms = variance_terms(squares, design, of_mean(*design))
    assert terms == pytest.approx([12 / 12, 6 / 12, -3 / 12])
    degrees = 1.25**2 / (1 / 2 + 0.25 / 3 + 0.0625 / 6)
    cochran = np.average(student.ppf(0.975, [2, 3]), weights=[1.0, 0.5])
    expected = (student.ppf(0.975, degrees) + cochran) / 2
    assert t_quantile(terms, design, of_mean(*design), LEVEL) == pytest.approx(expected)
    new = of_new_run(*design, known_order=False)
    terms = variance_terms(squares, design, new)
    rest = 13 / 12 - 4 / 12 - 5 / 12
    assert terms == pytest.approx([4.0, 2.5, 3 * rest])
    expected = np.average(student.ppf(0.975, [2, 3, 6]), weights=[4.0, 2.5, 3 * rest])
    assert t_quantile(terms, design, new, LEVEL) == pytest.approx(expected)


def test_a_known_order_leaves_the_number_of_orders_out():
    """Two orders: only what the seeds show counts, on three degrees of freedom or more."""
    target = of_new_run(2, 4, known_order=True)
    terms = variance_terms((9.0, 6.0, 3.0), (2, 4), target)
    assert terms[0] == 0.0
    assert t_quantile(terms, (2, 4), target, LEVEL) == pytest.approx(student.ppf(0.975, 3))


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_coverage_holds_whatever_the_spreads(design):
    """100 pairs of standard deviations, 500 draws each: the least is some 0.4 % below its own
    expectation. Satterthwaite's quantile alone falls to 91 % for a mean over two levels and for a
    new run, and to 92 % for a mean over three levels of one factor and many of the other."""
    found = least_coverage(design, 500)
    assert found["mean"] >= 0.925
    assert min(found["new run"], found["same order"]) >= 0.93
