"""`sweeps restore`: the stored sweep file of a sweep, from the records of its last run."""

from __future__ import annotations

import click

from sweeps.cli.errors import exit_on_user_error
from sweeps.cli.locate import print_to_stderr


@click.command()
@click.argument("directory", metavar="DIR")
@exit_on_user_error
def restore(directory: str) -> None:
    """Restore the stored sweep file of a sweep after it was changed, damaged or lost.

    The file in the storage records what was run. It is restored from `versions/`, or from the
    event log of earlier versions of this program. A file that is replaced is kept in `replaced/`.
    """
    from sweeps.planning.sweep_file_restoring import restore_sweep_file
    from sweeps.results.load import locate

    place = locate(directory, print_to_stderr, write=True)
    name = place.require_single(directory)
    restored = restore_sweep_file(place.objects, name)
    file = f"{place.objects.location}/sweeps/{name}/sweep.yaml"
    if restored is None:
        click.echo(f"{file} is one of the versions that were run: nothing to restore")
        return
    click.echo(f"{file} is restored from {place.objects.location}/{restored.source}")
    if restored.kept is not None:
        click.echo(f"the replaced file is kept: {place.objects.location}/{restored.kept}")
