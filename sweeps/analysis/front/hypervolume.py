"""Hypervolume and knee of a Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clmethods.metrics import Direction
from sweeps.analysis.front.dominance import front, gains

Values = npt.NDArray[np.float64]


def hypervolume(
    points: npt.ArrayLike, directions: Sequence[Direction], reference: npt.ArrayLike
) -> float:
    """Return the exact volume between `points` (N, M) and the reference point (M,).

    Implements the hypervolume of Zitzler and Thiele 1998 by slicing along the last objective
    (While et al. 2006). The cost is O(N^M) in the worst case; the function is meant for fronts of
    up to a few hundred points. The unit is the product of the units of the objectives. Points that
    are not better than the reference in every objective, and points with a NaN, add nothing.
    """
    corner = np.atleast_2d(np.asarray(reference, dtype=np.float64))  # (1, M)
    above = gains(points, directions) - gains(corner, directions)  # (N, M)
    inside = np.isfinite(above).all(axis=1) & (above > 0).all(axis=1)
    return _volume(above[inside])


def _volume(above: Values) -> float:
    """Return the volume between the origin and points (N, M) with positive coordinates."""
    if len(above) == 0:
        return 0.0
    if above.shape[1] == 1:
        return float(above.max())
    kept = above[front(above, ["max"] * above.shape[1])]
    ranked = kept[np.argsort(-kept[:, -1], kind="stable")]
    heights = ranked[:, -1]
    if above.shape[1] == 2:
        widths = np.maximum.accumulate(ranked[:, 0])
        return float((widths * (heights - np.append(heights[1:], 0.0))).sum())
    slabs = heights - np.append(heights[1:], 0.0)
    return float(sum(slab * _volume(ranked[: i + 1, :-1]) for i, slab in enumerate(slabs) if slab))


def worst_point(points: npt.ArrayLike, directions: Sequence[Direction]) -> Values:
    """Return the worst value of each objective over all finite points, shape (M,).

    It is a reference point that exists for every sweep, but it changes when a worse configuration
    is added.
    """
    table = np.asarray(points, dtype=np.float64)
    known = table[np.isfinite(table).all(axis=1)]
    if len(known) == 0:
        return np.full(len(directions), np.nan)
    return np.array(
        [
            known[:, m].min() if direction == "max" else known[:, m].max()
            for m, direction in enumerate(directions)
        ]
    )


def knee(points: npt.ArrayLike, directions: Sequence[Direction]) -> int | None:
    """Return the row of the knee of the front; None if no point is finite.

    The knee is the point of the front that is farthest from the plane through its extremes (Das
    1999). Each objective is scaled to [0, 1] over the front, so that units do not matter; the knee
    has the largest sum of scaled gains. With two objectives, a small loss in one buys the largest
    gain in the other there. Objectives that are constant over the front are ignored. Among equal
    points the first one is returned.
    """
    gain = gains(points, directions)
    rows = np.flatnonzero(front(points, directions))
    if len(rows) == 0:
        return None
    on_front = gain[rows]
    low, span = on_front.min(axis=0), np.ptp(on_front, axis=0)
    varying = span > 0
    scaled = (on_front[:, varying] - low[varying]) / span[varying]
    total = scaled.sum(axis=1)
    return int(rows[np.flatnonzero(total >= total.max() - 1e-12)[0]])
