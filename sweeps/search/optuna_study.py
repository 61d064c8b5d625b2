"""The study of a sweep as Optuna's own file, made from the results, for tools that read one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clmethods.canonical import canonical_json
from sweeps.definition.space.axes import Axis
from sweeps.definition.sweep import Configuration, Sweep
from sweeps.definition.trials import trials_of
from sweeps.search.controller import next_step
from sweeps.search.observations import mean_objectives
from sweeps.search.proposals import Outcome, Proposer, create_study, quiet
from sweeps.search.step import Observed, Request, Step
from sweeps.search.stored_observations import StoredObservations
from sweeps.storage import ObjectStore

if TYPE_CHECKING:
    import optuna


def write_study(sweep: Sweep, objects: ObjectStore, file: Path) -> int:
    """Write the study of a sweep to a journal file of Optuna; how many trials it has.

    A trial of the study is a proposal, or a configuration where there is no model; its values are
    the means of the objectives over orders and seeds. Of a single objective, its mean after each
    task is there too, as Optuna's intermediate values. The file is a copy: nothing reads it back.
    """
    observed = StoredObservations(sweep, objects)
    step = next_step(sweep, observed)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    try:
        with quiet():
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            storage = JournalStorage(JournalFileBackend(str(beside)))
        if sweep.algorithm.learns:
            study = _replayed(sweep, step, observed, storage)
        else:
            study = _listed(sweep, step, observed, storage)
        count = len(study.trials)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    return count


def _replayed(sweep: Sweep, step: Step, observed: Observed, storage: Any) -> optuna.Study:
    """Asked and told as the sweep did it; the open batch is running.

    Values on the way are added to a copy: the model was not told them.
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
    labelled = {c.label: c for batch in step.batches for c in batch.new}
    for trial in proposer.study.trials:
        configuration = labelled.get(trial.user_attrs.get("configuration", ""))
        seen = _on_the_way(sweep, configuration, observed) if configuration else {}
        with quiet():
            study.add_trial(
                optuna.create_trial(
                    state=trial.state,
                    values=trial.values,
                    params=trial.params,
                    distributions=trial.distributions,
                    user_attrs=trial.user_attrs,
                    intermediate_values=seen | trial.intermediate_values,
                )
            )
    return study


def _listed(sweep: Sweep, step: Step, observed: Observed, storage: Any) -> optuna.Study:
    """One trial per configuration that was searched, in the sequence of the file."""
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
        with quiet():
            study.add_trial(
                optuna.create_trial(
                    state=state,
                    values=list(outcome.values) if outcome and outcome.values else None,
                    params={path: _shown(factors[path]) for path in factors},
                    distributions={path: kinds[path] for path in factors},
                    user_attrs={"configuration": configuration.label},
                    intermediate_values=_on_the_way(sweep, configuration, observed),
                )
            )
    return study


def _outcome(sweep: Sweep, configuration: Configuration, observed: Observed) -> Outcome | None:
    """The mean over all runs; None while some of them are missing."""
    stages = configuration.run.stages
    found = [observed(Request(trial, stages)) for trial in trials_of(sweep, [configuration])]
    seen = [observation for observation in found if observation is not None]
    if len(seen) < len(found):
        return None
    return Outcome(values=mean_objectives(seen, stages, list(sweep.objectives)))


def _on_the_way(
    sweep: Sweep, configuration: Configuration, observed: Observed
) -> dict[int, float]:
    """The mean of a single objective after each task, as far as all runs have come."""
    if len(sweep.objectives) > 1:
        return {}  # Optuna has intermediate values for one objective only
    found: dict[int, float] = {}
    trials = trials_of(sweep, [configuration])
    for stages in range(1, configuration.run.stages + 1):
        seen = [observed(Request(trial, stages)) for trial in trials]
        known = [observation for observation in seen if observation is not None]
        if len(known) < len(trials):
            break
        means = mean_objectives(known, stages, list(sweep.objectives))
        if means is not None:
            found[stages] = means[0]
    return found


def _distributions(
    axes: Sequence[Axis], configurations: Sequence[Configuration]
) -> dict[str, optuna.distributions.BaseDistribution]:
    """Ranges as the file says them, and all that occurs of everything else."""
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found: dict[str, BaseDistribution] = {}
    for axis in axes:
        if axis.scale == "integer":
            found[axis.path] = IntDistribution(*axis.values)
        elif axis.scale in {"uniform", "log"}:
            low, high = axis.values
            found[axis.path] = FloatDistribution(low, high, log=axis.scale == "log")
    values: dict[str, list[Any]] = {}
    for configuration in configurations:
        for path, value in configuration.factors.items():
            known = values.setdefault(path, [])
            if _shown(value) not in known:
                known.append(_shown(value))
    for path, choices in values.items():
        found.setdefault(path, CategoricalDistribution(choices))
    return found


def _shown(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else canonical_json(value)
