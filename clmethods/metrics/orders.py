"""Metrics of the disparity between task orders (additive parameter decomposition, Yoon 2020)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def disparity(final: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute the order-normalized disparity (OPD) (T,) of each task group, in [0, 1].

    OPD is the range of a group's final accuracy over task orders: OPD_j = max_r P[r, j] -
    min_r P[r, j], lower is better, 0 for R = 1. Yoon et al. 2020. `final` is (R, T): accuracies of
    T groups (or classes, if the grouping varies too) in R orders, already averaged over seeds. OPD
    increases with R: compare only values of equal R. Raises ValueError for another shape.
    """
    table = np.asarray(final, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"final accuracies are runs by groups, (R, T), got {table.shape}")
    return np.asarray(np.ptp(table, axis=0))  # (T,)


def aopd(final: npt.ArrayLike) -> float:
    """Compute the average order-normalized disparity: the mean of `disparity` over the groups."""
    return float(disparity(final).mean())


def mopd(final: npt.ArrayLike) -> float:
    """Compute the maximum order-normalized disparity over the groups. MOPD >= AOPD."""
    return float(disparity(final).max())
