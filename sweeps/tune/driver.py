"""run_sweep: bring the storage to the state that a sweep wants, through Ray Tune."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from clmethods.config import Fault, InvalidConfigError
from sweeps.search.controller import next_step
from sweeps.search.stored import StoredObservations, failed_attempts
from sweeps.spec import Sweep, TrialSpec
from sweeps.spec.choosing import chosen_trials
from sweeps.stages.leases import TIME_TO_LIVE_S, LeaseTable, LeaseWatch
from sweeps.stages.materialise import is_complete, materialise_stage, mend_tables, merge_tables
from sweeps.stages.plan import Plan, make_plan
from sweeps.stages.store import StageStore
from sweeps.stages.trial_rows import Ending, record_trial
from sweeps.tune.cluster import ray_cluster
from sweeps.tune.progress import Progress, Tally
from sweeps.tune.signals import draining

if TYPE_CHECKING:
    from sweeps.tune.scheduler import StageScheduler

WORKER_FAILURES = 3
"""How often a trial is started again after its worker died. Faults of the run never are."""

LOOKAHEAD = 1.0
"""Released trials that wait for resources, per trial that has them. Tune hands a worker on to a
waiting trial only, so without one every trial would start a new process; and a trial that asks in
vain is what makes an autoscaler add a node."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOutcome:
    """What one run of a sweep did."""

    plan: Plan
    """As it was found."""
    trained: int
    """Stages that this run trained."""
    finished: int
    """Trials of the sweep that are finished now."""
    failed: tuple[tuple[str, str], ...]
    """(label with order and seed, cause) of the trials whose last attempt failed."""
    interrupted: bool
    halted: str = ""
    """Why the run ended before all was done, if it was not interrupted by anybody."""


def run_sweep(
    sweep: Sweep,
    store: StageStore,
    *,
    address: str | None = None,
    retry_failed: bool = False,
    only: Sequence[str] = (),
    time_to_live_s: float = TIME_TO_LIVE_S,
    announce: Callable[[Plan], None] = lambda plan: None,
) -> SweepOutcome:
    """Train what is missing, evaluate it, write the tables. Run again, it does nothing.

    `only` leaves out trials that none of its patterns means; see `chosen_trials`.
    """
    sweep.logging.refuse(store.objects.location)
    left = Left(sweep, store, retry_failed, only)
    announce(left.plan)
    interrupted, halted = False, ""
    while not interrupted and (todo := left.take()):
        job = Job(left.plan, store, todo, Progress(left.tally), time_to_live_s, left)
        interrupted = job.run(address)
        left.failed |= job.failed
        halted = job.halted
    merge_tables(store, sweep.name)
    names = {t.trial_id: t.name for t in left.plan.trials}
    return SweepOutcome(
        plan=left.plan_as_found(),
        trained=left.tally.trained,
        finished=left.tally.finished,
        failed=tuple((names[trial], cause) for trial, cause in left.failed.items()),
        interrupted=interrupted and not halted,
        halted=halted,
    )


