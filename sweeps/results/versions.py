"""Files of earlier schema versions, read as if they had been written today.

Every bump of `SCHEMA_VERSION` brings the step that lifts the tables of the version before, so that
files of any age can be read: step by step, from their version to this one. Files are never
rewritten, and a file of a later version is refused: nobody knows here what its columns mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sweeps.results.schema import SCHEMA_VERSION, TableSchema

Upgrade = Callable[[pa.Table], pa.Table]
"""A table of one version as a table of the next."""
Upgrades = Mapping[int, Mapping[str, Upgrade]]
"""By the version that they start from and the name of the table; a table that is not there did not
change."""


class VersionError(ValueError):
    """A schema version that this code cannot read; the message says which it can."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What can be read."""

    current: int
    upgrades: Upgrades
    """One entry for every version before the current one."""

    def of(self, metadata: Mapping[bytes, bytes]) -> int:
        """The schema version that a file's metadata names.

        Raises `VersionError` for a version that is later than this code, unknown, or none.
        """
        text = metadata.get(b"schema_version", b"").decode(errors="replace")
        version = int(text) if text.isdecimal() else None
        readable = [*sorted(self.upgrades), self.current]
        if version is not None and version in readable:
            return version
        known = f"this code reads {', '.join(map(str, readable))}"
        if version is not None and version > self.current:
            raise VersionError(f"schema version {version}, {known}: update it")
        raise VersionError(f"schema version {text or 'unknown'}, {known}")

    def lift(self, table: pa.Table, schema: TableSchema, version: int) -> pa.Table:
        """A table of `version` with the columns of `schema`, in their order.

        Raises `VersionError` if its columns are not those of its version.
        """
        try:
            for step in range(version, self.current):
                change = self.upgrades[step].get(schema.name)
                table = table if change is None else change(table)
        except (KeyError, pa.ArrowException) as error:
            raise VersionError(f"its columns are not those of version {version}") from error
        target = schema.arrow
        fitting = table.schema.equals(target)
        if version < self.current:  # steps do not say what may be null, nor care for the order
            types = {field.name: field.type for field in table.schema}
            fitting = types == {field.name: field.type for field in target}
        if not fitting:
            raise VersionError("its columns are not those of the schema")
        return table.select(target.names).cast(target)


def adding(name: str, kind: pa.DataType, value: Any = None) -> Upgrade:
    """The step of a version that has a new column: older rows get `value`."""
    return lambda table: table.append_column(name, pa.array([value] * len(table), kind))


def dropping(*names: str) -> Upgrade:
    """The step of a version that has some columns no more."""
    return lambda table: table.drop_columns(list(names))


def renaming(**names: str) -> Upgrade:
    """The step of a version in which columns have other names: `renaming(old="new")`."""
    return lambda table: table.rename_columns([names.get(n, n) for n in table.column_names])


def then(*steps: Upgrade) -> Upgrade:
    """Several steps of one version, in order."""

    def all_of_them(table: pa.Table) -> pa.Table:
        for step in steps:
            table = step(table)
        return table

    return all_of_them


VERSIONS = Versions(
    SCHEMA_VERSION,
    {
        1: {"stages": adding("host", pa.string(), "unknown")},
    },
)
"""Whoever bumps `SCHEMA_VERSION` adds the step from the version before."""
