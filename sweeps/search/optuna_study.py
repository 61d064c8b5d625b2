"""Export of a sweep as an Optuna study file, for tools that read such files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.definition.configuration import Configuration
from sweeps.definition.space.axes import Axis
from sweeps.definition.sweep import Sweep
from sweeps.definition.trials import trials_of
from sweeps.search.controller import next_step
from sweeps.search.observations import mean_objectives
from sweeps.search.proposals import (
    Outcome,
    Proposer,
    categorical_value,
    create_study,
    without_optuna_messages,
)
from sweeps.search.search_state import Observed, Request, Step
from sweeps.search.stored_observations import StoredObservations
from sweeps.storage import ObjectStore

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage


def write_study(sweep: Sweep, objects: ObjectStore, file: Path) -> tuple[int, Mapping[str, str]]:
    """Write a sweep to an Optuna journal file.

    Returns the number of trials in the study, and one sentence for each damaged object that was
    left out, by its key.

    A trial of the study is a proposal, or a configuration if the sweep has no model. Its values
    are the means of the objectives over orders and seeds. For a single objective, the mean after
    each task is included as Optuna's intermediate values. The file is a copy that the sweep never
    reads.
    """
    observed = StoredObservations(sweep, objects)
    step = next_step(sweep, observed)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        with without_optuna_messages():
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            storage = JournalStorage(JournalFileBackend(str(temporary)))
        if sweep.algorithm.learns:
            study = _replayed(sweep, step, observed, storage)
        else:
            study = _listed(sweep, step, observed, storage)
        count = len(study.trials)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return count, observed.left_out


def _replayed(
    sweep: Sweep, step: Step, observed: Observed, storage: BaseStorage | None
) -> optuna.Study:
    """Return the study, replayed with the batches of the sweep; the open batch is running.

    Intermediate values are added to a copy of the study, because the model did not receive them.
    """
    import optuna

    proposer = Proposer(sweep)
    while (batch := proposer.ask()) is not None:
        ids = [c.run.config_id for c in batch.new]
        if not all(config_id in step.outcomes for config_id in ids) or (
            not step.finished and batch.number == step.batches[-1].number
        ):
            break
        proposer.tell({config_id: step.outcomes[config_id] for config_id in ids})
    study = create_study(sweep, storage)
    by_label = {c.label: c for batch in step.batches for c in batch.new}
    for trial in proposer.study.trials:
        configuration = by_label.get(trial.user_attrs.get("configuration", ""))
        intermediate_values = (
            _intermediate_values(sweep, configuration, observed) if configuration else {}
        )
        with without_optuna_messages():
            study.add_trial(
                optuna.create_trial(
                    state=trial.state,
                    values=trial.values,
                    params=trial.params,
                    distributions=trial.distributions,
                    user_attrs=trial.user_attrs,
                    intermediate_values=intermediate_values | trial.intermediate_values,
                )
            )
    return study


def _listed(
    sweep: Sweep, step: Step, observed: Observed, storage: BaseStorage | None
) -> optuna.Study:
    """Return a study with one trial per searched configuration, in the order of the file."""
    import optuna
    from optuna.trial import TrialState

    study = create_study(sweep, storage)
    searched = [c for c in sweep.configurations if c.role == "search"]
    kinds = _distributions(sweep.axes, searched)
    for configuration in searched:
        outcome = step.outcomes.get(configuration.run.config_id)
        outcome = outcome or _outcome(sweep, configuration, observed)
        if outcome is None:
            state = TrialState.RUNNING
        elif outcome.values is not None:
            state = TrialState.COMPLETE
        else:
            state = TrialState.FAIL if outcome.stopped_after is None else TrialState.PRUNED
        factors = configuration.factors
        with without_optuna_messages():
            study.add_trial(
                optuna.create_trial(
                    state=state,
                    values=list(outcome.values) if outcome and outcome.values else None,
                    params={path: categorical_value(factors[path]) for path in factors},
                    distributions={path: kinds[path] for path in factors},
                    user_attrs={"configuration": configuration.label},
                    intermediate_values=_intermediate_values(sweep, configuration, observed),
                )
            )
    return study


def _outcome(sweep: Sweep, configuration: Configuration, observed: Observed) -> Outcome | None:
    """Return the mean over all runs; None while some runs are missing."""
    stages = configuration.run.stages
    observations = [
        observed(Request(trial, stages)) for trial in trials_of(sweep, [configuration])
    ]
    available = [observation for observation in observations if observation is not None]
    if len(available) < len(observations):
        return None
    return Outcome(values=mean_objectives(available, stages, list(sweep.objectives)))


def _intermediate_values(
    sweep: Sweep, configuration: Configuration, observed: Observed
) -> dict[int, float]:
    """Return the mean of a single objective after each task that all runs have completed."""
    if len(sweep.objectives) > 1:
        return {}  # Optuna supports intermediate values for one objective only
    means_by_stage: dict[int, float] = {}
    trials = trials_of(sweep, [configuration])
    for stages in range(1, configuration.run.stages + 1):
        observations = [observed(Request(trial, stages)) for trial in trials]
        available = [observation for observation in observations if observation is not None]
        if len(available) < len(trials):
            break
        means = mean_objectives(available, stages, list(sweep.objectives))
        if means is not None:
            means_by_stage[stages] = means[0]
    return means_by_stage


def _distributions(
    axes: Sequence[Axis], configurations: Sequence[Configuration]
) -> dict[str, optuna.distributions.BaseDistribution]:
    """Return ranges for axes that define them, and categories for all other fields."""
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    distributions: dict[str, BaseDistribution] = {}
    for axis in axes:
        if axis.scale == "integer":
            low, high = axis.ends
            distributions[axis.path] = IntDistribution(int(low), int(high))
        elif axis.scale in {"uniform", "log"}:
            low, high = axis.ends
            distributions[axis.path] = FloatDistribution(low, high, log=axis.scale == "log")
    values: dict[str, list[bool | int | float | str]] = {}
    for configuration in configurations:
        for path, value in configuration.factors.items():
            known = values.setdefault(path, [])
            if categorical_value(value) not in known:
                known.append(categorical_value(value))
    for path, choices in values.items():
        distributions.setdefault(path, CategoricalDistribution(choices))
    return distributions
