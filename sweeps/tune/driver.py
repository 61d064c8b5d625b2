"""run_sweep: bring the storage to the state that a sweep wants, through Ray Tune."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from sweeps.spec import Sweep
from sweeps.stages.leases import TIME_TO_LIVE_S
from sweeps.stages.materialise import merge_tables
from sweeps.stages.plan import Plan
from sweeps.stages.spending import spent
from sweeps.stages.store import StageStore
from sweeps.stages.wanted import keep_sweep_file, presence, refuse_other_meaning
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

    `only` leaves out trials that none of its patterns means; see `chosen_trials`. Raises
    `InvalidConfigError` before anything is done where the sweep would give rows of its name
    another meaning, and while a driver runs another version of it.
    """
    sweep.logging.refuse(store.objects.location)
    with presence(sweep, store.objects, time_to_live_s, store.report):
        refuse_other_meaning(sweep, store.objects)
        keep_sweep_file(sweep, store.objects)
        return _run(sweep, store, address, retry_failed, only, time_to_live_s, announce)


def _run(
    sweep: Sweep,
    store: StageStore,
    address: str | None,
    retry_failed: bool,
    only: Sequence[str],
    time_to_live_s: float,
    announce: Callable[[Plan], None],
) -> SweepOutcome:
    left = Left(sweep, store, retry_failed, only)
    announce(left.plan)
    spending = spent(left.plan, store)
    interrupted, halted, reached = False, "", None
    while not interrupted and (todo := left.take()):
        reached = spending.reached(sweep.budget)
        if reached is not None:
            break
        progress = Progress(left.tally)
        job = Job(left.plan, store, todo, progress, time_to_live_s, left, spending)
        interrupted = job.run(address)
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
