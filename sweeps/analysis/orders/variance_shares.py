"""Variance components of a metric: configuration, order, seed and their interactions.

    y[c, i, j] = mu + config + order + seed + config:order + config:seed + order:seed + residual

with independent random effects and one run per cell. The residual contains the interaction of all
three. The configurations are those of the sweep: their component measures how much this search
changed the metric, not how much another search would change it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clmethods.canonical import derive_seed
from sweeps.analysis.trials.replicates import Replicates
from sweeps.analysis.trials.run_blocks import Blocks, blocks
from sweeps.statistics.intervals import LEVEL
from sweeps.statistics.mixed_model import restricted_likelihood
from sweeps.statistics.variance_components import ROUNDING

Values = npt.NDArray[np.float64]
Levels = tuple[tuple[int, ...], ...]
"""Level of a term for each run: the levels of its factors."""

FACTORS = ("configuration", "order", "seed")
RESIDUAL = "residual"
DRAWS = 10_000
"""Number of draws for the generalized confidence intervals."""


class VarianceComponent(NamedTuple):
    """Variance component of one source."""

    source: str
    """`order`, `configuration:order`, …, or `residual`."""
    variance: float
    """Estimate in squared units of the metric; a negative estimate is set to 0."""
    low: float | None
    """Lower end of the 95 % interval; None if runs are missing."""
    high: float | None
    share: float | None
    """Share of the sum of all components; None if nothing varies."""
    share_low: float | None
    share_high: float | None


class VarianceDecomposition(NamedTuple):
    """Variance components of a metric, with the data that they are estimated from."""

    components: tuple[VarianceComponent, ...]
    """Components; empty if there is a reason."""
    levels: dict[str, int]
    """Numbers of configurations, orders and seeds in the estimate."""
    left_out: tuple[str, ...]
    """Configurations with missing runs: label and number of runs."""
    reason: str | None
    """Reason why there are no components."""
    note: str
    """Method of estimation."""


def variance_split(
    configurations: Sequence[Replicates], metric: str, level: float = LEVEL
) -> VarianceDecomposition:
    """Return the components over the configurations that have a run in every cell.

    The other configurations are listed in `left_out`. If fewer than two configurations are
    complete and others exist, or if the pairs of order and seed are no grid, all runs are used: by
    restricted maximum likelihood and without intervals (`sweeps.statistics.mixed_model`). Sources
    that the runs do not separate have one component, and the note names them. Methods that do not
    depend on the order, references and upper bounds are excluded. A factor with a single level has
    no component and no interactions.
    """
    eligible = [
        configuration
        for configuration in configurations
        if configuration.eligible and not configuration.order_free
    ]
    all_runs = blocks(eligible, [metric])
    complete = np.asarray(np.isfinite(all_runs.values[:, 0]).all(axis=(1, 2)))
    cells = len(all_runs.orders) * len(all_runs.seeds)
    left_out = tuple(
        f"{configuration.label} ({len(configuration.metrics[metric])} of {cells} runs)"
        for configuration, is_complete in zip(eligible, complete, strict=True)
        if not is_complete
    )
    if int(complete.sum()) < min(2, len(eligible)):
        return _incomplete_split(all_runs, left_out)
    grid = all_runs.values[complete, 0]  # (C, I, J)
    levels = dict(zip(FACTORS, grid.shape, strict=True))
    if sum(n > 1 for n in grid.shape) < 2:
        return VarianceDecomposition((), levels, left_out, _too_few(levels), "")
    return VarianceDecomposition(
        factorial(grid, level), levels, left_out, None, "analysis of variance"
    )


def _incomplete_split(grid: Blocks, incomplete: tuple[str, ...]) -> VarianceDecomposition:
    """Return the components from all runs of an incomplete design."""
    place = np.nonzero(np.isfinite(grid.values[:, 0]))  # three of (N,)
    values = grid.values[:, 0][place]
    levels = {f: len(set(p.tolist())) for f, p in zip(FACTORS, place, strict=True)}
    active = [a for a, name in enumerate(FACTORS) if levels[name] > 1]
    if len(active) < 2:
        return VarianceDecomposition((), levels, incomplete, _too_few(levels), "")
    sets = [s for size in range(1, len(active)) for s in combinations(active, size)]
    terms, inseparable = _separable(
        {
            ":".join(FACTORS[f] for f in s): tuple(
                zip(*(place[f].tolist() for f in s), strict=True)
            )
            for s in sets
        }
    )
    if not terms:
        reason = f"the runs do not separate the sources: {'; '.join(inseparable)}"
        return VarianceDecomposition((), levels, incomplete, reason, "")
    variances = restricted_likelihood(values, terms)
    if variances is None:
        reason = "nothing varies, or there are too few or too many runs"
        return VarianceDecomposition((), levels, incomplete, reason, "")
    total = sum(variances.values())
    parts = tuple(
        VarianceComponent(
            name, variance, None, None, variance / total if total > 0 else None, None, None
        )
        for name, variance in variances.items()
    )
    known = np.isfinite(grid.values[:, 0])
    missing = f"incomplete: {', '.join(incomplete)}"
    if (known == known[:1]).all():  # as in a spread design
        missing = f"{int(known[0].sum())} of each configuration"
    method = f"restricted maximum likelihood over {len(values)} runs"
    return VarianceDecomposition(
        parts, levels, (), None, "; ".join([method, missing, *inseparable])
    )


def _separable(
    terms: Mapping[str, Levels],
) -> tuple[dict[str, Levels], tuple[str, ...]]:
    """Return the terms that the runs can separate, and sentences about the others.

    Terms that divide the runs in the same way have one component together, under the names of the
    factors among them. A term with a different level in each run is part of the residual.
    """
    by_groups: dict[tuple[int, ...], list[str]] = {}
    for name, levels in terms.items():
        number = {level: k for k, level in enumerate(dict.fromkeys(levels))}
        by_groups.setdefault(tuple(number[level] for level in levels), []).append(name)
    separable: dict[str, Levels] = {}
    sentences = []
    for groups, names in by_groups.items():
        shown = [name.replace(":", " x ") for name in names]
        if len(set(groups)) == len(groups):
            sentences.append(f"the residual includes {' and '.join(shown)}")
            continue
        factors = [name for name in names if ":" not in name] or names[:1]
        separable[" + ".join(factors)] = terms[names[0]]
        if len(names) > 1:
            sentences.append(f"{shown[0]} cannot be separated from {' and '.join(shown[1:])}")
    return separable, tuple(sentences)


def _too_few(levels: dict[str, int]) -> str:
    counts = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in levels.items())
    return f"at least two factors must vary, got {counts}"


def factorial(grid: Values, level: float = LEVEL) -> tuple[VarianceComponent, ...]:
    """Return the components of a complete factorial grid with the axes of `FACTORS`.

    The grid has one value per cell. Estimates follow from the analysis of variance. Let n_f be the
    number of levels of factor f. The component of a set A of factors is
    sum_{B >= A} (-1)^(|B| - |A|) MS_B divided by the number of values per level of A. Intervals
    are generalized confidence intervals (Weerahandi 1993): each mean square is replaced by
    df MS / chi2_df in `DRAWS` draws with a fixed seed, and the ends are the quantiles of the
    resulting components and shares.
    """
    active = [axis for axis, n in enumerate(grid.shape) if n > 1]
    sets = [s for size in range(1, len(active) + 1) for s in combinations(active, size)]
    values = grid
    if np.ptp(grid) <= ROUNDING * np.abs(grid).max():
        values = np.zeros_like(grid)  # avoid shares of rounding errors
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
    drawn_squares = degrees * squares / generator.chisquare(degrees, (DRAWS, len(sets)))  # (D, S)
    parts = np.maximum(drawn_squares @ to_component.T, 0.0)  # (D, S)
    estimate = np.maximum(to_component @ squares, 0.0)
    ends = [(1 - level) / 2, (1 + level) / 2]
    bounds = np.quantile(parts, ends, axis=0)
    total, totals = estimate.sum(), parts.sum(axis=1, keepdims=True)
    shares = (
        np.quantile(parts / np.where(totals > 0, totals, 1.0), ends, axis=0) if total > 0 else None
    )
    return tuple(
        VarianceComponent(
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
    """Return the mean square of the interaction of `factors` (a main effect for one factor)."""
    others = tuple(axis for axis in range(grid.ndim) if axis not in factors)
    effect = grid.mean(axis=others, keepdims=True)
    for axis in factors:
        effect = effect - effect.mean(axis=axis, keepdims=True)
    degrees = np.prod([grid.shape[axis] - 1 for axis in factors])
    values_per_cell = grid.size / effect.size
    return float(values_per_cell * (effect**2).sum() / degrees)
