"""run_sweep: trains, evaluates and stores everything that a sweep requests, through Ray Tune."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import final

from clmethods.provenance import code_version, host_kind
from sweeps.definition import Sweep
from sweeps.execution.backlog import Backlog
from sweeps.execution.executor import SweepExecutor
from sweeps.execution.resources.gpu_memory import GpuProbe, TorchProbe
from sweeps.planning.data_content import keep_content, refuse_other_content
from sweeps.planning.driver_lock import Presence, keep_sweep_file, presence, refuse_other_meaning
from sweeps.planning.plan import Plan
from sweeps.planning.spending import spent
from sweeps.results.event_kinds import Notice, RunEnded, RunStarted
from sweeps.results.events import EventLog
from sweeps.stages.leases import TIME_TO_LIVE_S
from sweeps.stages.stage_rows import merge_tables
from sweeps.stages.stage_store import StageStore


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOutcome:
    """Result of one run of a sweep."""

    plan: Plan
    """Plan at the start of the run."""
    trained: int
    """Number of stages that this run trained."""
    finished: int
    """Number of trials of the sweep that are finished now."""
    failed: tuple[tuple[str, str], ...]
    """(label with order and seed, cause) of the trials whose last attempt failed."""
    interrupted: bool
    halted: str = ""
    """Reason why the run ended early; empty if it was complete or interrupted by a user."""
    budget_used: str | None = None
    """Limit of the budget that ended the run, in words."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of a run; none of them changes a result."""

    address: str | None = None
    """HOST:PORT of a Ray cluster, or `auto`; None starts Ray on this machine."""
    retry_failed: bool = False
    only: Sequence[str] = ()
    """Patterns of the trials to run; see `chosen_trials`. An empty sequence selects all."""
    time_to_live_s: float = TIME_TO_LIVE_S
    """Seconds without a beat after which a lease may be taken over."""
    file: str = ""
    """Path or name of the sweep file, for the audit trail."""
    probe: GpuProbe = field(default_factory=TorchProbe)
    """Measurement of GPU memory for `resources.gpu: auto`."""


def run_sweep(
    sweep: Sweep,
    store: StageStore,
    options: RunOptions | None = None,
    announce: Callable[[Plan], None] = lambda plan: None,
) -> SweepOutcome:
    """Train the missing stages, evaluate them and write the tables.

    A second run of a complete sweep does nothing. Raises `InvalidConfigError` before any work if
    the sweep would change the meaning of existing rows of its name, and while a driver runs
    another version of it.
    """
    options = options or RunOptions()
    sweep.logging.refuse(store.objects.location)
    run = secrets.token_hex(6)
    with presence(sweep, store.objects, options.time_to_live_s, store.report, run) as present:
        refuse_other_meaning(sweep, store.objects)
        refuse_other_content(sweep, store.objects)
        keep_content(sweep, store.objects)
        document = keep_sweep_file(sweep, store.objects)
        events = EventLog(store.objects, sweep.name, run)
        events.add(_who(document, options))
        # so that the log also records a driver that is killed immediately
        events.flush(force=True)
        try:
            with store.objects.reporting_outages_to(lambda said: events.add(Notice(text=said))):
                outcome = _run(sweep, store, options, announce, events, present)
        except BaseException as error:
            events.add(_ended_by(error))
            raise
        else:
            events.add(
                RunEnded(
                    trained=outcome.trained,
                    finished=outcome.finished,
                    failed=len(outcome.failed),
                    interrupted=outcome.interrupted,
                    halted=outcome.halted,
                    budget_used=outcome.budget_used,
                )
            )
            return outcome
        finally:
            events.flush(force=True)


def _who(document: str, options: RunOptions) -> RunStarted:
    """Return the start event. `document`: checksum of the sweep file."""
    return RunStarted(
        user=_user(),
        host=socket.gethostname(),
        pid=os.getpid(),
        file=os.fsencode(options.file).decode(errors="replace") or None,  # a log is in UTF-8
        document=document,
        code_version=code_version(),
        host_kind=host_kind(),
        address=options.address,
        only=tuple(options.only),
        retry_failed=options.retry_failed,
        time_to_live_s=options.time_to_live_s,
    )


def _ended_by(error: BaseException) -> RunEnded:
    if isinstance(error, KeyboardInterrupt):
        return RunEnded(interrupted=True)
    text = " ".join(str(error).split())
    return RunEnded(error=f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _user() -> str:
    """Return the name of the user; the number if the system has no name, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the type of the error depends on the version of Python
        return str(os.getuid())


def _run(
    sweep: Sweep,
    store: StageStore,
    options: RunOptions,
    announce: Callable[[Plan], None],
    events: EventLog,
    present: Presence,
) -> SweepOutcome:
    backlog = Backlog(sweep, store, options.retry_failed, options.only, present.require_current)
    announce(backlog.plan)
    spending = spent(backlog.plan, store)
    for sentence in store.unread_costs.values():
        store.report(sentence)
    reached = spending.reached(sweep.budget)
    interrupted, halted = False, ""
    todo = backlog.take()
    if not todo:
        reached = None  # nothing is left to train, so the budget ends nothing
    elif reached is None:
        executor = SweepExecutor(
            backlog, todo, options.time_to_live_s, spending, events, options.probe, present
        )
        interrupted = executor.run(options.address)
        backlog.failed |= executor.account.failed
        halted, reached = executor.halted, executor.budget_used
    merge_tables(store, sweep.name)
    names = {t.trial_id: t.name for t in backlog.plan.trials}
    return SweepOutcome(
        plan=backlog.plan_as_found(),
        trained=backlog.tally.trained,
        finished=backlog.tally.finished,
        failed=tuple((names[trial], cause) for trial, cause in backlog.failed.items()),
        interrupted=interrupted and not halted and reached is None,
        halted=halted,
        budget_used=reached,
    )
