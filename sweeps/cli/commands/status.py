"""`sweeps status`: drivers, nodes and progress of the sweeps of a storage, from any machine."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

import click

from clmethods.errors import ConfigIssue, InvalidConfigError, refuse
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.shared_options import FiniteRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeps.planning.status_model import SweepStatus
    from sweeps.results.load import SweepLocation

SHORTEST_S = 1.0
"""Minimum number of seconds between two reads of --watch: each takes requests to the storage."""
LONGEST_S = 86400.0


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--trials", is_flag=True, help="List every trial with its id and state.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; see sweeps/README.md.")
@click.option(
    "--watch",
    type=FiniteRange(SHORTEST_S, LONGEST_S),
    metavar="SECONDS",
    help="Refresh every SECONDS until Ctrl-C.",
)
@exit_on_user_error
def status(directory: str, trials: bool, as_json: bool, watch: float | None) -> None:
    """Show drivers, nodes, progress, throughput and failures.

    DIR is STORAGE/sweeps/NAME, or STORAGE for an overview of its sweeps. Works from any machine
    that can read the storage, whether a driver is running or not. Writes nothing. If a stored
    sweep file was changed, what was run is shown, and the exit code is 2.
    """
    from sweeps.results.load import locate

    place = locate(directory)
    if watch is None:
        found = _read(directory, place, trials)
        click.echo(_text(found, directory, place, trials, as_json))
        note_left_out(key for each in found for key in each.left_out)
        _refuse_changed_files(place, place.all(directory))
        return
    try:
        while True:
            started = time.monotonic()
            _show(watched_text(directory, place, trials, as_json), as_json)
            time.sleep(max(0.0, watch - (time.monotonic() - started)))
    except KeyboardInterrupt:
        return  # the usual way to end --watch


def _refuse_changed_files(place: SweepLocation, names: Sequence[str]) -> None:
    """Raise the error of the first sweep whose stored file was changed."""
    from sweeps.definition import ChangedSweepFileError, stored_document
    from sweeps.storage import MissingObjectError

    issues: list[ConfigIssue] = []
    for name in names:
        try:
            stored_document(place.objects, name)
        except ChangedSweepFileError as error:
            issues += error.issues
        except (InvalidConfigError, MissingObjectError):
            continue  # the text reports it
    refuse(issues)


def _show(text: str, as_json: bool) -> None:
    if as_json:
        click.echo(text)
        return
    if sys.stdout.isatty():
        click.clear()
    click.echo(f"{datetime.now():%Y-%m-%d %H:%M:%S}\n\n{text}\n")


def watched_text(directory: str, place: SweepLocation, trials: bool, as_json: bool) -> str:
    """Return the text for --watch; a storage failure is shown, and the next read may succeed."""
    import json

    from sweeps.storage import is_storage_fault

    try:
        found = _read(directory, place, trials)
        return _text(found, directory, place, trials, as_json, indent=None)
    except Exception as error:
        if not is_storage_fault(error) and not isinstance(error, OSError):
            raise
        reason = f"the storage cannot be read: {str(error).splitlines()[0]}"
        return json.dumps({"error": reason}) if as_json else reason


def _read(directory: str, place: SweepLocation, trials: bool) -> list[SweepStatus]:
    from sweeps.planning.sweep_status import read_statuses

    names = (place.require_single(directory),) if trials else place.all(directory)
    return read_statuses(place.objects, names)


def _text(
    found: Sequence[SweepStatus],
    directory: str,
    place: SweepLocation,
    trials: bool,
    as_json: bool,
    indent: int | None = 1,
) -> str:
    if as_json:
        from sweeps.cli.text.status_json import status_json

        return status_json(place.objects.location, found, indent)
    from sweeps.cli.text.status_text import overview_text, status_text

    storage = directory.rstrip("/").rpartition("/sweeps/")[0] or directory
    if len(found) > 1:
        return overview_text(found, storage)
    text = status_text(found[0], storage)
    return "\n".join([text, _trials_text(found[0])]) if trials else text


def _trials_text(status: SweepStatus) -> str:
    from sweeps.cli.text.plan_overview import trials_text

    if status.plan is None:
        return f"the trials cannot be listed: {status.unresolved}"
    running = {stage.trial for stage in status.running}
    return trials_text(status.plan, running)
