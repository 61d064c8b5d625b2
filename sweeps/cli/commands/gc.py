"""`sweeps gc`: removal of stages that no sweep of a storage needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.cli.errors import exit_on_user_error, report_left_out
from sweeps.cli.locate import usable_storage
from sweeps.execution.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweeps.planning.garbage import RecordedStages, StoredStage
    from sweeps.stages.leases import Lease
    from sweeps.stages.stage_store import StageStore
    from sweeps.storage import ObjectStore


@click.command()
@click.argument("storage", metavar="STORAGE")
@click.option(
    "--delete", is_flag=True, help="Delete the stages. Without it, they are only listed."
)
@click.option(
    "--also-recorded",
    is_flag=True,
    help="Include stages that rows of results name. Their results cannot be verified any more.",
)
@exit_on_user_error
def gc(storage: str, delete: bool, also_recorded: bool) -> None:
    """Find or delete stages that no sweep of a storage needs.

    Each sweep needs the stages of the sweep file that it was last run with. A stage that a row of
    a result table names is kept even if its trial was removed from the sweep file. A sweep whose
    STORAGE/sweeps/NAME was removed needs no stage. Result tables are not changed. Nothing is
    deleted while a sweep is running, and a sweep that starts meanwhile waits.
    """
    from pathlib import Path

    from sweeps.planning.deletion_guard import deletion_lease
    from sweeps.stages.stage_store import StageStore

    if "://" not in storage and not Path(storage, "stages").is_dir():
        raise InvalidConfigError(
            [ConfigIssue("STORAGE", storage, "a storage, which holds `stages/`")]
        )
    store = StageStore(usable_storage(storage, write=delete, create=False), click.echo)
    if not delete:
        _collect(store, storage, also_recorded, None)
        return
    with deletion_lease(store.objects) as lease:
        complete = _collect(store, storage, also_recorded, lease)
    if not complete:
        sys.exit(ExitCode.FAILED)


def _collect(store: StageStore, storage: str, also_recorded: bool, lease: Lease | None) -> bool:
    """List the stages, and delete them under a lease; return False if the deletion stopped."""
    from datetime import UTC, datetime

    from sweeps.cli.text.garbage_text import deleted_line, garbage_lines, kept_lines
    from sweeps.planning.garbage import (
        delete_stages,
        find_garbage,
        needed_stages,
        owner_sweeps,
        recorded_stages,
        stored_stages,
        stored_sweeps,
    )

    objects = store.objects
    stored = stored_stages(objects)  # read before the needed stages: see `planning.garbage`
    sweeps = stored_sweeps(objects)
    recorded = recorded_stages(objects)
    needed = needed_stages(sweeps, objects)
    report_left_out(needed.left_out)
    found = find_garbage(objects, stored, needed.keys, recorded.sweeps)
    if also_recorded:
        lost = _unverifiable_lines(objects, found.recorded, recorded)
        found = found.with_recorded
    else:
        lost = []
        _refuse_unreadable(objects, recorded, deletes=lease is not None)
    for line in kept_lines(found, len(sweeps)):
        click.echo(line)
    if not found.stages:
        click.echo("nothing to delete")
        return True
    owners = owner_sweeps(store, found.stages)
    report_left_out(store.unread_costs)
    for line in (*garbage_lines(found.stages, owners, datetime.now(UTC)), *lost):
        click.echo(line)
    if lease is None:
        flag = " --also-recorded" if also_recorded else ""
        click.echo(f"`sweeps gc {storage} --delete{flag}` deletes them")
        return True
    deletion = delete_stages(objects, tuple(found.stages), lease)
    click.echo(deleted_line(found.stages, len(deletion.deleted), deletion.stopped))
    return not deletion.stopped


def _unverifiable_lines(
    objects: ObjectStore, stages: Mapping[str, StoredStage], recorded: RecordedStages
) -> list[str]:
    """Return which results cannot be verified, extended or forked without these stages."""
    from sweeps.planning.garbage import unverifiable

    by_sweep: dict[str, set[str]] = {}
    for key in stages:
        for name in recorded.sweeps[key]:
            by_sweep.setdefault(name, set()).add(key)
    return [
        f"without them, these results cannot be verified, extended or forked: {text}"
        for text in (unverifiable(objects, name, keys) for name, keys in by_sweep.items())
    ]


def _refuse_unreadable(objects: ObjectStore, recorded: RecordedStages, *, deletes: bool) -> None:
    """Print the files of tables that cannot be read; raise if stages would be deleted."""
    if not recorded.unreadable:
        return
    shown = ", ".join(recorded.unreadable[:3])
    reason = f"The stages that these rows name are unknown: {shown}"
    if deletes:
        issue = ConfigIssue(
            "STORAGE",
            objects.location,
            "a storage whose result tables can be read",
            f"{reason}. `sweeps run` writes them again, from the stages.",
        )
        raise InvalidConfigError([issue])
    click.echo(f"warning: {reason}", err=True)
