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


def test_separate_blocks_are_identified_within_the_blocks():
    cells = [*product("ab", "xy"), *product("cd", "zw")]
    assert cell_design(cells).degrees == (2, 2, 2)
    row = np.array([0.0, 1.0, 2.0, 3.0, 9.0, 8.0, 9.0, 8.0])
    design = cell_design(cells)
    squares = design.mean_squares((row - row.mean())[None])
    # each block has one degree of freedom of each factor; the difference of blocks is not used
    assert squares[:, 0] == pytest.approx([2.0, 1.0, 0.0])
    assert not cell_design([(0, 0), (1, 1), (1, 2), (2, 2), (2, 3)]).identified


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("sizes", [(3, 3, 3), (4, 3, 2), (1, 5)])
def test_cells_with_a_seed_each_have_the_components_of_a_one_way_design(sizes, reverse):
    rng = np.random.default_rng(3)
    group = [k for k, size in enumerate(sizes) for _ in range(size)]
    cells = [(k, n) for n, k in enumerate(group)]
    cells = [cell[::-1] for cell in cells] if reverse else cells
    row = rng.random(len(cells)) + np.array([4.0 * k for k in group])
    design = cell_design(cells)
    assert design.degrees == (len(sizes) - 1, len(cells) - len(sizes))
    assert design.least_degrees == len(sizes) - 1
    between, within = design.mean_squares((row - row.mean())[None])[:, 0]
    means = np.array([row[np.array(group) == k].mean() for k in range(len(sizes))])
    assert within == pytest.approx(((row - means[group]) ** 2).sum() / (len(cells) - len(sizes)))
    if len(set(sizes)) == 1:
        assert between == pytest.approx(sizes[0] * means.var(ddof=1))
        assert design.variance_terms(np.array([[between], [within]])).sum() == pytest.approx(
            means.var(ddof=1) / len(sizes)
        )
    parts = unbalanced(row, *zip(*cells, strict=True))
    assert parts.confounded == ("order" if reverse else "seed")
    component, weight = (
        (parts.seed, parts.seed_in_mean) if reverse else (parts.order, parts.order_in_mean)
    )
    expected = component * weight + parts.residual / len(cells)
    terms = design.variance_terms(np.array([[between], [within]]))
    assert terms.sum() == pytest.approx(expected)
