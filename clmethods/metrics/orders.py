"""Disparity between task orders (additive parameter decomposition, Yoon et al. 2020)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def disparity(final: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """OPD of each task group: the range of its final accuracy over task orders, in [0, 1].

    `final` is (R, T): runs in R orders by T groups (or classes, if the grouping varies too),
    averaged over seeds first. OPD_j = max_r P[r, j] - min_r P[r, j], lower is better, all 0 for
    R = 1. Yoon et al. 2020. It grows with R: compare at equal R.
    """
    table = np.asarray(final, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"final accuracies are runs by groups, (R, T), got {table.shape}")
    return np.asarray(np.ptp(table, axis=0))  # (T,)


def aopd(final: npt.ArrayLike) -> float:
    """Average order-normalised disparity: the mean of `disparity` over the groups."""
    return float(disparity(final).mean())


def mopd(final: npt.ArrayLike) -> float:
    """Largest order-normalised disparity over the groups. MOPD >= AOPD."""
    return float(disparity(final).max())
