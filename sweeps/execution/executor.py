"""Executor of sweeps: one Tune experiment per step of a sweep, in one Ray cluster."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from sweeps.definition import Resources, TrialSpec
from sweeps.execution.backlog import Backlog
from sweeps.execution.cluster.cluster_watch import ClusterWatch
from sweeps.execution.cluster.connection import ray_cluster
from sweeps.execution.cluster.nodes import Nodes
from sweeps.execution.exit_codes import (
    INTERRUPTED_TEXT,
    STOPPED_TEXT,
    ExitCode,
    exit_code_line,
)
from sweeps.execution.failures.worker_failures import WorkerFailures
from sweeps.execution.progress import Progress
from sweeps.execution.resources.gpu_measurement import DriverCallbacks
from sweeps.execution.resources.gpu_memory import GpuProbe, TorchProbe
from sweeps.execution.resources.reservations import Reservations
from sweeps.execution.resources.trial_resources import Demand, Slots, cpus_for, demand_of
from sweeps.execution.run_accounting import Accounting
from sweeps.execution.signals import draining
from sweeps.execution.worker.notices import Notices
from sweeps.execution.worker.trial_message import StepResult, TrialMessage, owner_of
from sweeps.planning.driver_lock import Presence
from sweeps.planning.plan import Plan
from sweeps.planning.spending import Spending
from sweeps.results.event_kinds import Halted, HeadLost, Notice
from sweeps.results.events import EventLog
from sweeps.stages.lease_watch import LeaseWatch
from sweeps.stages.leases import TIME_TO_LIVE_S, LeaseTable
from sweeps.stages.stage_rows import is_complete

if TYPE_CHECKING:
    from sweeps.execution.tune.scheduler import StageScheduler

HEAD_LOST = (
    "the Ray cluster is lost: its head does not answer any more. What is stored is whole; on a "
    "cluster that is up, the same command continues"
)

RELEASE_S = 5.0
"""Seconds that a driver without a cluster waits until a beat of its lease is written."""


@final
class SweepExecutor:
    """Runs the steps of a sweep in one Ray cluster, each as a Tune experiment.

    If no trial waits for a worker, Tune keeps at most one worker, even if a searcher could suggest
    more trials. Therefore workers start again in each step, and a lazy searcher would save almost
    none of these starts.
    """

    def __init__(
        self,
        backlog: Backlog,
        todo: Sequence[TrialSpec],
        time_to_live_s: float = TIME_TO_LIVE_S,
        spending: Spending | None = None,
        events: EventLog | None = None,
        probe: GpuProbe | None = None,
        presence: Presence | None = None,
    ) -> None:
        """`backlog`: all steps; `todo`: the trials of the first one, taken from the backlog.

        `probe`: measurement of GPU memory. `presence`: shows the driver to others.
        """
        store, plan = backlog.store, backlog.plan
        self.store, self.progress = store, Progress(backlog.tally)
        self.budget_used: str | None = None
        self.leases = LeaseTable(store.objects, time_to_live_s)
        self.events = events or EventLog(store.objects, plan.sweep.name, uuid.uuid4().hex[:12])
        # the run id is a readable name; the UUID makes it unique
        self.owner = f"{self.events.run}.{uuid.uuid4().hex}"
        self.account = Accounting(
            backlog.record,
            self.progress,
            self.events,
            spending or Spending(gpus=plan.sweep.resources.gpus or 0.0),
            self._budget_reached,
        )
        self.failures = WorkerFailures(plan.sweep.retries)
        self.nodes = Nodes()
        self._backlog = backlog
        self._presence = presence
        self._probe = probe or TorchProbe()
        self._reservations: Reservations | None = None
        self._scheduler: StageScheduler | None = None
        self._begin(todo)
        self._cpus = cpus_for(todo, plan.sweep.resources) if plan.step.finished else None
        self._local = True
        self._notices = Notices(self.owner)
        self.watch = ClusterWatch(
            store.objects,
            plan.sweep.name,
            self.nodes,
            self.progress,
            self.events,
            self._head_lost,
            self.halt,
        )
        self.halted = ""
        self.stop_now = False
        """Set by a signal, because the KeyboardInterrupt that the signal raised may be lost."""

    def run(self, address: str | None) -> bool:
        """Train the stages of all steps; return True if the run has to end before the last one."""
        with self.connected(address):
            while self.run_step():
                todo = self._backlog.take()
                if not todo:
                    return False
                self._begin(todo)
            return True

    @contextmanager
    def connected(self, address: str | None) -> Iterator[None]:
        """Connect to Ray during the block, watch the cluster, and handle signals."""
        self._local = address is None
        where = "on this machine" if address is None else f"of the cluster {address}"
        self.progress.say(f"{'starting' if address is None else 'connecting to'} Ray {where}")
        with (
            draining(self._drain),
            ray_cluster(address, self._cpus),
            draining(self._drain),  # again, because Ray has replaced the signal handlers
            self.watch.watching(self._local, self.todo, self.plan.sweep.resources),
            self.progress,
        ):
            self.progress.say(
                "Ray is ready; workers load PyTorch, the backbone and the data before their first "
                "stage"
            )
            self.events.flush(force=True)  # `sweeps status` shows the nodes from now on
            self._reservations = self._reserved()
            yield

    def run_step(self) -> bool:
        """Train the trials of the current step; return False if no further step may start."""
        if self._reservations is None:
            raise RuntimeError("a step needs the cluster of `connected`")
        self._use(self._reservations.begin(self.todo))
        self.check_interruption()
        if self.halted or self.budget_used is not None or self._fit(self._reservations):
            return False
        self._scheduler = None
        return True

    def tick(self) -> None:
        """Do periodic work while trials run. Tune calls this at every turn."""
        self.check_interruption()
        for sentence in self._notices.collect():
            self.progress.say(sentence)
            self.events.add(Notice(text=sentence))
        self.watch.look()
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

    @property
    def plan(self) -> Plan:
        """Plan of the current step."""
        return self._backlog.plan

    def _begin(self, todo: Sequence[TrialSpec]) -> None:
        self.todo = todo
        self.trials: Mapping[str, TrialSpec] = {t.trial_id: t for t in todo}
        self.account.begin(self.plan, len(todo))

    def _drain(self) -> bool:
        """Stop when the running stages are finished; return False to stop at once.

        The result is False if no stage can finish, or at the second call.
        """
        if self._scheduler is None or self._scheduler.draining:
            self.stop_now = True
            return False
        self._scheduler.draining = True
        return True

    def _budget_reached(self, limit: str) -> None:
        """Start no further stages; the running ones finish."""
        if self._scheduler is not None and self._scheduler.draining:
            return
        self.budget_used = limit
        if self._scheduler is not None:
            self._scheduler.draining = True
        self.progress.say(f"the budget is used up ({limit}); the running stages are finished")

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
        code = ExitCode.INTERRUPTED if interrupted else ExitCode.FAILED
        self.progress.say(exit_code_line(code, INTERRUPTED_TEXT if interrupted else STOPPED_TEXT))
        os._exit(code)

    def _fit(self, reservations: Reservations) -> bool:
        from sweeps.execution.tune.experiment import run_experiment
        from sweeps.execution.tune.fail_safe_logger import loggers
        from sweeps.execution.tune.scheduler import StageScheduler

        scheduler = self._scheduler = StageScheduler(
            {t.trial_id: self.plan.tree.chains[t.trial_id] for t in self.todo},
            lambda trial, key: is_complete(self.store, self.trials[trial], key),
            LeaseWatch(self.leases),
            self.owner,
            reservations.slots,
            known=self.plan.complete,
        )
        external = loggers(self.plan.sweep, self.store, self.trials, self.progress.say)
        return run_experiment(self, scheduler, self._message, [*external])

    def _message(self, trial: TrialSpec, demand: Demand | None = None) -> TrialMessage:
        demand = demand or demand_of(trial, self.plan.sweep.resources)
        return {
            "trial": trial.to_json(),
            "stages": len(self.plan.tree.chains[trial.trial_id]),
            "sweep": self.plan.sweep.name,
            "storage": self.store.objects.location,
            "options": self.store.objects.options.to_json(),
            "proof": self.watch.proof,
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
        self._backlog.use(resources)
        self.account.use(self.plan, resources)

    def _needs_training(self, trial: TrialSpec) -> bool:
        return not set(self.plan.tree.chains[trial.trial_id]) <= self.plan.stored

    def _measured(self, trial: TrialSpec, result: StepResult) -> None:
        """Count a step that was measured."""
        if result["notes"]:
            self.progress.say(result["notes"])
        if result["outcome"] == "halted":
            self.halt(result["error"])
        self.account.stage_done(trial.trial_id, result)

    def _release(self, trial: TrialSpec) -> None:
        """Release the lease of a lost worker, so that no driver waits until it expires."""
        for key in self.plan.tree.chains[trial.trial_id]:
            if not self.store.has(key):
                self.leases.expire_owned(key, owner_of(self.owner, trial.trial_id))
                return
