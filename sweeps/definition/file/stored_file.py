"""The sweep file that the last run of a sweep left in its storage.

It is a record of what was run: a changed copy is refused. A sweep is changed in the user's own
file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.definition.file.loading import sweep_from_dict
from sweeps.definition.file.run_versions import (
    Document,
    is_as_run,
    last_version,
    parsed_document,
)
from sweeps.definition.logging import without_secrets
from sweeps.definition.sweep import Sweep
from sweeps.errors import SweepsError
from sweeps.storage import MissingObjectError, ObjectStore
from sweeps.storage.key_layout import records_of


class ChangedSweepFileError(SweepsError, InvalidConfigError):
    """Raised for a stored sweep file that differs from every version that was run."""


class UnreadableSweepFileError(SweepsError, InvalidConfigError):
    """Raised for a stored sweep file that is no mapping in YAML."""


class LostSweepFileError(SweepsError, InvalidConfigError):
    """Raised for a sweep with records of a run and without a sweep file."""


def sweep_file_name(name: str) -> str:
    """Return the key of the file in the storage."""
    return f"sweeps/{name}/sweep.yaml"


def stored_document(objects: ObjectStore, name: str) -> Document:
    """Return the file as plain data.

    Raises `InvalidConfigError` for a file that is no mapping in YAML, that was changed, or that
    was lost while its sweep has records of a run; `MissingObjectError` for a sweep without them.
    """
    try:
        data = objects.get(sweep_file_name(name))
    except MissingObjectError:
        refuse_lost(objects, name, records_of(objects, name))
        raise
    try:
        document = parsed_document(data)
    except InvalidConfigError as error:
        raise _unreadable(objects, name, _reason(error)) from error
    if not isinstance(document, dict):
        raise _unreadable(objects, name, "It holds something else")
    if not is_as_run(objects, name, document):
        raise _changed(objects, name)
    return document


def refuse_lost(objects: ObjectStore, name: str, records: tuple[str, ...]) -> None:
    """Raise `LostSweepFileError` for a sweep without a file if there are `records` of a run."""
    if not records:
        return
    folder = f"{objects.location}/sweeps/{name}"
    held = ", ".join(f"{record}/" for record in records)
    raise LostSweepFileError(
        [
            ConfigIssue(
                f"{folder}/sweep.yaml",
                "no file",
                "the sweep file of a sweep that was run",
                f"The folder holds {held} of a run. {_remedy(objects, name)} If nothing of the "
                "sweep is needed, remove the folder.",
            )
        ]
    )


def stored_sweep(objects: ObjectStore, name: str) -> Sweep:
    """Return the sweep that the file specifies, without secrets that earlier versions accepted.

    Raises `InvalidConfigError`, which names the file, and `MissingObjectError`.
    """
    document = stored_document(objects, name)
    try:
        return sweep_of(document)
    except InvalidConfigError as error:
        file = f"{objects.location}/{sweep_file_name(name)}"
        raise InvalidConfigError(
            replace(issue, hint=f"{issue.hint} It comes from {file}.".strip())
            for issue in error.issues
        ) from error


def sweep_of(document: Mapping[str, object]) -> Sweep:
    """Return the sweep of a stored document."""
    logging = {"logging": without_secrets(document["logging"])} if "logging" in document else {}
    return sweep_from_dict({**document, **logging})


def _unreadable(objects: ObjectStore, name: str, reason: str) -> UnreadableSweepFileError:
    folder = f"{objects.location}/sweeps/{name}"
    constraint = "a sweep file in YAML, as `sweeps run` has written it"
    hint = f"{reason}. {_remedy(objects, name)}"
    return UnreadableSweepFileError(
        [ConfigIssue(f"{folder}/sweep.yaml", "an unreadable file", constraint, hint)]
    )


def _changed(objects: ObjectStore, name: str) -> ChangedSweepFileError:
    folder = f"{objects.location}/sweeps/{name}"
    constraint = "the file as `sweeps run` has written it: it records what was run"
    hint = (
        "To change a sweep, edit your own file and run it with `sweeps run FILE`, which writes "
        f"this file again. {_remedy(objects, name)}"
    )
    return ChangedSweepFileError(
        [ConfigIssue(f"{folder}/sweep.yaml", "a file that was changed", constraint, hint)]
    )


def _remedy(objects: ObjectStore, name: str) -> str:
    """Return how the file can be restored, with the object that holds it."""
    folder = f"{objects.location}/sweeps/{name}"
    version = last_version(objects, name)
    if version is not None:
        held = f"{objects.location}/{version.source}"
        return f"`sweeps restore {folder}` restores the file of the last run, from {held}."
    return (
        f"Run your sweep file, which writes it again, or copy a version that was run from "
        f"{folder}/versions/, or the field `sweep` of one of {folder}/events/*.json."
    )


def _reason(error: InvalidConfigError) -> str:
    """Return the first issue of the reader without the value."""
    issue = error.issues[0]
    place = issue.path.removeprefix(", ")
    required = f"Required{f' at {place}' if place else ''}: {issue.allowed}"
    return f"{required}. {issue.hint}".rstrip(". ")
