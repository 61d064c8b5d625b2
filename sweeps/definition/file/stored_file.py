"""The sweep file that the last run of a sweep left in its storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from clmethods.errors import ConfigIssue, InvalidConfigError, refuse
from clmethods.strict_yaml import FileKind, parse_yaml
from sweeps.definition.file.loading import sweep_from_dict
from sweeps.definition.logging import without_secrets
from sweeps.definition.sweep import Sweep
from sweeps.storage import ObjectStore

Document = dict[str, object]
_STORED = FileKind(noun="a sweep file in YAML", from_program=True)


def sweep_file_name(name: str) -> str:
    """Return the key of the file in the storage."""
    return f"sweeps/{name}/sweep.yaml"


def stored_document(objects: ObjectStore, name: str) -> Document:
    """Return the file as plain data.

    Raises `InvalidConfigError` for bytes that are no mapping in YAML, and `MissingObjectError`.
    """
    data = objects.get(sweep_file_name(name))
    try:
        document, issues = parse_yaml(data, "", _STORED)
        refuse(issues)
    except InvalidConfigError as error:
        raise _unreadable(objects, name, _reason(error)) from error
    if not isinstance(document, dict):
        raise _unreadable(objects, name, "It holds something else")
    return document


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


def _unreadable(objects: ObjectStore, name: str, reason: str) -> InvalidConfigError:
    folder = f"{objects.location}/sweeps/{name}"
    constraint = "a sweep file in YAML, as `sweeps run` has written it"
    hint = (
        f"{reason}. Replace it with your sweep file, or with a version that was run: "
        f"{folder}/versions/"
    )
    return InvalidConfigError(
        [ConfigIssue(f"{folder}/sweep.yaml", "an unreadable file", constraint, hint)]
    )


def _reason(error: InvalidConfigError) -> str:
    """Return the first issue of the reader without the value."""
    issue = error.issues[0]
    place = issue.path.removeprefix(", ")
    required = f"Required{f' at {place}' if place else ''}: {issue.allowed}"
    return f"{required}. {issue.hint}".rstrip(". ")
