"""StageScheduler: runs a trial only while there is a stage that no other trial computes.

Tune starts every PENDING trial on free resources without asking the scheduler. It calls
`choose_trial_to_run` only for PAUSED trials. Therefore added trials are paused, and released one
by one. The trial with the longest remaining chain comes first. Two trials never run the same
stage, and no trial is released whose next stage another driver has leased. A trial that still
meets a lease returns `waiting` and is paused again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from sweeps.execution.tune.param_space import trial_id
from sweeps.execution.worker.trial_message import StepResult, owner_of
from sweeps.stages.lease_watch import LeaseWatch
from sweeps.stages.leases import BlockedLeaseError
from sweeps.storage import StorageError

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

POLL_S = 0.5
"""Seconds between two checks of a stage that another driver has leased."""

REFUSALS = 3
"""Number of failed leases of a free stage after which the stage is reported."""
BLOCKED_POLL_S = 10.0
"""Seconds between two attempts after that."""

MISPLACED = ("unshared", "other_versions", "unreachable", "gpu_too_small")
"""Outcomes of a step on a node that cannot run the trial; the trial then runs elsewhere."""


@final
class StageScheduler(FIFOScheduler):  # type: ignore[misc]  # ray is untyped
    """Pauses and releases trials by the stages that they need next."""

    def __init__(
        self,
        chains: Mapping[str, Sequence[str]],
        is_complete: Callable[[str, str], bool],
        watch: LeaseWatch,
        owner: str,
        slots: Callable[[], int],
        known: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`chains`: stage keys by trial id; `slots`: returns the maximum number of active trials.

        `is_complete`: returns True if the store has everything that a trial needs of a stage;
        `known`: keys of stages that were complete when the sweep was planned.
        """
        super().__init__()
        self._chains, self._is_complete, self._watch = chains, is_complete, watch
        self._owner, self._slots, self._clock = owner, slots, clock
        self._complete: dict[str, int] = {}  # number of stages known to be complete, by trial id
        self._active: dict[str, Trial] = {}
        self._foreign: dict[str, float] = {}  # leased elsewhere: time of the next check
        self._known = set(known)  # and stages that trials of this driver have passed since
        self._seen: set[str] = set()
        self._to_stop: set[str] = set()
        self._refusals: dict[str, int] = {}
        self._messages: list[str] = []
        self.draining = False

    def __getstate__(self) -> dict[str, object]:
        """Return no state: Tune pickles the scheduler, but the pickle is never read."""
        return {}

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        if trial.status == Trial.PENDING:
            if trial.trial_id in self._seen:  # requeued after its worker died
                tune_controller._set_trial_status(trial, Trial.PAUSED)
            else:  # a new trial: its status is registered after this call
                trial.set_status(Trial.PAUSED)
        self._seen.add(trial.trial_id)

    def stop_for_good(self, trial: Trial) -> None:
        """Never release a trial again; it is stopped at the next turn."""
        self._to_stop.add(trial.trial_id)

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        if self._to_stop:
            for trial in tune_controller.get_trials():
                if trial.trial_id in self._to_stop and not trial.is_finished():
                    trial.init_local_path()  # Tune reads the folder of a trial that it stops
                    tune_controller.stop_trial(trial)
            self._to_stop.clear()
        if self.draining:
            for trial in [t for t in self._active.values() if t.status == Trial.PENDING]:
                tune_controller.stop_trial(trial)  # it was released, but has not started
            for trial in tune_controller.get_trials():
                trial.init_local_path()  # Tune reads the folder of every trial
            return None
        pending = [t for t in self._active.values() if t.status == Trial.PENDING]
        if len(self._active) >= self._slots():
            return pending[0] if pending else None
        claimed = {key for t in self._active.values() if (key := self._next(t)) is not None}
        best, most = None, -1
        for trial in tune_controller.get_trials():
            if trial.status != Trial.PAUSED or (left := self._left(trial)) <= most:
                continue
            key = self._next(trial)
            if key is None or (key not in claimed and self._is_free(trial_id(trial), key)):
                best, most = trial, left
        if best is None:
            return pending[0] if pending else None
        self._active[best.trial_id] = best
        return best

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: StepResult
    ) -> str:
        mine = trial_id(trial)
        if result["outcome"] in MISPLACED:
            key = self._next(trial)
            if key is not None:
                # the trial may get the same node again at once
                self._foreign[key] = self._clock() + POLL_S
            self._active.pop(trial.trial_id, None)
            tune_controller.pause_trial(trial, should_checkpoint=False)
            return str(FIFOScheduler.NOOP)
        self._complete[mine] = result["position"]
        self._known.update(self._chains[mine][: result["position"]])
        if result["outcome"] == "waiting":
            self._known.discard(result["key"])  # complete for another trial, or damaged since
            self._waits_for(result["key"])
            self._active.pop(trial.trial_id, None)
            tune_controller.pause_trial(trial, should_checkpoint=False)
            return str(FIFOScheduler.NOOP)
        if self.draining:
            return str(FIFOScheduler.STOP)
        return str(FIFOScheduler.CONTINUE)

    def on_trial_complete(
        self, tune_controller: TuneController, trial: Trial, result: StepResult
    ) -> None:
        self.on_trial_result(tune_controller, trial, {**result, "outcome": "ended"})
        self._active.pop(trial.trial_id, None)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Expire the lease of the dead worker, so that no driver waits until it expires."""
        # Tune does not remove it, and then waits for it
        tune_controller._resetting_trials.discard(trial)
        self._active.pop(trial.trial_id, None)
        key = self._next(trial)
        if key is not None:
            self._watch.table.expire_owned(key, owner_of(self._owner, trial_id(trial)))

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        self._active.pop(trial.trial_id, None)

    def take_messages(self) -> list[str]:
        """Return messages for users, each once."""
        taken, self._messages = self._messages, []
        return taken

    def _waits_for(self, key: str) -> None:
        """Schedule the next check of a stage that could not be leased.

        A stage that repeatedly seems free but cannot be leased is reported.
        """
        self._foreign[key] = 0.0
        is_free = self._watch.is_free(key)  # starts the measurement of its owner's beat
        self._refusals[key] = self._refusals.get(key, 0) + 1 if is_free else 0
        if self._refusals[key] < REFUSALS:
            return
        self._foreign[key] = self._clock() + BLOCKED_POLL_S
        if self._refusals[key] == REFUSALS:
            self._messages.append(self._blocked(key))

    def _blocked(self, key: str) -> str:
        """Return a message with the lease that cannot be taken, and the remedy."""
        table = self._watch.table
        reason = f"look at {table.objects.location}/{table.folder}/{key}"
        try:
            table.without_retries().require_no_obstacle(key)
        except BlockedLeaseError as error:
            reason = str(error)
        except StorageError:
            pass  # the owner of the lease is not known now
        return (
            f"stage {key[:12]} cannot be leased, although nobody holds it: {reason}. This sweep "
            f"tries again every {BLOCKED_POLL_S:g} s"
        )

    @property
    def running(self) -> int:
        """Return the number of trials that have a worker."""
        return sum(trial.status == Trial.RUNNING for trial in self._active.values())

    @property
    def idle(self) -> bool:
        """Return True if no trial holds resources."""
        return not self._active

    def _next(self, trial: Trial) -> str | None:
        """Return the key of the first stage not known to be complete; None past the end."""
        mine = trial_id(trial)
        chain, position = self._chains[mine], self._complete.get(mine, 0)
        while position < len(chain) and chain[position] in self._known:
            position += 1
        self._complete[mine] = position
        return chain[position] if position < len(chain) else None

    def _left(self, trial: Trial) -> int:
        self._next(trial)
        mine = trial_id(trial)
        return len(self._chains[mine]) - self._complete[mine]

    def _is_free(self, mine: str, key: str) -> bool:
        """Return True if no other owner holds the stage; reads the store at most every POLL_S."""
        if key not in self._foreign:
            return True
        now = self._clock()
        if now < self._foreign[key]:
            return False
        if self._watch.is_free(key) or self._is_complete(mine, key):
            del self._foreign[key]
            return True
        self._foreign[key] = now + POLL_S
        return False
