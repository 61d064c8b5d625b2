"""Headers and checksums of files, computed once per file and kept in the user's cache.

A record is used again while size, modification time, change time and inode of its file are the
same. The change time differs even if a program restores the modification time. A file that was
changed in the last seconds is always read again, because a further change within the resolution
of the clock would not be seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path
from typing import Any, final

from clmethods.user_data.cache_folder import cache_dir
from clmethods.user_data.image_headers import HEADERS, ImageHeader, read_header

RECORDS = 1
"""Version of the file of records."""
HEADER_TYPES = tuple(type(value) for value in astuple(ImageHeader()))
SETTLED_NS = 2_000_000_000
"""Age in nanoseconds from which on a change of a file changes its times for certain."""


@final
class FileRecords:
    """Records of the files below one folder. `save` writes new records to the cache."""

    def __init__(self, base: Path) -> None:
        self._base = base.absolute()
        name = hashlib.sha256(os.fsencode(str(self._base))).hexdigest()[:24]
        self._file = cache_dir() / f"records-{name}.json"
        self._records: dict[str, dict[str, Any]] = _read(self._file)
        self._changed = False

    def header(self, path: str) -> ImageHeader | None:
        """Return the header of the image at a path relative to the folder; see `read_header`."""
        record, settled = self._record(path)
        if "header" not in record or not settled:
            header = read_header(self._base / path)
            record["header"] = None if header is None else list(astuple(header))
            self._changed = self._changed or settled
        stored = record["header"]
        return None if stored is None else ImageHeader(*stored)

    def digests(self, paths: Sequence[str], *, read_all: bool = False) -> list[str]:
        """Return the SHA-256 of the content of each file.

        `read_all` reads every file, even if its record is up to date. Raises OSError if a file
        cannot be read.
        """
        found = [self._record(path) for path in paths]
        outdated = [
            (path, record)
            for path, (record, settled) in zip(paths, found, strict=True)
            if read_all or not settled or "sha256" not in record
        ]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            digests = pool.map(self._digest, [path for path, _ in outdated])
            for (_, record), digest in zip(outdated, digests, strict=True):
                record["sha256"] = digest
        self._changed = self._changed or bool(outdated)
        return [str(record["sha256"]) for record, _ in found]

    def save(self) -> None:
        """Write the records to the cache. A cache that cannot be written costs only time."""
        if not self._changed:
            return
        now = time.time_ns()
        kept = {p: r for p, r in self._records.items() if _is_settled(r["stat"], now)}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=self._file.parent, prefix="records-", suffix=".tmp", delete=False
            ) as stream:
                json.dump({"version": [RECORDS, HEADERS], "files": kept}, stream)
            os.replace(stream.name, self._file)
        except OSError:
            return
        self._changed = False

    def _record(self, path: str) -> tuple[dict[str, Any], bool]:
        """Return the record of a file as it is now, and True if it may be used again."""
        stat = _stat_of(self._base / path)
        record = self._records.get(path)
        if record is None or record["stat"] != stat:
            record = self._records[path] = {"stat": stat}
        return record, _is_settled(stat, time.time_ns())

    def _digest(self, path: str) -> str:
        with (self._base / path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def _stat_of(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def _is_settled(stat: Sequence[int], now: int) -> bool:
    return max(stat[1], stat[2]) < now - SETTLED_NS


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """Return the stored records; none if the file is missing, damaged or of another version."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["version"] != [RECORDS, HEADERS]:
            return {}
        return {path: record for path, record in document["files"].items() if _is_record(record)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _is_record(record: object) -> bool:
    """Return True if a stored record has the parts that `FileRecords` writes."""
    if not isinstance(record, dict):
        return False
    header, digest = record.get("header"), record.get("sha256", "")
    return (
        _has_types(record.get("stat"), (int,) * 5)
        and (header is None or _has_types(header, HEADER_TYPES))
        and type(digest) is str
        and ("sha256" not in record or len(digest) == 64)
    )


def _has_types(values: object, types: tuple[type, ...]) -> bool:
    return isinstance(values, list) and tuple(map(type, values)) == types
