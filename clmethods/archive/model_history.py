"""`history.json`: who trained what when, from which data and file; one entry per finished command.

The history is a record for people. It is not part of the identity of a run, and a model without it
is complete: models of earlier versions have none.
"""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, final

from clmethods.archive.model import HISTORY_FILE, ModelArchive
from clmethods.archive.stage_files import read_checksummed, write
from clmethods.canonical import plain
from clmethods.checksummed_json import add_checksum, sha256
from clmethods.config.task_contents import task_title
from clmethods.provenance import code_version


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One command that finished a model."""

    when: str
    """Time of the end in UTC, ISO 8601."""
    user: str
    host: str
    command: str
    """`train` or `extend`."""
    tasks: list[str]
    """Titles of the tasks that the command has added."""
    stage: str
    """Key of the last stage: a checksum of all that the weights depend on, images included."""
    source: str
    """Run file or data, as it was given."""
    source_sha256: str | None
    """Checksum of the source; None if it is no file."""
    code_version: str
    gate: list[str]
    """Reasons why the gate refused the model; empty if it did not."""

    @classmethod
    def now(
        cls,
        command: str,
        archive: ModelArchive,
        source: str,
        file: Path,
        gate: Sequence[str] = (),
    ) -> Self:
        """Return the entry of a command that ends now."""
        groups = archive.run.stream.sequence()
        added = groups if command == "train" else groups[-1:]
        return cls(
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            user=_user(),
            host=platform.node(),
            command=command,
            tasks=[task_title(group) for group in added],
            stage=archive.chain[-1].key,
            source=source,
            source_sha256=sha256(file.read_bytes()) if file.is_file() else None,
            code_version=code_version(),
            gate=list(gate),
        )


def read_history(archive: ModelArchive) -> list[HistoryEntry]:
    """Return the entries, the oldest first; empty for a model of an earlier version.

    Raises `ArchiveError` if the file is damaged or was changed.
    """
    path = archive.folder / HISTORY_FILE
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = read_checksummed(path)
    return [HistoryEntry(**entry) for entry in entries]


def add_entry(archive: ModelArchive, entry: HistoryEntry) -> None:
    """Add an entry, unless the last one is of the same command, stage and decision of the gate."""
    entries = read_history(archive)
    if entries and _outcome(entries[-1]) == _outcome(entry):
        return
    _write(archive, [*entries, entry])


def copy_history(source: ModelArchive, target: ModelArchive) -> None:
    """Start the history of an extended model with that of the old one, unless it has one."""
    entries = read_history(source)
    if entries and not (target.folder / HISTORY_FILE).exists():
        _write(target, entries)


def _outcome(entry: HistoryEntry) -> tuple[str, str, list[str]]:
    return entry.command, entry.stage, entry.gate


def _write(archive: ModelArchive, entries: Sequence[HistoryEntry]) -> None:
    document = add_checksum(plain([asdict(entry) for entry in entries]), readable=True)
    write(archive.folder / HISTORY_FILE, document)


def _user() -> str:
    """Return the name of the user; the number if the system has no name, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the type of the error depends on the version of Python
        return str(os.getuid())
