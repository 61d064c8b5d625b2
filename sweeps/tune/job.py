"""Job: trials as Tune experiments, one for every step of a sweep, in one Ray cluster."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from clmethods.config import Fault, InvalidConfigError
from sweeps.spec import TrialSpec
from sweeps.stages.leases import LeaseTable, LeaseWatch
from sweeps.stages.materialise import is_complete
from sweeps.stages.plan import Plan
from sweeps.stages.spending import Spending
from sweeps.stages.store import StageStore
from sweeps.stages.trial_rows import Ending, record_trial
from sweeps.tune.cluster import ClusterSize, ray_cluster
from sweeps.tune.progress import Progress
from sweeps.tune.signals import draining

if TYPE_CHECKING:
    from sweeps.tune.left import Left
    from sweeps.tune.scheduler import StageScheduler

WORKER_FAILURES = 3
"""How often a trial is started again after its worker died. Faults of the run never are."""

LOOKAHEAD = 1.0
"""Released trials that wait for resources, per trial that has them. Tune hands a worker on to a
waiting trial only, so without one every trial would start a new process; and a trial that asks in
vain is what makes an autoscaler add a node."""


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
        spending: Spending | None = None,
    ) -> None:
        """`left`: where further steps come from; without it there is one."""
        self.store, self.progress = store, progress
        self.spending = spending or Spending(gpus=plan.sweep.resources.gpu)
        self.budget_used: str | None = None
        self.leases = LeaseTable(store.objects, time_to_live_s)
        self.owner = uuid.uuid4().hex
        self.failed: dict[str, str] = {}
        self._left = left
        self._begin(plan, todo)
        self._cpus = self._cpus_wanted()
        self._local = True
        self._size = ClusterSize()
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

    def spend(self, seconds: float) -> None:
        """A stage was trained: count it, and start no other one if that was the last."""
        self.spending = self.spending.with_stage(seconds)
        self._check_budget()

    def _check_budget(self) -> None:
        reached = self.spending.reached(self.plan.sweep.budget)
        if reached is None or self._scheduler is None or self._scheduler.draining:
            return
        self.budget_used = reached
        self._scheduler.draining = True
        self.progress.say(f"the budget is used up ({reached}); the running stages are finished")

    def ended(self, trial: TrialSpec, ending: Ending) -> None:
        """An attempt is over: write its row, count it. A second call for it does nothing."""
        if trial.trial_id in self._ended:
            return
        self._ended.add(trial.trial_id)
        record_trial(self.store, self.plan.sweep, trial, self.plan.next_attempt(trial), ending)
        if ending.status == "finished":
            self.progress.tally.finished += 1
            self.spending = self.spending.with_trial()
            self._check_budget()
        elif ending.status == "failed":
            self.progress.tally.failed += 1
            self.failed[trial.trial_id] = ending.error or "unknown"
            self.progress.say(f"failed: {trial.name}: {ending.error}")

    def _fit(self) -> bool:
        from ray import tune

        from sweeps.tune.callback import NoTuneOutput, StopWhenDrained, SweepCallback
        from sweeps.tune.discard import discarding_filesystem
        from sweeps.tune.loggers import loggers
        from sweeps.tune.scheduler import StageScheduler
        from sweeps.tune.space import space, trial_id
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
        tuner = tune.Tuner(
            trainable,
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
                failure_config=tune.FailureConfig(max_failures=WORKER_FAILURES),
                callbacks=[
                    SweepCallback(self, scheduler),
                    NoTuneOutput(),
                    *loggers(
                        self.plan.sweep,
                        self.store,
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
        cluster = self._size.resources()
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
        """Say at once what would otherwise wait for ever.

        A cluster may grow to what its autoscaler's configuration allows. Where that is not known
        to Ray, nodes that no configuration speaks of may still come: then it is said, not refused.
        """
        import ray
        from ray._private.state import state

        there: dict[str, float] = ray.cluster_resources()
        most = None if self._local else state.get_max_resources_from_cluster_config()
        whole = "this machine" if self._local else "this cluster, as large as it may grow"
        for demand in self._demands:
            for kind, amount in demand.items():
                known = max(there.get(kind, 0.0), float((most or {}).get(kind, 0.0)))
                if known >= amount:
                    continue
                if self._local or most is not None:
                    field = "train.threads" if kind == "CPU" else "resources.gpu"
                    law = f"at most the {known:g} {kind} of {whole}"
                    raise InvalidConfigError([Fault(field, amount, law)])
                self.progress.say(
                    f"a trial asks for {amount:g} {kind}, and the cluster has {known:g}: it waits "
                    "until a node with that many joins"
                )


def _distinct(demands: Iterable[dict[str, float]]) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []
    for demand in demands:
        if demand not in found:
            found.append(demand)
    return found
