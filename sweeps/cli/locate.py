"""Lookup of the sweep and the storage that a user names on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.errors import nearest, refuse

if TYPE_CHECKING:
    from sweeps.definition import Sweep
    from sweeps.storage import ObjectStore, StorageOptions

NEW_FILE = "a file that does not exist yet"
"""Requirement for an output path of a command: no file is overwritten."""


def load_named_sweep(name: str) -> Sweep:
    """Return a sweep by the name of a shipped study or by its path."""
    from sweeps.definition import load_sweep, shipped_studies

    studies = shipped_studies()
    if name in studies:
        return load_sweep(studies[name])
    path = Path(name)
    if not path.exists() and path.suffix not in {".yaml", ".yml"}:
        allowed = f"a path that ends in .yaml, or one of the shipped studies {sorted(studies)}"
        raise InvalidConfigError(
            [ConfigIssue("SWEEP", name, allowed, nearest(name, list(studies)))]
        )
    return load_sweep(path)


@final
@dataclass(frozen=True, slots=True)
class StoredSweep:
    """Sweep that was run before, with its storage."""

    sweep: Sweep
    objects: ObjectStore


def usable_storage(
    location: str, options: StorageOptions | None = None, *, write: bool, create: bool = True
) -> ObjectStore:
    """Return the storage at a directory or a URL, after a check that it can be used.

    Outages are reported on stderr. Raises `InvalidConfigError` before anything is started if
    location, settings, keys or rights are wrong.
    """
    from sweeps.storage import open_storage, require_storage

    objects = open_storage(location, options, create=create, notify=print_to_stderr)
    require_storage(objects, write=write)
    return objects


def planned_storage(location: str, options: StorageOptions) -> ObjectStore:
    """Return the storage of a run that may follow; a missing directory is not created.

    Raises `InvalidConfigError` as `usable_storage` does.
    """
    from sweeps.storage import open_for_planning, require_storage

    objects = open_for_planning(location, options, notify=print_to_stderr)
    require_storage(objects, write=False)
    return objects


def print_to_stderr(message: str) -> None:
    """Print a message about the storage on stderr."""
    click.echo(message, err=True)


def find_stored_sweep(objects: ObjectStore, name: str) -> Sweep:
    """Return the sweep of a name, as its last run wrote it to the storage.

    Raises `InvalidConfigError` with the names of the existing sweeps.
    """
    from sweeps.definition import stored_document, stored_sweep
    from sweeps.definition.logging import secret_issues
    from sweeps.results.load import sweep_names

    names = list(sweep_names(objects))
    if name in names:
        refuse(secret_issues(stored_document(objects, name).get("logging")))
        return stored_sweep(objects, name)
    allowed = f"a sweep of {objects.location}: {names}" if names else "the name of a stored sweep"
    hint = nearest(name, names) if names else f"No sweep was run on {objects.location}."
    raise InvalidConfigError([ConfigIssue("SWEEP", name, allowed, hint)])


def open_stored_sweep(directory: str, *, write: bool = False) -> StoredSweep:
    """Return the sweep at STORAGE/sweeps/NAME, or the only sweep of a storage, for reading.

    With `write` the storage must be writable, too.
    """
    from sweeps.definition import stored_sweep
    from sweeps.results.load import locate

    place = locate(directory, print_to_stderr, write=write)
    return StoredSweep(stored_sweep(place.objects, place.require_single(directory)), place.objects)


def new_sweep_file_faults(output: Path) -> list[ConfigIssue]:
    """Return the issues of the path of a new sweep file; no file is overwritten."""
    name = str(output)
    issues: list[ConfigIssue] = []
    if output.suffix not in {".yaml", ".yml"}:
        issues.append(ConfigIssue("--output", name, "a path that ends in .yaml"))
    if not output.parent.is_dir():
        issues.append(ConfigIssue("--output", name, "a path in an existing folder"))
    elif output.exists():
        issues.append(ConfigIssue("--output", name, NEW_FILE, "Choose another name."))
    return issues


def write_new_file(output: Path, text: str) -> bool:
    """Write a file; return False if a file with this text exists already.

    Raises `InvalidConfigError` if a file with other content exists.
    """
    from sweeps.results.export import write_complete

    data = text.encode()
    try:
        write_complete(output, lambda place: place.write_bytes(data), replace=False)
    except FileExistsError as error:
        if output.read_bytes() == text.encode():
            return False
        constraint = f"{NEW_FILE}, or holds the same already"
        issue = ConfigIssue(
            "--output", str(output), constraint, "Choose another name, or remove it."
        )
        raise InvalidConfigError([issue]) from error
    return True


def refuse_inside_storage(directory: str, option: str, path: Path) -> None:
    """Refuse an output path in the folder of a storage, where a result would be a foreign file.

    `directory`: the DIR of a command. Raises `InvalidConfigError`.
    """
    from sweeps.results.load import storage_of

    root = storage_of(directory)
    if "://" not in root and path.resolve().is_relative_to(Path(root).resolve()):
        constraint = f"a folder outside the storage {root}"
        hint = "Choose a folder beside it."
        raise InvalidConfigError([ConfigIssue(option, str(path), constraint, hint)])


storage_option = click.option(
    "--storage",
    default="runs",
    show_default=True,
    metavar="DIR|URL",
    help="Where stages and results are kept: a directory, s3://…, gs://… or az://…",
)
"""Option shared by the commands that need a storage."""
