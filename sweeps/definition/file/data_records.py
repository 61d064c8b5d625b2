"""Facts of the user's own data in stored sweep files, so that results are read without the data.

A sweep file names a folder or a manifest. What it holds is part of every stage key: if it were
read again with the results, an image that was added later would make all stored runs unknown. The
facts that a run found are therefore kept in the stored file, as `data_records`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import ClassVar

from clmethods.canonical import plain
from clmethods.catalog.facts import DatasetFacts
from clmethods.config.stream import StreamConfig

_WRITTEN = ("dataset", "root", "manifest", "split_file", "fingerprint")
"""Fields of `stream` that identify data, in the way in which a file may write them."""
_PATHS = ("root", "manifest", "split_file")
_Key = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecord:
    """Data that a file refers to with `written`, and what a run found there."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    written: dict[str, str | None]
    """Fields of `stream` that refer to the data, as in the file; paths may be relative."""
    paths: dict[str, str | None]
    """The paths among them, absolute."""
    facts: DatasetFacts
    split_version: str | None = None


@dataclass(frozen=True, slots=True)
class DataRecords:
    """Records of a stored file, and those of all data that was used in its place."""

    given: dict[_Key, DataRecord] = field(default_factory=dict)
    used: dict[_Key, DataRecord] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[DataRecord]) -> DataRecords:
        """Return the records of a file."""
        return cls({_key(record.written): record for record in records})

    def applied(self, section: Mapping[str, object]) -> dict[str, object]:
        """Return the section `stream` with the facts of a record, if there is one for its data."""
        record = self.given.get(_key(section))
        if record is None:
            return dict(section)
        known = {name: path for name, path in record.paths.items() if path is not None}
        facts = {"record": plain(record.facts), "split_version": record.split_version}
        return {**section, **known, **facts}

    def note(self, section: Mapping[str, object], stream: StreamConfig) -> None:
        """Keep what a resolved stream says about the data of the section `stream`."""
        if stream.record is None:
            return
        written = {name: section.get(name) for name in _WRITTEN}
        self.used.setdefault(
            _key(section),
            DataRecord(
                written={n: v if v is None else str(v) for n, v in written.items()},
                paths={name: getattr(stream, name) for name in _PATHS},
                facts=stream.record,
                split_version=stream.split_version,
            ),
        )


def _key(section: Mapping[str, object]) -> _Key:
    """Return the fields as texts; a value of a wrong type, such as a list, may not be hashable."""
    values = (section.get(name) for name in _WRITTEN)
    return tuple(None if value is None else str(value) for value in values)


_records: ContextVar[DataRecords | None] = ContextVar("data_records", default=None)


def data_records() -> DataRecords:
    """Return the records in use; none outside of `using_records`."""
    return _records.get() or DataRecords()


@contextmanager
def using_records(records: DataRecords) -> Iterator[DataRecords]:
    """Use the records for all runs that are checked in this block."""
    token = _records.set(records)
    try:
        yield records
    finally:
        _records.reset(token)
