"""Functional ANOVA (fANOVA) of a random forest: the share of the variance due to each axis.

Implements Hutter, Hoos and Leyton-Brown 2014. A regression tree is constant on boxes, its leaves.
Let S be the axes of interest. The average of the tree over all other axes is a sum over the leaves
a with values v_a and widths w_a in the unit cube,

    f_S(x) = sum of v_a prod_{d not in S} w_ad over the leaves whose box contains x in S

The share of S is the variance of f_S divided by the variance of the tree. The results equal those
of Optuna's evaluator. Optuna traverses the tree for every split, which takes minutes at 1,000
configurations of three axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeRegressor

Values = npt.NDArray[np.float64]

TREES = 64
"""Number of trees in the forest."""
DEPTH = 64
"""Maximum depth of a tree."""


class Leaves(NamedTuple):
    """The L leaves of a tree over D columns scaled to [0, 1]."""

    low: Values  # (L, D)
    high: Values  # (L, D)
    values: Values  # (L,), centered: their mean over the cube is 0


def fanova(
    x: Values, y: Values, bounds: Values, axes: Sequence[Sequence[int]], seed: int
) -> Values:
    """Return the share of each group of axes in the variance of a random forest.

    Args:
        x: Inputs, shape (N, D).
        y: Values that the forest predicts, shape (N,).
        bounds: Lower and upper end of each column, shape (D, 2). The box must contain `x`.
        axes: Columns of `x` that make up each of the A axes.
        seed: Seed of the forest.

    Returns:
        Shares, shape (A,): means over `TREES` trees. The difference of their sum from 1 is
        interaction.

    Scikit-learn is imported when the function is called. The cost per tree is O(L log L) for an
    axis of one column.
    """
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(n_estimators=TREES, max_depth=DEPTH, random_state=seed)
    forest.fit(x, y)
    shares = []
    for tree in forest.estimators_:
        leaves = leaves_of(tree, bounds)
        variance = float((leaves.values**2) @ (leaves.high - leaves.low).prod(axis=1))
        if variance > 0.0:
            shares.append([marginal_variance(leaves, columns) / variance for columns in axes])
    return np.mean(shares, axis=0) if shares else np.zeros(len(axes))


def leaves_of(tree: DecisionTreeRegressor, bounds: Values) -> Leaves:
    """Return the boxes of a fitted tree, computed level by level from the root."""
    nodes = tree.tree_
    low, high = (np.repeat(bounds[None, :, end], nodes.node_count, axis=0) for end in (0, 1))
    level = np.array([0])
    while len(level) > 0:
        level = level[nodes.feature[level] >= 0]
        split, at = nodes.feature[level], nodes.threshold[level]
        for child, end in ((nodes.children_left, high), (nodes.children_right, low)):
            low[child[level]], high[child[level]] = low[level], high[level]
            end[child[level], split] = at
        level = np.concatenate([nodes.children_left[level], nodes.children_right[level]])
    leaf = nodes.feature < 0
    span = bounds[:, 1] - bounds[:, 0]
    low, high = (low[leaf] - bounds[:, 0]) / span, (high[leaf] - bounds[:, 0]) / span
    values = nodes.value[leaf, 0, 0]
    return Leaves(low, high, values - values @ (high - low).prod(axis=1))


def marginal_variance(leaves: Leaves, columns: Sequence[int]) -> float:
    """Return the variance of a tree averaged over all columns except `columns`."""
    others = np.setdiff1d(np.arange(leaves.low.shape[1]), columns)
    parts = leaves.values * (leaves.high - leaves.low)[:, others].prod(axis=1)  # (L,)
    low, high = leaves.low[:, columns], leaves.high[:, columns]  # (L, S)
    if len(columns) == 1:
        edges = np.unique(np.concatenate([low, high]))
        steps = np.zeros(len(edges))
        np.add.at(steps, np.searchsorted(edges, low[:, 0]), parts)
        np.subtract.at(steps, np.searchsorted(edges, high[:, 0]), parts)
        return float(np.cumsum(steps)[:-1] ** 2 @ np.diff(edges))
    boxes, which = np.unique(np.hstack([low, high]), axis=0, return_inverse=True)
    values = np.bincount(which.ravel(), weights=parts, minlength=len(boxes))
    overlap = np.ones((len(boxes), len(boxes)))
    for lower, upper in zip(*np.split(boxes.T, 2), strict=True):
        intersection = np.minimum.outer(upper, upper) - np.maximum.outer(lower, lower)
        overlap *= np.maximum(intersection, 0.0)
    return float(values @ overlap @ values)
