"""Executor of sweeps: one Tune experiment per step of a sweep, in one Ray cluster."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

from clmethods.config import ConfigIssue
from sweeps.definition import Resources, TrialSpec
from sweeps.execution.cluster.cluster_watch import ClusterWatch
from sweeps.execution.cluster.connection import ray_cluster
from sweeps.execution.cluster.nodes import Nodes
from sweeps.execution.exit_codes import (
    FAILED,
    INTERRUPTED,
    INTERRUPTED_TEXT,
    STOPPED_TEXT,
    exit_code_line,
)
from sweeps.execution.failures.worker_failures import WorkerFailures
from sweeps.execution.progress import Progress
from sweeps.execution.resources.gpu_measurement import DriverCallbacks
from sweeps.execution.resources.gpu_memory import GpuProbe, TorchProbe
from sweeps.execution.resources.reservations import Reservations
from sweeps.execution.resources.trial_resources import Demand, Slots, cpus_for, demand_of
from sweeps.execution.signals import draining
from sweeps.execution.worker.notices import Notices
from sweeps.planning.plan import Plan
from sweeps.planning.spending import Spending
from sweeps.results.event_kinds import (
    Halted,
    HeadLost,
    Notice,
    Planned,
    StageDone,
    TrialEnded,
)
from sweeps.results.events import EventLog
from sweeps.stages.leases import Lease, LeaseTable, LeaseWatch
from sweeps.stages.stage_rows import is_complete
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import Ending, MissingStagesError, record_trial

if TYPE_CHECKING:
    from sweeps.execution.backlog import Backlog
    from sweeps.execution.tune.scheduler import StageScheduler

HEAD_LOST = (
    "the Ray cluster is lost: its head does not answer any more. What is stored is whole; on a "
    "cluster that is up, the same command continues"
)

RELEASE_S = 5.0
"""Seconds that a driver without a cluster waits until a beat of its lease is written."""

UNREACHABLE = (
    "the storage could not be reached; what is stored is whole, and the same command continues"
)


@final
class SweepExecutor:
    """Runs the steps of a sweep in one Ray cluster, each as a Tune experiment.

    If no trial waits for a worker, Tune keeps at most one worker, even if a searcher could suggest
    more trials. Therefore workers start again in each step, and a lazy searcher would save almost
    none of these starts.
    """

    def __init__(
        self,
        plan: Plan,
        store: StageStore,
        todo: Sequence[TrialSpec],
        progress: Progress,
        time_to_live_s: float,
        backlog: Backlog | None = None,
        spending: Spending | None = None,
        events: EventLog | None = None,
        probe: GpuProbe | None = None,
        presence: Lease | None = None,
    ) -> None:
        """`backlog`: source of further steps; without it there is only one step.

        `probe`: measurement of GPU memory. `presence`: lease that shows the driver to others.
        """
        self.store, self.progress = store, progress
        self.spending = spending or Spending(gpus=plan.sweep.resources.gpus or 0.0)
        self.budget_used: str | None = None
        self.leases = LeaseTable(store.objects, time_to_live_s)
        self.events = events or EventLog(store.objects, plan.sweep.name, uuid.uuid4().hex[:12])
        # the run id is a readable name; the UUID makes it unique
        self.owner = f"{self.events.run}.{uuid.uuid4().hex}"
        self.failed: dict[str, str] = {}
        self.failures = WorkerFailures(plan.sweep.retries)
        self.nodes = Nodes()
        self._backlog = backlog
        self._presence = presence
        self._probe = probe or TorchProbe()
        self._reservations: Reservations | None = None
        self._begin(plan, todo)
        self._cpus = cpus_for(todo, plan.sweep.resources) if plan.step.finished else None
        self._local = True
        self._notices = Notices(self.owner)
        self._watch = ClusterWatch(
            store.objects, plan.sweep.name, self.nodes, progress, self.events, self._head_lost
        )
        self._scheduler: StageScheduler | None = None
        self.halted = ""
        self.stop_now = False
        """Set by a signal, because the KeyboardInterrupt that the signal raised may be lost."""

    def run(self, address: str | None) -> bool:
        """Train the remaining stages; return True if the run was interrupted."""
        self._local = address is None
        with (
            draining(self._drain),
            ray_cluster(address, self._cpus),
            draining(self._drain),  # again, because Ray has replaced the signal handlers
            self._watch.watching(self._local, self.todo, self.plan.sweep.resources),
            self.progress,
        ):
            self.events.flush(force=True)  # `sweeps status` shows the nodes from now on
            reservations = self._reservations = self._reserved()
            while True:
                self._use(reservations.begin(self.todo))
                self.check_interruption()
                if self.halted or self.budget_used is not None or self._fit(reservations):
                    return True
                self._scheduler = None
                todo = self._backlog.take() if self._backlog else []
                if not self._backlog or not todo:
                    return False
                self._begin(self._backlog.plan, todo)

    def tick(self) -> None:
        """Do periodic work while trials run. Tune calls this at every turn."""
        self.check_interruption()
        for sentence in self._notices.collect():
            self.progress.say(sentence)
            self.events.add(Notice(text=sentence))
        self._watch.look()
        if self._reservations is not None:
            self._reservations.look()
        self.events.flush()
        self.progress.tick()

    def check_interruption(self) -> None:
        """Raise KeyboardInterrupt after a signal, because Python drops it in some places."""
        if self.stop_now:
            raise KeyboardInterrupt

    def halt(self, reason: str) -> None:
        """Let the running stages finish and start no others, because they could not succeed."""
        self.halted = reason
        self.events.add(Halted(reason=reason))
        if self._scheduler is not None:
            self._scheduler.draining = True

    def leave_out_node(self, node_id: str) -> None:
        """Keep trials from a node whose worker did not find the storage of this run."""
        self._watch.leave_out(node_id)

    def other_versions(self, node_id: str, host: str, error: str) -> None:
        """Keep trials from a node whose software differs from that of the driver."""
        self._watch.leave_out(node_id, ConfigIssue("node", host, "the same software", error))

    def storage_unreachable(self, node_id: str, host: str, error: str) -> None:
        """Exclude a node whose worker could not reach the storage in time, or end the run."""
        issue = ConfigIssue("node", host, "a node that reaches the storage of this run", error)
        if not self._watch.reaches_storage() or not self._watch.leave_out(node_id, issue):
            self.halt(f"{UNREACHABLE} ({host}: {error})")

    def gpu_too_small(self, node_id: str, host: str, error: str) -> None:
        """Exclude a node if a share of its GPU is less than a trial needs."""
        hint = f"{error}. Set resources.gpu to a larger share, or resources.gpu_type"
        issue = ConfigIssue("node", host, "a node with enough GPU memory", hint)
        if not self._watch.leave_out(node_id, issue):
            self.halt(f"{error}. Set resources.gpu to a larger share")

    def spend(self, seconds: float) -> None:
        """Count a trained stage; start no other one if it used up the budget."""
        self.spending = self.spending.with_stage(seconds)
        self._check_budget()

    def stage_done(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Record and count the stage of a step's result, if the step computed one."""
        if result["outcome"] in ("trained", "evaluated"):
            self.events.add(
                StageDone(
                    trial=trial_id,
                    key=result["key"],
                    position=result["position"] - 1,
                    outcome=result["outcome"],
                    seconds=round(result["seconds"], 3),
                    node=result["host"],
                    gpus=result["gpus"],
                )
            )
        if result["outcome"] == "trained":
            self.progress.tally.trained += 1
            self.progress.tally.stage_seconds += result["seconds"]
            self.spend(result["seconds"])

    def ended(self, trial: TrialSpec, ending: Ending) -> None:
        """Write the row of an ended attempt and count it. A second call for it does nothing."""
        if trial.trial_id in self._ended:
            return
        self._ended.add(trial.trial_id)
        try:
            record_trial(self.store, self.plan.sweep, trial, self.plan.next_attempt(trial), ending)
        except MissingStagesError as error:  # without a row, the next run continues the trial
            self.progress.tally.failed += 1
            self.failed[trial.trial_id] = str(error)
            self.progress.say(f"not finished: {trial.name}: {error}")
            return
        self.events.add(
            TrialEnded(
                trial=trial.trial_id,
                name=trial.name,
                status=ending.status,
                stages=ending.stages_done,
                error_kind=ending.error_kind,
                error=ending.error,
                node=ending.node,
            )
        )
        if ending.status == "finished":
            self.failed.pop(trial.trial_id, None)
            self.progress.tally.finished += 1
            self.spending = self.spending.with_trial()
            self._check_budget()
        elif ending.status == "failed":
            self.progress.tally.failed += 1
            self.failed[trial.trial_id] = ending.error or "unknown"
            self.progress.say(f"failed: {trial.name}: {ending.error}")

    def _begin(self, plan: Plan, todo: Sequence[TrialSpec]) -> None:
        self.plan, self.todo = plan, todo
        self.trials: Mapping[str, TrialSpec] = {t.trial_id: t for t in todo}
        self._ended: set[str] = set()
        self.events.add(
            Planned(
                step=plan.step.number,
                title=plan.step.title,
                trials=len(plan.trials),
                todo=len(todo),
                stages=plan.tree.distinct,
                stored=len(plan.stored),
            )
        )

    def _drain(self) -> bool:
        """Stop when the running stages are finished; return False to stop at once.

        The result is False if no stage can finish, or at the second call.
        """
        if self._scheduler is None or self._scheduler.draining:
            self.stop_now = True
            return False
        self._scheduler.draining = True
        return True

    def _check_budget(self) -> None:
        reached = self.spending.reached(self.plan.sweep.budget)
        if reached is None or (self._scheduler is not None and self._scheduler.draining):
            return
        self.budget_used = reached
        if self._scheduler is not None:
            self._scheduler.draining = True
        self.progress.say(f"the budget is used up ({reached}); the running stages are finished")

    def _head_lost(self) -> None:
        """End the process: every call to Ray would wait for a minute and then abort it."""
        drained = self._scheduler is not None and self._scheduler.draining
        self.progress.close()
        self.progress.say(HEAD_LOST)
        self.events.add(HeadLost())
        self.events.flush(force=True)
        if self._presence is not None:
            self._presence.release(RELEASE_S)
        interrupted = drained or self.stop_now
        code = INTERRUPTED if interrupted else FAILED
        self.progress.say(exit_code_line(code, INTERRUPTED_TEXT if interrupted else STOPPED_TEXT))
        os._exit(code)

    def _fit(self, reservations: Reservations) -> bool:
        from ray import tune

        from sweeps.execution.tune.callback import NoTuneOutput, StopWhenDrained, SweepCallback
        from sweeps.execution.tune.discarding_filesystem import discarding_filesystem
        from sweeps.execution.tune.loggers import loggers
        from sweeps.execution.tune.param_space import space, trial_id
        from sweeps.execution.tune.scheduler import StageScheduler
        from sweeps.execution.tune.trial_errors import TrialErrors
        from sweeps.execution.worker.trainable import StageTrainable, resources_of

        scheduler = self._scheduler = StageScheduler(
            {t.trial_id: self.plan.tree.chains[t.trial_id] for t in self.todo},
            lambda trial, key: is_complete(self.store, self.trials[trial], key),
            LeaseWatch(self.leases),
            self.owner,
            reservations.slots,
            known=self.plan.complete,
        )
        errors = TrialErrors()
        tuner = tune.Tuner(
            tune.with_resources(StageTrainable, resources_of),
            param_space=space(self.trials, self._message),
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
                failure_config=tune.FailureConfig(max_failures=-1),  # `failures` counts them
                callbacks=[
                    SweepCallback(self, scheduler, errors),
                    NoTuneOutput(),
                    *loggers(self.plan.sweep, self.store, self.trials, self.progress.say),
                ],
            ),
        )
        with errors:
            tuner.fit()
        return bool(scheduler.draining)

    def _message(self, trial: TrialSpec, demand: Demand | None = None) -> dict[str, Any]:
        from sweeps.execution.tune.scheduler import owner_of

        demand = demand or demand_of(trial, self.plan.sweep.resources)
        return {
            "trial": trial.to_json(),
            "stages": len(self.plan.tree.chains[trial.trial_id]),
            "sweep": self.plan.sweep.name,
            "storage": self.store.objects.location,
            "options": self.store.objects.options.to_json(),
            "proof": self._watch.proof,
            "run_id": self.owner,
            "owner": owner_of(self.owner, trial.trial_id),
            "time_to_live_s": self.leases.time_to_live_s,
            "objectives": list(self.plan.sweep.objectives),
            "demand": demand.amounts,
            "gpu_types": list(demand.gpu_types),
            "gpu_bytes": self._reservations.gpu_bytes if self._reservations else 0,
        }

    def _reserved(self) -> Reservations:
        resources = self.plan.sweep.resources
        callbacks = DriverCallbacks(
            message=self._message,
            needs_training=self._needs_training,
            step_done=self._measured,
            worker_lost=self._release,
            wait=self.tick,
            say=self.progress.say,
            event=self.events.add,
        )
        slots = Slots(resources, limited_cluster=self._local and self._cpus is not None)
        return Reservations(
            resources, self.store.objects, self.nodes, self._probe, callbacks, slots, self._local
        )

    def _use(self, resources: Resources) -> None:
        """Use decided resources for planning and counting."""
        if resources == self.plan.sweep.resources:
            return
        self.plan = replace(self.plan, sweep=replace(self.plan.sweep, resources=resources))
        if self._backlog is not None:
            self._backlog.use(resources)
        self.spending = replace(self.spending, gpus=resources.gpus or 0.0)
        self._check_budget()

    def _needs_training(self, trial: TrialSpec) -> bool:
        return not set(self.plan.tree.chains[trial.trial_id]) <= self.plan.stored

    def _measured(self, trial: TrialSpec, result: Mapping[str, Any]) -> None:
        """Count a step that was measured."""
        if result["notes"]:
            self.progress.say(result["notes"])
        if result["outcome"] == "halted":
            self.halt(result["error"])
        self.stage_done(trial.trial_id, result)

    def _release(self, trial: TrialSpec) -> None:
        """Release the lease of a lost worker, so that no driver waits until it expires."""
        from sweeps.execution.tune.scheduler import owner_of

        for key in self.plan.tree.chains[trial.trial_id]:
            if not self.store.has(key):
                self.leases.expire_owned(key, owner_of(self.owner, trial.trial_id))
                return
