"""`sweeps verify`: train stored stages again and compare their bits."""

from __future__ import annotations

import sys

import click

from sweeps.cli.errors import exit_on_user_error, note_left_out, report_left_out
from sweeps.cli.locate import open_stored_sweep
from sweeps.execution.exit_codes import ExitCode


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--sample", type=click.IntRange(min=1), default=5, show_default=True, help="Number of stages."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sample.")
@exit_on_user_error
def verify(directory: str, sample: int, seed: int) -> None:
    """Train a sample of stored stages again and compare all bits."""
    from sweeps.planning.data_content import refuse_other_content
    from sweeps.planning.plan import make_plan
    from sweeps.planning.verification import sample_stages, verify_stage
    from sweeps.stages.stage_store import StageStore

    stored = open_stored_sweep(directory)
    store = StageStore(stored.objects, click.echo)
    refuse_other_content(stored.sweep, stored.objects, read_all=True)
    outcomes: list[str] = []
    plan = make_plan(stored.sweep, store)
    for warning in plan.warnings:
        click.echo(warning, err=True)
    note_left_out(plan.left_out)
    drawn = sample_stages(plan, sample, seed)
    for number, (trial, position) in enumerate(drawn, 1):
        click.echo(f"training stage {number} of {len(drawn)} of the sample again", err=True)
        verdict = verify_stage(store, trial, position)
        outcomes.append(verdict.outcome)
        detail = f": {verdict.detail}" if verdict.detail else ""
        click.echo(f"{verdict.outcome:10}  stage {position + 1} of {trial.name}{detail}")
    report_left_out(store.unread_costs)
    equal = outcomes.count("equal")
    click.echo(f"{equal} of {len(outcomes)} stages have the same bits when they are trained again")
    if set(outcomes) & {"differs", "damaged"}:
        sys.exit(ExitCode.FAILED)
