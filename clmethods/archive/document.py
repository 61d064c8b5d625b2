"""`run.json`: the document that identifies the run in a model directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from clmethods.archive.stage_files import ArchiveError, read_checksummed, write
from clmethods.canonical import plain
from clmethods.checksummed_json import add_checksum
from clmethods.config import (
    BackboneConfig,
    ConfigIssue,
    InvalidConfigError,
    RunConfig,
    extended,
    new_task_from_dict,
    new_task_to_dict,
    resolve,
    run_from_dict,
    run_to_dict,
    stage_chain,
    unextended,
)
from clmethods.config.stream import NOT_IDENTITY
from clmethods.provenance import code_version

ARCHIVE_FORMAT = 1
"""Version of the layout of a model directory; increased when the layout changes."""
RUN_FILE = "run.json"


class RunDocument(TypedDict):
    """Content of `run.json`."""

    format: int
    run: dict[str, object]
    added: list[dict[str, object]]
    stages: list[str]
    code_version: str


def write_run(folder: Path, run: RunConfig) -> None:
    """Create a model directory for a resolved run; tasks added to it are listed separately."""
    base, added = unextended(run)
    document: RunDocument = {
        "format": ARCHIVE_FORMAT,
        "run": run_to_dict(base),
        "added": [new_task_to_dict(task) for task in added],
        "stages": [stage.key for stage in stage_chain(run)],
        "code_version": code_version(),
    }
    write(folder / RUN_FILE, add_checksum(document, readable=True))


def read_run(folder: Path, weights: str | None = None) -> RunConfig:
    """Return the run in a model directory.

    `weights` is the new path of a backbone file that was moved. Raises `ArchiveError` if the
    folder is not a model directory, if `run.json` is damaged, or if it was written by a version
    with other stage keys; `InvalidConfigError` if the weights are missing.
    """
    document = _document(folder)
    run = _run(document)
    if weights is not None:
        run = _with_weights(run, weights)
    try:
        run = resolve(run)
    except InvalidConfigError as error:
        raise InvalidConfigError(_of_folder(issue, folder) for issue in error.issues) from error
    for task in document["added"]:
        run = extended(run, new_task_from_dict(task))
    check_keys(folder, run)
    return run


def check_keys(folder: Path, run: RunConfig) -> None:
    """Raise `ArchiveError` if the directory's stage keys differ from those of this version."""
    document = _document(folder)
    if document["stages"] != [stage.key for stage in stage_chain(run)]:
        raise ArchiveError(
            f"{folder} was written by version {document.get('code_version')}, whose stage "
            "keys differ. Use that version, or train into a new directory."
        )


def refuse_another(folder: Path, requested: RunConfig) -> None:
    """Raise `ArchiveError` if `folder` contains another run, with all fields that differ."""
    document = _document(folder)
    base, added = unextended(requested)
    base = _without_later_facts(base, _run(document))
    stored = dict(_fields(_identity(_run(document)) | {"added": document["added"]}))
    requested_fields = dict(
        _fields(_identity(base) | {"added": [new_task_to_dict(task) for task in added]})
    )
    absent = "absent"
    pairs = {
        name: (stored.get(name, absent), requested_fields.get(name, absent))
        for name in sorted(stored.keys() | requested_fields.keys())
    }
    differs = [
        f"  {name}: {before!r} stored, {now!r} requested"
        for name, (before, now) in pairs.items()
        if before != now
    ]
    if differs:
        intro = f"{folder} contains another run; specify another directory. They differ in"
        raise ArchiveError("\n".join([intro, *differs]))


def _document(folder: Path) -> RunDocument:
    try:
        document: RunDocument = read_checksummed(folder / RUN_FILE)
    except OSError as error:
        raise ArchiveError(
            f"{folder} is not a model directory: it has no readable {RUN_FILE}. "
            "`clmethods train RUN.yaml -o DIRECTORY` creates one."
        ) from error
    if document.get("format") != ARCHIVE_FORMAT:
        raise ArchiveError(
            f"{folder} has format {document.get('format')}, this version reads {ARCHIVE_FORMAT}."
        )
    return document


def _run(document: RunDocument) -> RunConfig:
    """Return the base run as it was resolved when it was written, without further lookups."""
    return run_from_dict(document["run"])


def _without_later_facts(run: RunConfig, stored: RunConfig) -> RunConfig:
    """Return the run without facts of its data that directories of earlier versions lack."""
    record, known = run.stream.record, stored.stream.record
    if record is None or known is None:
        return run
    absent = {name: getattr(known, name) for name in NOT_IDENTITY if not getattr(known, name)}
    return replace(run, stream=replace(run.stream, record=replace(record, **absent)))


def _with_weights(run: RunConfig, weights: str) -> RunConfig:
    backbone: BackboneConfig = replace(run.backbone, weights=weights)
    return replace(run, backbone=backbone)


def _of_folder(issue: ConfigIssue, folder: Path) -> ConfigIssue:
    return replace(issue, path=f"{folder}: {issue.path}")


def _identity(run: RunConfig) -> dict[str, object]:
    return run_to_dict(run) | {"backbone": run.backbone.identity()}


def _fields(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Return the fields by path, in the form in which JSON restores them: tuples are lists."""
    value = plain(value)
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _fields(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from _fields(item, f"{path}[{index}]")
    else:
        yield path, value
