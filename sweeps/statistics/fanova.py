"""How much of a random forest's variance each axis explains by itself, at any number of points.

Hutter, Hoos and Leyton-Brown 2014. A tree is constant on boxes, its leaves. Averaged over all axes
but those asked for, S, it is a sum over leaves a with values v_a and widths w_a, in a unit cube,

    f_S(x) = sum of v_a prod_{d not in S} w_ad over the leaves whose box holds x in S

and the variance of f_S over that of the tree is the share of S. Optuna's evaluator has the same
numbers and walks the tree for every split: at 1,000 configurations of three axes it takes minutes.
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
DEPTH = 64


class Leaves(NamedTuple):
    """The L leaves of a tree over D columns scaled to [0, 1]."""

    low: Values  # (L, D)
    high: Values  # (L, D)
    values: Values  # (L,), their mean over the cube taken off


def fanova(
    x: Values, y: Values, bounds: Values, axes: Sequence[Sequence[int]], seed: int
) -> Values:
    """Share of each of `axes`, lists of columns of `x` (N, D), in the variance of a forest; (A,).

    `y` (N,) is what the forest predicts and `bounds` (D, 2) the box that counts, which holds `x`.
    Shares are means over 64 trees; what they lack to 1 is interaction. Scikit-learn is imported
    here, when it is asked. A tree takes O(L log L) for an axis of one column.
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
    """The boxes of a fitted tree, level by level from the root."""
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
    """Variance of a tree averaged over all columns but `columns`."""
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
    summed = np.bincount(which.ravel(), weights=parts, minlength=len(boxes))
    overlap = np.ones((len(boxes), len(boxes)))
    for lower, upper in zip(*np.split(boxes.T, 2), strict=True):
        meet = np.minimum.outer(upper, upper) - np.maximum.outer(lower, lower)
        overlap *= np.maximum(meet, 0.0)
    return float(summed @ overlap @ summed)
