"""How the variance splits over configuration, order, seed and their interactions.

    y[c, i, j] = mu + config + order + seed + config:order + config:seed + order:seed + residual

with independent random effects and one run per cell; the residual holds the interaction of all
three. Configurations are those of the sweep: their component says how much the search moved the
metric here, not how much another search would.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clmethods.canonical import derive_seed
from sweeps.analysis.front.membership_probability import Blocks, blocks
from sweeps.analysis.runs.replicates import Replicates
from sweeps.statistics.intervals import LEVEL
from sweeps.statistics.mixed_model import restricted_likelihood
from sweeps.statistics.variance_components import ROUNDING

Values = npt.NDArray[np.float64]

FACTORS = ("configuration", "order", "seed")
RESIDUAL = "residual"
DRAWS = 10_000


class Component(NamedTuple):
    """One source of variance."""

    source: str
    """`order`, `configuration:order`, …, or `residual`."""
    variance: float
    """Estimate, floored at 0, in squared units of the metric."""
    low: float | None
    """Ends of the 95 % interval; None where runs are missing."""
    high: float | None
    share: float | None
    """Of the sum of all variances; None if nothing varies."""
    share_low: float | None
    share_high: float | None


class Split(NamedTuple):
    """Where the variance of a metric comes from."""

    components: tuple[Component, ...]
    """Empty if there is a reason."""
    levels: dict[str, int]
    """Number of configurations, orders and seeds that it rests on."""
    left_out: tuple[str, ...]
    """Configurations whose runs are not complete, by label and what they have."""
    reason: str | None
    """Why there are no components."""
    note: str
    """How they were estimated."""


def variance_split(found: Sequence[Replicates], metric: str, level: float = LEVEL) -> Split:
    """Components over the configurations that have a run in every cell; the others are named.

    Where fewer than two are complete, and others are there, all runs are used, by restricted
    maximum likelihood and without intervals (`sweeps.statistics.mixed_model`).
    Methods that cannot depend on the order, references and upper bounds take no part. A factor
    with a single level has no component, and its interactions go with it.
    """
    eligible = [one for one in found if one.eligible and not one.order_free]
    held = blocks(eligible, [metric])
    whole = np.asarray(np.isfinite(held.values[:, 0]).all(axis=(1, 2)))
    cells = len(held.orders) * len(held.seeds)
    left_out = tuple(
        f"{one.label} ({len(one.metrics[metric])} of {cells} runs)"
        for one, complete in zip(eligible, whole, strict=True)
        if not complete
    )
    if int(whole.sum()) < min(2, len(eligible)):
        return _of_what_is_there(held, left_out)
    grid = held.values[whole, 0]  # (C, I, J)
    levels = dict(zip(FACTORS, grid.shape, strict=True))
    if sum(n > 1 for n in grid.shape) < 2:
        return Split((), levels, left_out, _too_few(levels), "")
    return Split(factorial(grid, level), levels, left_out, None, "analysis of variance")


def _of_what_is_there(held: Blocks, incomplete: tuple[str, ...]) -> Split:
    """Components from all runs, whichever are missing."""
    place = np.nonzero(np.isfinite(held.values[:, 0]))  # three of (N,)
    values = held.values[:, 0][place]
    levels = {f: len(set(p.tolist())) for f, p in zip(FACTORS, place, strict=True)}
    active = [a for a, name in enumerate(FACTORS) if levels[name] > 1]
    if len(active) < 2:
        return Split((), levels, incomplete, _too_few(levels), "")
    sets = [s for size in range(1, len(active)) for s in combinations(active, size)]
    terms = {
        ":".join(FACTORS[f] for f in s): list(zip(*(place[f].tolist() for f in s), strict=True))
        for s in sets
    }
    found = restricted_likelihood(values, terms)
    if found is None:
        return Split((), levels, incomplete, "nothing varies, or too few or too many runs", "")
    total = sum(found.values())
    parts = tuple(
        Component(name, variance, None, None, variance / total if total > 0 else None, None, None)
        for name, variance in found.items()
    )
    note = f"restricted likelihood over {len(values)} runs; incomplete: {', '.join(incomplete)}"
    return Split(parts, levels, (), None, note)


def _too_few(levels: dict[str, int]) -> str:
    counts = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in levels.items())
    return f"two factors must vary, there are {counts}"


def factorial(grid: Values, level: float = LEVEL) -> tuple[Component, ...]:
    """Components of a complete factorial grid with the axes of `FACTORS`, one value per cell.

    Estimates are those of the analysis of variance: with n_f levels of factor f, the component of
    a set A of factors is sum_{B >= A} (-1)^(|B| - |A|) MS_B over the number of values per level of
    A. Intervals are generalised confidence intervals (Weerahandi 1993): every mean square is
    replaced by df MS / chi2_df, drawn 10,000 times with a fixed seed, and the quantiles of the
    components and shares so computed are taken.
    """
    active = [axis for axis, n in enumerate(grid.shape) if n > 1]
    sets = [s for size in range(1, len(active) + 1) for s in combinations(active, size)]
    values = grid
    if np.ptp(grid) <= ROUNDING * np.abs(grid).max():
        values = np.zeros_like(grid)  # else shares of rounding errors
    squares = np.array([_mean_square(values, s) for s in sets])
    degrees = np.array([np.prod([grid.shape[a] - 1 for a in s]) for s in sets])
    to_component = np.array(
        [
            [
                (-1.0) ** (len(b) - len(a)) / (grid.size / np.prod([grid.shape[f] for f in a]))
                if set(a) <= set(b)
                else 0.0
                for b in sets
            ]
            for a in sets
        ]
    )
    generator = np.random.default_rng(derive_seed(0, "variance", *grid.shape))
    drawn = degrees * squares / generator.chisquare(degrees, (DRAWS, len(sets)))  # (D, S)
    parts = np.maximum(drawn @ to_component.T, 0.0)  # (D, S)
    estimate = np.maximum(to_component @ squares, 0.0)
    ends = [(1 - level) / 2, (1 + level) / 2]
    bounds = np.quantile(parts, ends, axis=0)
    total, totals = estimate.sum(), parts.sum(axis=1, keepdims=True)
    shares = (
        np.quantile(parts / np.where(totals > 0, totals, 1.0), ends, axis=0) if total > 0 else None
    )
    return tuple(
        Component(
            source=RESIDUAL if s == sets[-1] else ":".join(FACTORS[f] for f in s),
            variance=float(estimate[k]),
            low=float(bounds[0, k]),
            high=float(bounds[1, k]),
            share=float(estimate[k] / total) if shares is not None else None,
            share_low=float(shares[0, k]) if shares is not None else None,
            share_high=float(shares[1, k]) if shares is not None else None,
        )
        for k, s in enumerate(sets)
    )


def _mean_square(grid: Values, factors: tuple[int, ...]) -> float:
    """Mean square of the interaction of `factors` (of a main effect for one of them)."""
    others = tuple(axis for axis in range(grid.ndim) if axis not in factors)
    effect = grid.mean(axis=others, keepdims=True)
    for axis in factors:
        effect = effect - effect.mean(axis=axis, keepdims=True)
    degrees = np.prod([grid.shape[axis] - 1 for axis in factors])
    values_per_cell = grid.size / effect.size
    return float(values_per_cell * (effect**2).sum() / degrees)
