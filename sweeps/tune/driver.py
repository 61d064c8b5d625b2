"""run_sweep: bring the storage to the state that a sweep wants, through Ray Tune."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from clmethods.config import short_id
from clmethods.provenance import code_version
from sweeps.results.events import EventLog
from sweeps.spec import Sweep
from sweeps.stages.leases import TIME_TO_LIVE_S
from sweeps.stages.materialise import merge_tables
from sweeps.stages.plan import Plan
from sweeps.stages.spending import spent
from sweeps.stages.store import StageStore
from sweeps.stages.wanted import keep_sweep_file, presence, refuse_other_meaning
from sweeps.tune.gpu_memory import GpuProbe, TorchProbe
from sweeps.tune.job import Job
from sweeps.tune.left import Left
from sweeps.tune.progress import Progress


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
    budget_used: str | None = None
    """The limit of the budget that ended it, in words."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a sweep is run; none of it changes a result."""

    address: str | None = None
    """HOST:PORT of a Ray cluster, or `auto`; None starts Ray on this machine."""
    retry_failed: bool = False
    only: Sequence[str] = ()
    """Patterns of the trials to run; see `chosen_trials`. None of them: all."""
    time_to_live_s: float = TIME_TO_LIVE_S
    """Seconds without a beat after which a lease may be taken over."""
    file: str = ""
    """Path or name of the sweep file, for the audit trail."""
    probe: GpuProbe = field(default_factory=TorchProbe)
    """How GPU memory is measured for `resources.gpu: auto`."""


def run_sweep(
    sweep: Sweep,
    store: StageStore,
    options: RunOptions | None = None,
    announce: Callable[[Plan], None] = lambda plan: None,
) -> SweepOutcome:
    """Train what is missing, evaluate it, write the tables. Run again, it does nothing.

    Raises `InvalidConfigError` before anything is done where the sweep would give rows of its
    name another meaning, and while a driver runs another version of it.
    """
    options = options or RunOptions()
    sweep.logging.refuse(store.objects.location)
    with presence(sweep, store.objects, options.time_to_live_s, store.report):
        refuse_other_meaning(sweep, store.objects)
        keep_sweep_file(sweep, store.objects)
        events = EventLog(store.objects, sweep.name, secrets.token_hex(6))
        events.add("run_started", **_who(sweep, options))
        try:
            outcome = _run(sweep, store, options, announce, events)
        except BaseException as error:
            events.add("run_ended", error=f"{type(error).__name__}: {error}")
            raise
        else:
            events.add(
                "run_ended",
                trained=outcome.trained,
                finished=outcome.finished,
                failed=len(outcome.failed),
                interrupted=outcome.interrupted,
                halted=outcome.halted,
            )
            return outcome
        finally:
            events.flush(force=True)


def _who(sweep: Sweep, options: RunOptions) -> dict[str, Any]:
    """Return who runs what, where and with which code."""
    return {
        "user": getpass.getuser(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "file": options.file,
        "document": short_id(sweep.document),
        "code_version": code_version(),
        "address": options.address,
        "only": [*options.only],
        "retry_failed": options.retry_failed,
    }


def _run(
    sweep: Sweep,
    store: StageStore,
    options: RunOptions,
    announce: Callable[[Plan], None],
    events: EventLog,
) -> SweepOutcome:
    left = Left(sweep, store, options.retry_failed, options.only)
    announce(left.plan)
    spending = spent(left.plan, store)
    interrupted, halted, reached = False, "", None
    while not interrupted and (todo := left.take()):
        reached = spending.reached(sweep.budget)
        if reached is not None:
            break
        progress = Progress(left.tally)
        job = Job(
            left.plan,
            store,
            todo,
            progress,
            options.time_to_live_s,
            left,
            spending,
            events,
            options.probe,
        )
        interrupted = job.run(options.address)
        left.failed |= job.failed
        halted, reached, spending = job.halted, job.budget_used, job.spending
    merge_tables(store, sweep.name)
    names = {t.trial_id: t.name for t in left.plan.trials}
    return SweepOutcome(
        plan=left.plan_as_found(),
        trained=left.tally.trained,
        finished=left.tally.finished,
        failed=tuple((names[trial], cause) for trial, cause in left.failed.items()),
        interrupted=interrupted and not halted and reached is None,
        halted=halted,
        budget_used=reached,
    )