@final
class Left:
    """What is left of a sweep, step by step: planned again whenever a step is over."""

    def __init__(
        self,
        sweep: Sweep,
        store: StageStore,
        retry_failed: bool = False,
        only: Sequence[str] = (),
    ) -> None:
        self.sweep, self.store, self.only = sweep, store, only
        self.tally = Tally(trials=0, stages=0, objectives=sweep.objectives)
        self.failed: dict[str, str] = {}
        """Causes by trial id, of those whose last attempt failed and that are not tried again."""
        self._mended = mend_tables(store, sweep.name)
        self._retried = failed_attempts(sweep, store.objects) if retry_failed else {}
        self._observed = StoredObservations(sweep, store.objects, self._retried)
        self._seen: set[str] = set()
        self._found: set[str] = set()
        self._taken = False
        self.plan = self._look()

    def take(self) -> list[TrialSpec]:
        """The trials of the next step of which something is missing; none if nothing is."""
        while True:
            if self._taken:
                if self.plan.step.finished:
                    return []
                before, self.plan = self.plan.step, self._look()
                if (self.plan.step.number, self.plan.step.open) == (before.number, before.open):
                    return []  # nothing came of it: what is missing is not to be had now
            self._taken = True
            todo = self._todo()
            if todo:
                return todo

    def plan_as_found(self) -> Plan:
        """The last plan, with the stages that were stored before any was trained."""
        return replace(self.plan, stored=frozenset(self._found))

    def _look(self) -> Plan:
        self._observed.refresh()
        plan = make_plan(self.sweep, self.store, next_step(self.sweep, self._observed))
        self._found |= plan.stored - self._seen
        self._seen.update(plan.tree.nodes)
        return plan

    def _todo(self) -> list[TrialSpec]:
        plan = self.plan
        chosen = chosen_trials(plan.trials, self.only)
        unread = {*plan.step.open}  # stored as it seems, but it could not be read
        done = {
            t.trial_id
            for t in plan.trials
            if plan.is_done(t)
            and (
                (plan.is_recorded(t) and not self._mended and t.trial_id not in unread)
                or self._closed(t)
            )
        }
        self._mended = False
        left = [t for t in plan.trials if t.trial_id not in done]
        skipped = [t for t in left if plan.failed_before(t) and not self._again(t)]
        todo = [t for t in left if t not in skipped and t.trial_id in chosen]
        self.failed = {t.trial_id: plan.attempts[t.trial_id].error or "unknown" for t in skipped}
        missing = {k for t in todo for k in plan.tree.chains[t.trial_id]} - plan.stored
        self.tally.trials = len(plan.trials)
        self.tally.stages = self.tally.trained + len(missing)
        self.tally.finished = sum(plan.is_whole(t) for t in plan.trials if t.trial_id in done)
        self.tally.failed = len(skipped)
        self.tally.reused = len(self._found)
        return todo

    def _again(self, trial: TrialSpec) -> bool:
        """Whether its failure is one that is to be tried again."""
        return self._retried.get(trial.trial_id) == self.plan.attempts[trial.trial_id].number

    def _closed(self, trial: TrialSpec) -> bool:
        """Write the rows of a trial all of whose stages were found; False if one is damaged."""
        plan, chain = self.plan, self.plan.tree.chains[trial.trial_id]
        if not all(materialise_stage(self.store, self.sweep.name, trial, key) for key in chain):
            return False
        stopped = trial.trial_id in plan.step.stopped
        if (plan.is_whole(trial) or stopped) and not plan.is_recorded(trial):
            ending = Ending(status="stopped" if stopped else "finished", stages_done=len(chain))
            record_trial(self.store, self.sweep, trial, plan.next_attempt(trial), ending)
        return True


