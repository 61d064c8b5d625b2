"""How much each axis matters over the whole search: fANOVA and PED-ANOVA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clmethods.canonical import canonical_json, derive_seed
from clmethods.metrics import Direction
from sweeps.analysis.effects.axis_effects import Axis, Point
from sweeps.analysis.runs.replicates import Replicates, sample
from sweeps.statistics.fanova import fanova

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Values = npt.NDArray[np.float64]

LEAST = 8
"""Configurations below which no importance is estimated."""


def axis_importance(
    found: Sequence[Replicates],
    points: Mapping[str, Point],
    axes: Sequence[Axis],
    metric: str,
    direction: Direction,
    *,
    seed: int = 0,
) -> dict[str, dict[str, float]] | str:
    """Shares by evaluator and axis, each summing to 1; or why there are none.

    `fanova` is the share of the variance of a forest's prediction (`sweeps.statistics.fanova`);
    `ped_anova`, by Optuna, tells what matters for being among the best tenth (Watanabe et al.
    2023). Every configuration counts once, with the mean over its runs, which hides how sure it
    is: the matched effects have intervals, these have none. Optuna is imported here, when asked.
    """
    means = {
        one.config_id: float(sample(one, metric).values.mean())
        for one in found
        if one.config_id in points and one.metrics[metric]
    }
    if not axes:
        return "no axis varies"
    if len(means) < LEAST:
        return f"{len(means)} configurations, {LEAST} are needed"
    if np.ptp(list(means.values())) == 0.0:
        return f"{metric} is the same everywhere"
    held = {
        axis.path: [_value(points[config_id].get(axis.path)) for config_id in means]
        for axis in axes
    }
    target = np.array(list(means.values()))
    shares = {
        "fanova": _fanova(held, target, derive_seed(seed, "fanova") % 2**31),
        "ped_anova": _ped_anova(held, target, direction),
    }
    return {
        name: dict(sorted(share.items(), key=lambda item: -item[1]))
        for name, share in shares.items()
    }


def _fanova(held: Mapping[str, Sequence[Any]], target: Values, seed: int) -> dict[str, float]:
    """Numbers are a column as they are, everything else has a column per value, as Optuna does.

    Where a number is blank, because the field does not act, a second column says so.
    """
    columns: list[Values] = []
    axes: list[list[int]] = []
    for values in held.values():
        blank = np.array([value is None for value in values])
        if _numeric(values):
            least = min(value for value in values if value is not None)
            own = [np.array([least if v is None else v for v in values], dtype=np.float64)]
            own += [blank.astype(np.float64)] if blank.any() else []
        else:
            own = [
                np.array([v == one for v in values], dtype=np.float64) for one in _kinds(values)
            ]
        axes.append(list(range(len(columns), len(columns) + len(own))))
        columns += own
    x = np.column_stack(columns)
    low, high = x.min(axis=0), x.max(axis=0)
    bounds = np.stack([low, np.where(high > low, high, low + 1.0)], axis=1)
    share = fanova(x, target, bounds, axes, seed)
    total = share.sum()
    return dict(zip(held, (share / (total if total > 0 else 1.0)).tolist(), strict=True))


def _ped_anova(
    held: Mapping[str, Sequence[Any]], target: Values, direction: Direction
) -> dict[str, float]:
    """A number that is blank is left out: Optuna knows parameters that not all trials have."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.trial import create_trial

    scales = {path: _distribution(values) for path, values in held.items()}
    numeric = {path for path, values in held.items() if _numeric(values)}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study
    try:
        study = optuna.create_study(direction="maximize" if direction == "max" else "minimize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    for row, value in enumerate(target.tolist()):
        point = {path: values[row] for path, values in held.items()}
        params = {path: v for path, v in point.items() if v is not None or path not in numeric}
        own = {path: scales[path] for path in params}
        study.add_trial(create_trial(params=params, distributions=own, value=value))
    evaluator = PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    """Numbers on a line, as their values are; everything else as categories."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not _numeric(values):
        return CategoricalDistribution(_kinds(values))
    numbers = [value for value in values if value is not None]
    if all(isinstance(value, int) for value in numbers):
        return IntDistribution(min(numbers), max(numbers))
    return FloatDistribution(float(min(numbers)), float(max(numbers)))


def _numeric(values: Sequence[Any]) -> bool:
    """Whether all that are not blank are numbers."""
    numbers = [v for v in values if v is not None]
    return bool(numbers) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in numbers
    )


def _kinds(values: Sequence[Any]) -> list[Any]:
    """The different ones, in the order of their text: a mix of types has no other."""
    return sorted(dict.fromkeys(values), key=lambda value: (str(type(value)), str(value)))


def _value(value: Any) -> Any:
    """A value as Optuna holds it; lists become text."""
    return canonical_json(value) if isinstance(value, list | dict) else value
