"""Mean squares and variance terms of complete and incomplete designs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from sweeps.statistics.cell_designs import cell_design
from sweeps.statistics.t_quantiles import of_mean, variance_terms
from sweeps.statistics.variance_components import mean_squares, unbalanced


def test_complete_design_has_the_mean_squares_of_the_analysis_of_variance():
    rng = np.random.default_rng(0)
    grids = rng.random((6, 4, 3))
    rows = grids.reshape(6, 12)
    design = cell_design(list(product(range(4), range(3))))
    squares = design.mean_squares(rows - rows.mean(axis=1, keepdims=True))
    assert squares == pytest.approx(mean_squares(grids))
    assert design.degrees == (3, 2, 6)
    expected = variance_terms(tuple(mean_squares(grids)), (4, 3), of_mean(4, 3))
    assert design.variance_terms(squares) == pytest.approx(expected)


def test_incomplete_design_has_the_components_of_henderson():
    rng = np.random.default_rng(1)
    cells = [cell for cell in product(range(4), range(4)) if cell not in {(0, 1), (3, 2)}]
    row = rng.random(len(cells)) + np.array([3.0 * o for o, _ in cells])
    design = cell_design(cells)
    squares = design.mean_squares((row - row.mean())[None])
    parts = unbalanced(row, *zip(*cells, strict=True))
    expected = (
        parts.order * parts.order_in_mean
        + parts.seed * parts.seed_in_mean
        + parts.residual / len(cells)
    )
    assert design.variance_terms(squares).sum() == pytest.approx(expected)
    assert design.degrees == (3, 3, 14 - 7)


@pytest.mark.parametrize("cells", [[(0, 0), (0, 1), (0, 2)], [(0, 0), (1, 1), (2, 2)]])
def test_values_without_a_common_level_count_as_independent(cells):
    row = np.array([1.0, 2.0, 6.0])
    design = cell_design(cells)
    assert design.independent
    terms = design.variance_terms(design.mean_squares((row - row.mean())[None]))
    assert terms.sum() == pytest.approx(row.var(ddof=1) / 3)


def test_two_by_two_without_a_run_is_not_identified():
    assert not cell_design([(0, 0), (0, 1), (1, 0)]).identified


def test_separate_blocks_are_not_identified():
    cells = [*product("ab", "xy"), *product("cd", "zw")]
    assert not cell_design(cells).identified
