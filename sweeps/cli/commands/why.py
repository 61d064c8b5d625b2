"""`sweeps why`: the stages that two trials share, and the fields in which they diverge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.errors import nearest
from sweeps.cli.errors import exit_on_user_error, report_left_out
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
    """Show the first stage and the fields in which trials differ.

    A and B are trial ids or their beginnings; `sweeps status DIR --trials` lists them.
    """
    from sweeps.definition.derive.divergence import divergence
    from sweeps.search.stored_observations import read_step

    stored = open_stored_sweep(directory)
    step, left_out = read_step(stored.sweep, stored.objects)
    report_left_out(left_out)
    trials = step.trials
    one, other = _trial(trials, "A", first), _trial(trials, "B", second)
    found = divergence(one, other)
    click.echo(f"A {one.trial_id}: {one.name}\nB {other.trial_id}: {other.name}")
    if not found.differences:
        click.echo(f"they share all of the {min(found.lengths)} stages that both have")
        return
    click.echo(f"they share {found.shared} stages and diverge at stage {found.shared + 1} in")
    for difference in found.differences:
        click.echo(f"  {difference.path}: {difference.first} | {difference.second}")


def _trial(trials: Sequence[TrialSpec], name: str, prefix: str) -> TrialSpec:
    found = [trial for trial in trials if trial.trial_id.startswith(prefix)]
    if len(found) != 1:
        allowed = "the beginning of exactly one trial id"
        hint = nearest(prefix, [trial.trial_id for trial in trials])
        hint = hint or "`sweeps status DIR --trials` lists them."
        raise InvalidConfigError([ConfigIssue(name, prefix, allowed, hint)])
    return found[0]
