"""Experiment of Tune: the trials of one step of a sweep."""

from __future__ import annotations

from collections.abc import Callable

from ray import tune

from sweeps.definition import TrialSpec
from sweeps.execution.tune.callback import NoTuneOutput, Run, StopWhenDrained, SweepCallback
from sweeps.execution.tune.discarding_filesystem import discarding_filesystem
from sweeps.execution.tune.param_space import space, trial_id
from sweeps.execution.tune.scheduler import StageScheduler
from sweeps.execution.tune.trial_errors import TrialErrors
from sweeps.execution.worker.trainable import StageTrainable, resources_of
from sweeps.execution.worker.trial_message import TrialMessage


def run_experiment(
    run: Run,
    scheduler: StageScheduler,
    message: Callable[[TrialSpec], TrialMessage],
    loggers: list[tune.Callback],
) -> bool:
    """Run the trials of `run`; return True if the scheduler is draining.

    `message`: what a worker receives for a trial. Tune keeps no state: the stage store is the
    system of record.
    """
    with TrialErrors() as errors:
        tuner = tune.Tuner(
            tune.with_resources(StageTrainable, resources_of),
            param_space=space(run.trials, message),
            tune_config=tune.TuneConfig(
                scheduler=scheduler,
                reuse_actors=True,
                trial_name_creator=trial_id,
                trial_dirname_creator=trial_id,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path="discarded",
                storage_filesystem=discarding_filesystem(),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
                stop=StopWhenDrained(scheduler),
                failure_config=tune.FailureConfig(max_failures=-1),  # `run.failures` counts them
                callbacks=[SweepCallback(run, scheduler, errors), NoTuneOutput(), *loggers],
            ),
        )
        tuner.fit()
    return bool(scheduler.draining)