@final
class Job:
    """The steps of a sweep in one Ray cluster, each of them a Tune experiment.

    Tune keeps at most one worker while no trial waits for one, whether a searcher could suggest
    more or not. So workers start anew in each step, and a lazy searcher would hardly save any.
    """

    def __init__(
        self,
        plan: Plan,
        store: StageStore,
        todo: Sequence[TrialSpec],
        progress: Progress,
        time_to_live_s: float,
        left: Left | None = None,
    ) -> None:
        """`left`: where further steps come from; without it there is one."""
        self.store, self.progress = store, progress
        self.leases = LeaseTable(store.objects, time_to_live_s)
        self.owner = uuid.uuid4().hex
        self.failed: dict[str, str] = {}
        self._left = left
        self._begin(plan, todo)
        self._cpus = self._cpus_wanted()
        self._local = True
        self._scheduler: StageScheduler | None = None
        self.halted = ""
        self.stop_now = False
        """Asked for by a signal; the KeyboardInterrupt it raised may have been lost on its way."""

    def run(self, address: str | None) -> bool:
        """Whether it was interrupted."""
        self._local = address is None
        with (
            draining(self._drain),
            ray_cluster(address, self._cpus),
            draining(self._drain),  # once more: Ray has put its own handlers in place of ours
            self.progress,
        ):
            while True:
                self._refuse_impossible()
                self.check_interruption()
                if self._fit():
                    return True
                self._scheduler = None
                todo = self._left.take() if self._left else []
                if not self._left or not todo:
                    return False
                self._begin(self._left.plan, todo)

    def _begin(self, plan: Plan, todo: Sequence[TrialSpec]) -> None:
        self.plan, self.todo = plan, todo
        self.trials: Mapping[str, TrialSpec] = {t.trial_id: t for t in todo}
        self._demands = _distinct(self._demand(trial) for trial in todo)
        self._ended: set[str] = set()

    def check_interruption(self) -> None:
        """End what was interrupted: Python drops an exception that meets it in a bad place."""
        if self.stop_now:
            raise KeyboardInterrupt

    def _drain(self) -> bool:
        """Stop once the running stages are finished; False if none can be, or if asked again."""
        if self._scheduler is None or self._scheduler.draining:
            self.stop_now = True
            return False
        self._scheduler.draining = True
        return True

    def halt(self, reason: str) -> None:
        """Let the running stages finish and start none: going on would be in vain."""
        self.halted = reason
        if self._scheduler is not None:
            self._scheduler.draining = True

    def ended(self, trial: TrialSpec, ending: Ending) -> None:
        """An attempt is over: write its row, count it. A second call for it does nothing."""
        if trial.trial_id in self._ended:
            return
        self._ended.add(trial.trial_id)
        record_trial(self.store, self.plan.sweep, trial, self.plan.next_attempt(trial), ending)
        if ending.status == "finished":
            self.progress.tally.finished += 1
        elif ending.status == "failed":
            self.progress.tally.failed += 1
            self.failed[trial.trial_id] = ending.error or "unknown"
            self.progress.say(f"failed: {trial.name}: {ending.error}")

    def _fit(self) -> bool:
        from ray import tune

        from sweeps.tune.callback import NoTuneOutput, StopWhenDrained, SweepCallback
        from sweeps.tune.loggers import loggers
        from sweeps.tune.scheduler import StageScheduler, trial_id
        from sweeps.tune.trainable import StageTrainable, resources_of

        scheduler = self._scheduler = StageScheduler(
            {t.trial_id: self.plan.tree.chains[t.trial_id] for t in self.todo},
            lambda trial, key: is_complete(self.store, self.trials[trial], key),
            LeaseWatch(self.leases),
            self.owner,
            self._slots,
            known=self.plan.complete,
        )
        trainable = tune.with_resources(StageTrainable, resources_of)
        with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
            tuner = tune.Tuner(
                trainable,
                param_space={"message": tune.grid_search([self._message(t) for t in self.todo])},
                tune_config=tune.TuneConfig(
                    scheduler=scheduler,
                    reuse_actors=True,
                    trial_name_creator=trial_id,
                    trial_dirname_creator=trial_id,
                ),
                run_config=tune.RunConfig(
                    name="sweep",
                    storage_path=scratch,
                    verbose=0,
                    stop=StopWhenDrained(scheduler),
                    failure_config=tune.FailureConfig(max_failures=WORKER_FAILURES),
                    callbacks=[
                        SweepCallback(self, scheduler),
                        NoTuneOutput(),
                        *loggers(
                            self.plan.sweep,
                            self.store.objects.location,
                            self.trials,
                            self.progress.say,
                        ),
                    ],
                ),
            )
            tuner.fit()
        return bool(scheduler.draining)

    def _message(self, trial: TrialSpec) -> dict[str, Any]:
        from sweeps.tune.scheduler import owner_of

        return {
            "trial_id": trial.trial_id,
            "trial": trial.to_json(),
            "stages": len(self.plan.tree.chains[trial.trial_id]),
            "sweep": self.plan.sweep.name,
            "storage": self.store.objects.location,
            "owner": owner_of(self.owner, trial.trial_id),
            "time_to_live_s": self.leases.time_to_live_s,
            "objectives": list(self.plan.sweep.objectives),
            "demand": self._demand(trial),
        }

    def _demand(self, trial: TrialSpec) -> dict[str, float]:
        demand = {"CPU": float(trial.run.train.threads)}
        if self.plan.sweep.resources.gpu:
            demand["GPU"] = self.plan.sweep.resources.gpu
        return demand

    def _slots(self) -> int:
        """How many trials may be released now: running ones and those that wait for a worker.

        A local cluster is started with no more CPUs than `max_concurrent` equal trials need;
        otherwise such a limit leaves no room for waiting trials.
        """
        import ray

        cluster = ray.cluster_resources()
        fits = max(
            min(int(cluster.get(kind, 0.0) // amount) for kind, amount in demand.items())
            for demand in self._demands
        )
        most = self.plan.sweep.resources.max_concurrent
        waiting = max(1, round(LOOKAHEAD * fits))
        limited = self._local and self._cpus is not None and len(self._demands) == 1
        return fits + waiting if most is None or limited else min(fits, most)

    def _cpus_wanted(self) -> int | None:
        """CPUs that `max_concurrent` trials need; None without such a limit.

        Trials that are not known yet may need more than those that are.
        """
        most = self.plan.sweep.resources.max_concurrent
        if most is None or not self.plan.step.finished:
            return None
        return most * max(t.run.train.threads for t in self.todo)

    def _refuse_impossible(self) -> None:
        """Say at once what would otherwise wait for ever."""
        import ray

        cluster = ray.cluster_resources()
        for demand in self._demands:
            for kind, amount in demand.items():
                if self._local and cluster.get(kind, 0.0) < amount:
                    field = "train.threads" if kind == "CPU" else "resources.gpu"
                    there = cluster.get(kind, 0.0)
                    raise InvalidConfigError(
                        [Fault(field, amount, f"at most the {there:g} {kind} of this machine")]
                    )


def _distinct(demands: Iterable[dict[str, float]]) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []
    for demand in demands:
        if demand not in found:
            found.append(demand)
    return found
