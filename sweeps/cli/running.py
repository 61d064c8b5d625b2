"""`sweeps plan` and `sweeps run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from clmethods.config.faults import refuse
from sweeps.cli.errors import BUDGET_USED, INTERRUPTED, plain_errors
from sweeps.cli.locate import load_named_sweep, storage_option
from sweeps.cli.overview import plan_text, result_text

if TYPE_CHECKING:
    from sweeps.spec import Sweep
    from sweeps.stages.plan import Plan
    from sweeps.stages.store import StageStore
    from sweeps.storage import ObjectStore


PROBED_TASKS = 2


@click.command()
@click.argument("sweep", metavar="SWEEP")
@storage_option
@click.option(
    "--probe",
    is_flag=True,
    help="Train the first two tasks of what was never measured, into the storage.",
)
@plain_errors
def plan(sweep: str, storage: str, probe: bool) -> None:
    """Say what a run would train, reuse and share, what it costs and what would break."""
    from sweeps.cli.plan_report import report_text, stored_measurement, stored_spread
    from sweeps.spec import missing_data, tolerated_weights
    from sweeps.stages.footprint import footprint
    from sweeps.stages.forecast import cost_forecast, probe_trials
    from sweeps.stages.plan import make_plan
    from sweeps.stages.spending import spent
    from sweeps.stages.store import StageStore
    from sweeps.stages.wanted import refuse_other_meaning
    from sweeps.storage import open_storage

    with tolerated_weights() as weights:
        wanted = load_named_sweep(sweep)
    missing = [*weights.values(), *missing_data(wanted)]
    store = StageStore(open_storage(storage), click.echo)
    refuse_other_meaning(wanted, store.objects)
    found = make_plan(wanted, store)
    if probe:
        refuse(missing)
        for trial in probe_trials(found):
            _probe(found, store, trial)
        found = make_plan(wanted, store)
    click.echo(plan_text(found))
    cost, spending = cost_forecast(found, store), spent(found, store)
    spread = stored_spread(found, store.objects)
    taken = footprint(found, store.objects)
    measured = stored_measurement(found, store.objects)
    click.echo(report_text(found, cost, spending, spread, missing, taken, measured))


def _probe(plan: Plan, store: StageStore, trial_id: str) -> None:
    """Train the first stages of a trial here, without Ray; a run finds them in the storage."""
    from sweeps.stages.leases import LeaseTable
    from sweeps.stages.runner import TrialRunner

    (trial,) = (t for t in plan.trials if t.trial_id == trial_id)
    click.echo(f"probing: {trial.name}")
    runner = TrialRunner(plan.sweep.name, trial, store, LeaseTable(store.objects), "probe")
    while runner.position < min(PROBED_TASKS, len(runner.chain)):
        if runner.advance().outcome == "waiting":
            click.echo("  somebody else is training it")
            return


@click.command()
@click.argument("sweep", metavar="SWEEP")
@storage_option
@click.option("--address", metavar="HOST:PORT|auto", help="A Ray cluster that is already up.")
@click.option(
    "--only",
    multiple=True,
    metavar="WHICH",
    help="A label, a glob over labels, or the beginning of a trial's id; may be repeated.",
)
@click.option("--retry-failed", is_flag=True, help="Try trials again that failed before.")
@click.option(
    "--lease-ttl",
    type=click.FloatRange(min=0.5),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a silent worker keeps its stage before another may take it.",
)
@plain_errors
def run(
    sweep: str,
    storage: str,
    address: str | None,
    only: tuple[str, ...],
    retry_failed: bool,
    lease_ttl: float,
) -> None:
    """Train what the storage does not hold yet; run again, it continues or does nothing.

    An edited file trains what is new in it. One that would give rows of this sweep another
    meaning is refused, and so is any other version while a run is under way.
    """
    from sweeps.spec import missing_data
    from sweeps.stages.store import StageStore
    from sweeps.storage import open_storage
    from sweeps.tune.driver import RunOptions, run_sweep

    wanted = load_named_sweep(sweep)
    if address is None:  # the machines of a cluster have folders of their own
        refuse(missing_data(wanted))
    objects = open_storage(storage)
    outcome = run_sweep(
        wanted,
        StageStore(objects, click.echo),
        RunOptions(
            address=address,
            only=only,
            retry_failed=retry_failed,
            time_to_live_s=lease_ttl,
            file=sweep,
        ),
        announce=lambda found: click.echo(plan_text(found)),
    )
    click.echo(result_text(outcome, objects, storage))
    if outcome.finished:
        click.echo(f"report     {report_line(wanted, objects, storage)}")
    if outcome.halted:
        click.echo(f"stopped: {outcome.halted}", err=True)
        sys.exit(1)
    if outcome.interrupted:
        click.echo("stopped before the end; the same command continues")
        sys.exit(INTERRUPTED)
    if outcome.budget_used is not None:
        left = outcome.plan.tree.distinct - len(outcome.plan.stored) - outcome.trained
        click.echo(
            f"the budget is used up ({outcome.budget_used}), {left} stages are left to train; "
            "with a larger budget the same command continues"
        )
        sys.exit(BUDGET_USED)
    if outcome.failed:
        sys.exit(1)


def report_line(sweep: Sweep, objects: ObjectStore, storage: str) -> str:
    """Where the page was written, or why it was not: a page never fails a sweep."""
    from sweeps.report import write_report

    try:
        return f"{storage.rstrip('/')}/{write_report(sweep, objects)}"
    except Exception as error:  # noqa: BLE001  # results are safe, and `sweeps report` says more
        return f"not written ({type(error).__name__}: {error}); `sweeps report` tries again"
