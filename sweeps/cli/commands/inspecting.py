"""`sweeps why` and `sweeps verify`: what trials share, and whether stages hold."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.errors import nearest
from sweeps.cli.errors import exit_on_user_error
from sweeps.cli.locate import open_stored_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeps.definition import TrialSpec


@click.command()
@click.argument("directory", metavar="DIR")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@exit_on_user_error
def why(directory: str, first: str, second: str) -> None:
    """The first stage at which trials A and B part, and the fields that part them.

    A and B are trial ids or their beginnings; `sweeps status DIR --trials` lists them.
    """
    from sweeps.definition.derive.divergence import divergence
    from sweeps.search.stored_observations import current_step

    stored = open_stored_sweep(directory)
    trials = current_step(stored.sweep, stored.objects).trials
    one, other = _trial(trials, "A", first), _trial(trials, "B", second)
    found = divergence(one, other)
    click.echo(f"A {one.trial_id}: {one.name}\nB {other.trial_id}: {other.name}")
    if not found.differences:
        click.echo(f"they share all of the {min(found.lengths)} stages that both have")
        return
    click.echo(f"they share {found.shared} stages and part at stage {found.shared + 1} by")
    for difference in found.differences:
        click.echo(f"  {difference.path}: {difference.first} | {difference.second}")


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--sample", type=click.IntRange(min=1), default=5, show_default=True, help="How many stages."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which ones are drawn.")
@exit_on_user_error
def verify(directory: str, sample: int, seed: int) -> None:
    """Train a random sample of stored stages again and compare every bit."""
    from sweeps.planning.plan import make_plan
    from sweeps.planning.verification import sample_stages, verify_stage
    from sweeps.stages.stage_store import StageStore

    stored = open_stored_sweep(directory)
    store = StageStore(stored.objects, click.echo)
    outcomes: list[str] = []
    for trial, position in sample_stages(make_plan(stored.sweep, store), sample, seed):
        verdict = verify_stage(store, trial, position)
        outcomes.append(verdict.outcome)
        detail = f": {verdict.detail}" if verdict.detail else ""
        click.echo(f"{verdict.outcome:10}  stage {position + 1} of {trial.name}{detail}")
    equal = outcomes.count("equal")
    click.echo(f"{equal} of {len(outcomes)} stages have the same bits when they are trained again")
    if set(outcomes) & {"differs", "damaged"}:
        sys.exit(1)


def _trial(trials: Sequence[TrialSpec], name: str, prefix: str) -> TrialSpec:
    found = [trial for trial in trials if trial.trial_id.startswith(prefix)]
    if len(found) != 1:
        allowed = "the beginning of exactly one trial id"
        hint = nearest(prefix, [trial.trial_id for trial in trials])
        hint = hint or "`sweeps status DIR --trials` lists them."
        raise InvalidConfigError([ConfigIssue(name, prefix, allowed, hint)])
    return found[0]
