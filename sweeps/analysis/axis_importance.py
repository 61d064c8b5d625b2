"""How much each axis matters over the whole search, by Optuna's evaluators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clmethods.config.canonical import canonical_json, derive_seed
from clmethods.metrics import Direction
from sweeps.analysis.effects import Axis, Point
from sweeps.analysis.replicates import Replicates, sample

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

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

    `fanova` is the share of the variance of a forest's prediction (Hutter et al. 2014);
    `ped_anova` tells what matters for being among the best tenth (Watanabe et al. 2023). Every
    configuration counts once, with the mean over its runs, which hides how sure it is: the
    matched effects have intervals, these have none. Optuna is imported here, when it is asked.
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
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
    from optuna.trial import create_trial

    scales = {axis.path: _distribution(axis) for axis in axes}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study
    try:
        study = optuna.create_study(direction="maximize" if direction == "max" else "minimize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    for config_id, mean in means.items():
        values = {axis.path: _value(points[config_id].get(axis.path)) for axis in axes}
        study.add_trial(create_trial(params=values, distributions=scales, value=mean))
    evaluators = {
        "fanova": FanovaImportanceEvaluator(seed=derive_seed(seed, "fanova") % 2**31),
        "ped_anova": PedAnovaImportanceEvaluator(),
    }
    return {
        name: dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
        for name, evaluator in evaluators.items()
    }


def _distribution(axis: Axis) -> BaseDistribution:
    """Numbers on a line, as their values are; everything else as categories."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = [_value(value) for value in axis.values]
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return IntDistribution(min(values), max(values))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return FloatDistribution(float(min(values)), float(max(values)))
    return CategoricalDistribution(values)


def _value(value: Any) -> Any:
    """A value as Optuna holds it; lists become text."""
    return canonical_json(value) if isinstance(value, list | dict) else value
