"""Front membership probability: how likely a configuration is on the Pareto front in truth.

The means of a few runs have errors, and so has the front of the means. The errors that two
configurations do not share are estimated from the runs that all of them have
(`sweeps.statistics.configuration_means`), with variances that are moderated over the
configurations. The probability is the share of draws of such errors in which a configuration is on
the front. Its calibration is simulated in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from clmethods.canonical import derive_seed
from clmethods.metrics import Direction
from sweeps.analysis.front.dominance import front
from sweeps.analysis.trials.replicates import Replicates
from sweeps.analysis.trials.run_blocks import FEWEST, common_values
from sweeps.statistics.configuration_means import ConfigurationMeans, configuration_means

Values = npt.NDArray[np.float64]

DRAWS = 1000
"""Default number of draws; a probability of 0.5 then has a standard error of 1.6 points."""


def front_probability(
    configurations: Sequence[Replicates],
    objectives: Mapping[str, Direction],
    *,
    fixed_orders: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Values:
    """Return the probability that each configuration is on the front, (C,); NaN if unknown.

    Only runs that the compared configurations have in common count, because means over different
    orders and seeds are not comparable. If some configurations have fewer runs than others, as
    after a race, those with the most runs are compared and the others have no probability. It is
    also unknown for configurations that are not eligible or lack an objective, and for all if
    there are fewer than `FEWEST` common orders or seeds, with which variances are unreliable.
    With `fixed_orders`, the orders are the whole population and only the seeds count.
    """
    result = np.full(len(configurations), np.nan)
    names, directions = list(objectives), list(objectives.values())
    eligible = [c for c, configuration in enumerate(configurations) if configuration.eligible]
    common = common_values([configurations[c] for c in eligible], names, fixed_orders=fixed_orders)
    if common is None:
        return result
    if common.seeds < FEWEST or (common.orders < FEWEST and not fixed_orders):
        return result
    values = common.values
    different, of_row = np.unique(values.reshape(len(values), -1), axis=0, return_inverse=True)
    values = different.reshape(-1, *values.shape[1:])  # equal rows are tied in every draw
    models = [configuration_means(values[:, m], common.cells) for m in range(len(names))]
    known = [model for model in models if model is not None]
    if len(known) < len(models):
        return result
    generator = np.random.default_rng(derive_seed(seed, "front_probability", draws))
    hits = np.zeros(len(values))
    for points in _drawn_means(known, draws, generator):
        hits += front(points, directions)
    places = np.array(eligible)[list(common.compared)]
    result[places] = (hits / draws)[of_row.reshape(-1)]
    return result


def _drawn_means(
    models: Sequence[ConfigurationMeans], draws: int, generator: np.random.Generator
) -> Values:
    """Return means with errors, shape (draws, C, M).

    The errors of the objectives of one configuration are correlated, as those of its runs are.
    They follow t distributions, because the variances are estimates.
    """
    means = np.stack([model.means for model in models], axis=1)  # (C, M)
    scales = np.sqrt(np.stack([model.variances for model in models], axis=1))
    degrees = np.stack([model.degrees for model in models], axis=1)
    factor = np.linalg.cholesky(_correlation(models, scales))  # (M, M)
    normal = generator.standard_normal((draws, *means.shape)) @ factor.T
    finite = np.where(np.isfinite(degrees), degrees, 1e9)
    heavy = np.sqrt(finite / generator.chisquare(finite, (draws, *means.shape)))
    return np.asarray(means + scales * normal * heavy)


def _correlation(models: Sequence[ConfigurationMeans], scales: Values) -> Values:
    """Return the correlation (M, M) of the deviations of the runs, pooled over configurations."""
    standard = np.stack(
        [
            model.deviations / np.where(scale > 0.0, scale, np.inf)[:, None]
            for model, scale in zip(models, scales.T, strict=True)
        ]
    ).reshape(len(models), -1)  # (M, C N)
    products = standard @ standard.T
    norms = np.sqrt(np.diag(products))
    norms[norms == 0.0] = 1.0  # an objective without noise
    correlation = products / np.outer(norms, norms) * (1.0 - 1e-9)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(correlation)
