"""Importance of each axis over the whole search: fANOVA and PED-ANOVA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clmethods.canonical import Scalar, SettingValue, canonical_json, derive_seed
from clmethods.metrics import Direction
from sweeps.analysis.effects.axis_effects import AnalyzedAxis, Point
from sweeps.analysis.trials.replicates import Replicates, sample
from sweeps.statistics.fanova import fanova

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Values = npt.NDArray[np.float64]

LEAST = 8
"""Minimum number of configurations for which importance is estimated."""


def axis_importance(
    configurations: Sequence[Replicates],
    points: Mapping[str, Point],
    axes: Sequence[AnalyzedAxis],
    metric: str,
    direction: Direction,
    *,
    seed: int = 0,
) -> dict[str, dict[str, float]] | str:
    """Return the importance of each axis by evaluator, or the reason why there is none.

    The shares of each evaluator sum to 1. `fanova` is the share of the variance in the prediction
    of a random forest (`sweeps.statistics.fanova`). `ped_anova` (Watanabe et al. 2023, implemented
    by Optuna) measures the importance of an axis for being among the best 10 % of configurations.
    Both replace the numbers of an axis by their ranks: importance is then that over the
    configurations that were searched, whatever the scale of the axis. On the numbers themselves,
    the largest values of a logarithmic axis make up almost its whole range.
    Each configuration counts once, with the mean over its runs, so that the uncertainty of these
    means is ignored: importance has no intervals, unlike the effects of matched pairs. Optuna is
    imported when the function is called.
    """
    means = {
        configuration.config_id: float(sample(configuration, metric).values.mean())
        for configuration in configurations
        if configuration.config_id in points and configuration.metrics[metric]
    }
    if not axes:
        return "no axis varies"
    if len(means) < LEAST:
        return f"{len(means)} configurations, at least {LEAST} are needed"
    if np.ptp(list(means.values())) == 0.0:
        return f"{metric} is the same in all configurations"
    values_by_path = {
        axis.path: _ranked([_value(points[config_id].get(axis.path)) for config_id in means])
        for axis in axes
    }
    target = np.array(list(means.values()))
    shares = {
        "fanova": _fanova(values_by_path, target, derive_seed(seed, "fanova") % 2**31),
        "ped_anova": _ped_anova(values_by_path, target, direction),
    }
    return {
        name: dict(sorted(share.items(), key=lambda item: -item[1]))
        for name, share in shares.items()
    }


def _fanova(
    values_by_path: Mapping[str, Sequence[Scalar]], target: Values, seed: int
) -> dict[str, float]:
    """Return the fANOVA shares, normalized to a sum of 1.

    A numeric axis is one column. Any other axis is one-hot encoded, as Optuna does. A numeric axis
    with empty values, where the field has no effect, gets a second column that marks them.
    """
    columns: list[Values] = []
    axes: list[list[int]] = []
    for values in values_by_path.values():
        blank = np.array([value is None for value in values])
        numbers = _numbers(values)
        if numbers is not None:
            least = min(numbers)
            filled = [v if isinstance(v, int | float) else least for v in values]
            encoded = [np.array(filled, dtype=np.float64)]
            encoded += [blank.astype(np.float64)] if blank.any() else []
        else:
            encoded = [
                np.array([v == category for v in values], dtype=np.float64)
                for category in _kinds(values)
            ]
        axes.append(list(range(len(columns), len(columns) + len(encoded))))
        columns += encoded
    x = np.column_stack(columns)
    low, high = x.min(axis=0), x.max(axis=0)
    bounds = np.stack([low, np.where(high > low, high, low + 1.0)], axis=1)
    share = fanova(x, target, bounds, axes, seed)
    total = share.sum()
    return dict(zip(values_by_path, (share / (total if total > 0 else 1.0)).tolist(), strict=True))


def _ranked(values: Sequence[Scalar]) -> Sequence[Scalar]:
    """Return numbers as ranks, equal ones with their mean rank; other values unchanged."""
    numbers = _numbers(values)
    if numbers is None:
        return values
    counts = Counter(numbers)
    ranks: dict[int | float, float] = {}
    below = 0
    for number in sorted(counts):
        ranks[number] = below + (counts[number] + 1) / 2
        below += counts[number]
    return [ranks[v] if isinstance(v, int | float) else v for v in values]


def _ped_anova(
    values_by_path: Mapping[str, Sequence[Scalar]], target: Values, direction: Direction
) -> dict[str, float]:
    """Return the PED-ANOVA shares; Optuna supports parameters that not all trials have."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.trial import create_trial

    scales = {path: _distribution(values) for path, values in values_by_path.items()}
    numeric = {path for path, values in values_by_path.items() if _numbers(values) is not None}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # Optuna logs every new study
    try:
        study = optuna.create_study(direction="maximize" if direction == "max" else "minimize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    for row, value in enumerate(target.tolist()):
        point = {path: values[row] for path, values in values_by_path.items()}
        params = {path: v for path, v in point.items() if v is not None or path not in numeric}
        distributions = {path: scales[path] for path in params}
        study.add_trial(create_trial(params=params, distributions=distributions, value=value))
    evaluator = PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _distribution(values: Sequence[Scalar]) -> BaseDistribution:
    """Return a linear distribution for numbers, and a categorical one for all other values."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    ranks = _numbers(values)
    if ranks is None:
        return CategoricalDistribution(_kinds(values))
    return FloatDistribution(float(min(ranks)), float(max(ranks)))


def _numbers(values: Sequence[Scalar]) -> list[int | float] | None:
    """Return the values that are not empty if all of them are numbers, else None."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    known = sum(value is not None for value in values)
    return numbers if numbers and len(numbers) == known else None


def _kinds(values: Sequence[Scalar]) -> list[Scalar]:
    """Return the distinct values, sorted by type and text because types can be mixed."""
    return sorted(dict.fromkeys(values), key=lambda value: (str(type(value)), str(value)))


def _value(value: SettingValue) -> Scalar:
    """Return a value that Optuna accepts; lists become text."""
    if value is None or isinstance(value, str | int | float):
        return value
    return canonical_json(value)
