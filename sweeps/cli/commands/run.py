"""`sweeps plan` and `sweeps run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from clmethods.errors import refuse
from clmethods.standard_streams import output_that_may_end
from sweeps.cli.errors import (
    CodeLineCommand,
    exit_on_user_error,
    exit_with_code_line,
    note_left_out,
    report_left_out,
)
from sweeps.cli.locate import (
    find_stored_sweep,
    load_named_sweep,
    planned_storage,
    print_to_stderr,
    storage_option,
    usable_storage,
)
from sweeps.cli.shared_options import FiniteRange, json_option, print_document
from sweeps.cli.text.plan_overview import plan_text
from sweeps.cli.text.run_summary import (
    ending,
    ending_text,
    place_text,
    program_prefix,
    result_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweeps.definition import Sweep
    from sweeps.planning.plan import Plan
    from sweeps.stages.stage_store import StageStore
    from sweeps.storage import ObjectStore


PROBED_TASKS = 2
SHORTEST_LEASE_S, LONGEST_LEASE_S = 0.5, 86400.0

verbose_option = click.option(
    "--verbose", is_flag=True, help="List the files of the data that are ignored."
)


@click.command()
@click.argument("sweep", metavar="SWEEP")
@storage_option
@click.option(
    "--probe",
    is_flag=True,
    help="Train the first two tasks of configurations whose cost is unknown, to measure it.",
)
@verbose_option
@json_option
@output_that_may_end()  # a probe trains
@exit_on_user_error
def plan(sweep: str, storage: str, probe: bool, verbose: bool, as_json: bool) -> None:
    """Show what a run would train, its data, its cost, and likely problems."""
    from sweeps.cli.text.plan_details import (
        PlanDetails,
        plan_document,
        stored_measurement,
        stored_variance,
    )
    from sweeps.definition import (
        measured_sweep,
        misfit_weights,
        missing_compilers,
        missing_data,
        tolerated_weights,
    )
    from sweeps.definition.file.stored_file import sweep_file_name
    from sweeps.planning.cost_forecast import cost_forecast, probe_trials
    from sweeps.planning.data_content import keep_content, refuse_other_content
    from sweeps.planning.deletion_guard import probing
    from sweeps.planning.driver_lock import keep_sweep_file, refuse_other_meaning
    from sweeps.planning.plan import make_plan
    from sweeps.planning.size_forecast import footprint
    from sweeps.planning.spending import spent
    from sweeps.stages.stage_store import StageStore

    tell = print_to_stderr if as_json else click.echo
    with tolerated_weights() as weights:
        definition = load_named_sweep(sweep)
        refuse(misfit_weights(definition))
        definition = measured_sweep(definition)
    missing = [*weights.values(), *missing_data(definition), *missing_compilers(definition)]
    objects = (
        usable_storage(storage, definition.storage, write=True)
        if probe
        else planned_storage(storage, definition.storage)
    )
    store = StageStore(objects, tell)
    refuse_other_meaning(definition, store.objects)
    refuse_other_content(definition, store.objects)
    found = make_plan(definition, store)
    if probe:
        refuse(missing)
        with probing(definition.name, store.objects, tell):
            keep_content(definition, store.objects)
            if not store.objects.exists(sweep_file_name(definition.name)):
                keep_sweep_file(definition, store.objects)  # a probe writes rows of this sweep
            for trial in probe_trials(found):
                _probe(found, store, trial, tell)
        found = make_plan(definition, store)
    note_left_out(found.left_out)
    details = PlanDetails(
        plan=found,
        cost=cost_forecast(found, store),
        spending=spent(found, store),
        spread=stored_variance(found, store.objects),
        missing=missing,
        taken=footprint(found, store.objects),
        measured=stored_measurement(found, store.objects),
    )
    report_left_out(store.unread_costs)
    print_document(plan_document(details, _data_lines(definition, verbose)), as_json)


def _data_lines(sweep: Sweep, verbose: bool) -> list[str]:
    """Return one line per data of the user."""
    from clmethods.data.data_summary import summary_lines

    return list(summary_lines((run.stream for run in sweep.runs), verbose))


def _probe(plan: Plan, store: StageStore, trial_id: str, tell: Callable[[str], None]) -> None:
    """Train the first stages of a trial here, without Ray; a later run reuses them."""
    from sweeps.stages.leases import LeaseTable
    from sweeps.stages.trial_runner import TrialRunner

    (trial,) = (t for t in plan.trials if t.trial_id == trial_id)
    tell(f"probing: {trial.name}")
    runner = TrialRunner(plan.sweep.name, trial, store, LeaseTable(store.objects), "probe")
    while runner.position < min(PROBED_TASKS, len(runner.chain)):
        if runner.advance().outcome == "waiting":
            tell("  somebody else is training it")
            return


@click.command(cls=CodeLineCommand)
@click.argument("sweep", metavar="SWEEP")
@storage_option
@click.option(
    "--from-storage",
    is_flag=True,
    help="SWEEP is the name of a sweep in the storage. Run the sweep file of its last run.",
)
@click.option("--address", metavar="HOST:PORT|auto", help="A running Ray cluster to attach to.")
@click.option(
    "--only",
    multiple=True,
    metavar="WHICH",
    help="Run only these trials: label, glob over labels, or beginning of an id. Repeatable.",
)
@click.option("--retry-failed", is_flag=True, help="Also run trials that failed before.")
@click.option(
    "--lease-ttl",
    type=FiniteRange(SHORTEST_LEASE_S, LONGEST_LEASE_S),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Time without a heartbeat after which another worker may take over a stage.",
)
@verbose_option
@output_that_may_end()
@exit_with_code_line
def run(
    sweep: str,
    storage: str,
    from_storage: bool,
    address: str | None,
    only: tuple[str, ...],
    retry_failed: bool,
    lease_ttl: float,
    verbose: bool,
) -> None:
    """Run a sweep. Stages that are in the storage already are not trained again.

    After an interruption, the same command continues. After an edit of the sweep file, only new
    stages are trained. A file under which existing rows would have another meaning is refused, and
    so is a different version of the file while the sweep is running.
    """
    from sweeps.definition.readiness import ready_sweep
    from sweeps.execution.driver import RunOptions, run_sweep
    from sweeps.stages.stage_store import StageStore

    stored = usable_storage(storage, write=True, create=False) if from_storage else None
    definition = load_named_sweep(sweep) if stored is None else find_stored_sweep(stored, sweep)
    file = sweep if stored is None else f"{stored.location}/sweeps/{sweep}/sweep.yaml"
    definition = ready_sweep(definition, on_cluster=address is not None)
    objects = stored or usable_storage(storage, definition.storage, write=True)
    for line in _data_lines(definition, verbose):
        click.echo(line)
    outcome = run_sweep(
        definition,
        StageStore(objects, click.echo),
        RunOptions(
            address=address,
            only=only,
            retry_failed=retry_failed,
            time_to_live_s=lease_ttl,
            file=file,
        ),
        announce=lambda found: click.echo(plan_text(found, causes=False)),
    )
    click.echo(result_text(outcome, objects))
    on_cluster = address is not None
    # the caller's folder is not that of the head
    place = objects.location if on_cluster else storage
    report = (
        report_line(definition, objects, place)
        if outcome.finished
        else "not written, as no trial has finished"
    )
    prefix = "" if on_cluster else program_prefix()
    click.echo(place_text(definition.name, place, on_cluster, report, outcome.finished, prefix))
    if outcome.halted:
        click.echo(f"stopped: {outcome.halted}", err=True)
    code, meaning = ending(outcome)
    if code:
        click.echo(ending_text(code, meaning))
        sys.exit(code)


def report_line(sweep: Sweep, objects: ObjectStore, storage: str) -> str:
    """Write the report; return its path, or the reason why it was not written.

    A failed report does not fail the sweep.
    """
    from sweeps.report import write_report

    try:
        return f"{storage.rstrip('/')}/{write_report(sweep, objects)}"
    except Exception as error:  # noqa: BLE001  # results are stored; this error is printed
        reason = " ".join(str(error).split())
        return f"not written ({type(error).__name__}: {reason}); `sweeps report` tries again"
