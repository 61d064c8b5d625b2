"""`run.json`: which run a model directory holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clmethods.archive.files import ArchiveError, write
from clmethods.checksummed_json import sealed, unsealed
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
from clmethods.provenance import code_version

ARCHIVE_FORMAT = 1
"""Bumped when the layout of a model directory changes."""
RUN_FILE = "run.json"


def write_run(folder: Path, run: RunConfig) -> None:
    """Begin a model directory for a resolved run; the tasks added to it are listed apart."""
    base, added = unextended(run)
    document = {
        "format": ARCHIVE_FORMAT,
        "run": run_to_dict(base),
        "added": [new_task_to_dict(task) for task in added],
        "stages": [stage.key for stage in stage_chain(run)],
        "code_version": code_version(),
    }
    write(folder / RUN_FILE, sealed(document, readable=True))


def read_run(folder: Path, weights: str | None = None) -> RunConfig:
    """The run that a model directory holds; `weights` says where its backbone's file lies now.

    Raises `ArchiveError` if the folder is not a model directory, if `run.json` is damaged, or if
    it was written by code with other stage keys; `InvalidConfigError` if the weights are gone.
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
    """Raises `ArchiveError` if the directory's stages have keys that this version does not."""
    document = _document(folder)
    if document["stages"] != [stage.key for stage in stage_chain(run)]:
        raise ArchiveError(
            f"{folder} was written by version {document.get('code_version')}, whose stages have "
            "other keys. Use that version, or train into a new directory."
        )


def refuse_another(folder: Path, asked: RunConfig) -> None:
    """Raises `ArchiveError` naming every field in which the run in `folder` is another one."""
    document = _document(folder)
    base, added = unextended(asked)
    there = dict(_fields(_identity(_run(document)) | {"added": document["added"]}))
    ours = dict(_fields(_identity(base) | {"added": [new_task_to_dict(task) for task in added]}))
    absent = "absent"
    differs = [
        f"  {name}: {there.get(name, absent)!r} there, {ours.get(name, absent)!r} asked for"
        for name in sorted(there.keys() | ours.keys())
        if there.get(name, absent) != ours.get(name, absent)
    ]
    if differs:
        intro = f"{folder} holds another run; name another directory. They differ in"
        raise ArchiveError("\n".join([intro, *differs]))


def _document(folder: Path) -> dict[str, Any]:
    path = folder / RUN_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArchiveError(
            f"{folder} is not a model directory: it has no readable {RUN_FILE}. "
            "`clmethods train RUN.yaml -o DIRECTORY` makes one."
        ) from error
    document: dict[str, Any] | None = unsealed(data)
    if document is None:
        raise ArchiveError(f"{path} is damaged: its checksum does not fit its content.")
    if document.get("format") != ARCHIVE_FORMAT:
        raise ArchiveError(
            f"{folder} has format {document.get('format')}, this version reads {ARCHIVE_FORMAT}."
        )
    return document


def _run(document: dict[str, Any]) -> RunConfig:
    """The run as it was resolved then, tasks added later apart; nothing is looked up."""
    return run_from_dict(document["run"])


def _with_weights(run: RunConfig, weights: str) -> RunConfig:
    backbone: BackboneConfig = replace(run.backbone, weights=weights)
    return replace(run, backbone=backbone)


def _of_folder(issue: ConfigIssue, folder: Path) -> ConfigIssue:
    return replace(issue, path=f"{folder}: {issue.path}")


def _identity(run: RunConfig) -> dict[str, Any]:
    return run_to_dict(run) | {"backbone": run.backbone.identity()}


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _fields(item, f"{path}.{name}" if path else str(name))
    else:
        yield path, list(value) if isinstance(value, tuple) else value
