"""`sweeps gc`: removal of stages that no sweep of a storage needs."""

from __future__ import annotations

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.cli.errors import exit_on_user_error
from sweeps.cli.locate import usable_storage


@click.command()
@click.argument("storage", metavar="STORAGE")
@click.option(
    "--delete", is_flag=True, help="Delete the stages. Without it, they are only counted."
)
@exit_on_user_error
def gc(storage: str, delete: bool) -> None:
    """Find or delete stages that no sweep of a storage needs.

    Each sweep needs the stages of the sweep file that it was last run with. A sweep whose
    STORAGE/sweeps/NAME was removed needs none. Result tables are not changed: rows of trials that
    were removed from a sweep file are kept.
    """
    from pathlib import Path

    from sweeps.planning.garbage import (
        delete_stages,
        find_garbage,
        needed_stages,
        stage_sizes,
        stored_sweeps,
    )
    from sweeps.stages.stage_store import StageStore

    if "://" not in storage and not Path(storage, "stages").is_dir():
        raise InvalidConfigError(
            [ConfigIssue("STORAGE", storage, "a storage, which holds `stages/`")]
        )
    store = StageStore(usable_storage(storage, write=delete, create=False), click.echo)
    sizes = stage_sizes(store)  # read before the needed stages: see `planning.garbage`
    sweeps = stored_sweeps(store.objects)
    found = find_garbage(store, sizes, needed_stages(sweeps, store.objects))
    click.echo(f"{found.needed} stages are needed by {len(sweeps)} sweeps")
    if found.leased:
        click.echo(f"{len(found.leased)} are not, but are being trained right now: they stay")
    what = f"{len(found.stages)} stages, {found.size / 1e6:.1f} MB, are needed by none"
    if not found.stages:
        click.echo("nothing to delete")
    elif delete:
        kept = len(found.stages) - len(delete_stages(store, found))
        click.echo(f"{what}: deleted")
        if kept:
            click.echo(f"except {kept} that a sweep needs by now")
    else:
        click.echo(f"{what}; `sweeps gc {storage} --delete` deletes them")
