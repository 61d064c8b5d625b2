"""Conversion of tables of earlier schema versions to the current version.

Each increase of `SCHEMA_VERSION` adds the conversion from the version before, so files of any age
can be read: step by step, from their version to the current one. Files are never rewritten. A file
of a later version is refused, because the meaning of its columns is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sweeps.errors import SweepsError
from sweeps.results.schema import SCHEMA_VERSION, TableSchema

Upgrade = Callable[[pa.Table], pa.Table]
"""Conversion of a table of one version to the next version."""
Upgrades = Mapping[int, Mapping[str, Upgrade]]
"""Conversions by source version and table name; a table without an entry did not change."""


class VersionError(SweepsError, ValueError):
    """Raised for a schema version that this code cannot read; the message lists those it can."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Schema versions that this code can read."""

    current: int
    upgrades: Upgrades
    """Conversions, with one entry for every version before the current one."""

    def of(self, metadata: Mapping[bytes, bytes]) -> int:
        """Return the schema version in a file's metadata.

        Raises `VersionError` for a version that is missing, unknown, or later than the current
        one.
        """
        text = metadata.get(b"schema_version", b"").decode(errors="replace")
        version = int(text) if text.isdecimal() else None
        readable = [*sorted(self.upgrades), self.current]
        if version is not None and version in readable:
            return version
        known = f"this code reads {', '.join(map(str, readable))}"
        if version is not None and version > self.current:
            raise VersionError(f"schema version {version}, {known}: update this package")
        raise VersionError(f"schema version {text or 'unknown'}, {known}")

    def lift(self, table: pa.Table, schema: TableSchema, version: int) -> pa.Table:
        """Convert a table of `version` to the current version, with the columns of `schema`.

        Raises `VersionError` if its columns are not those of its version.
        """
        try:
            for step in range(version, self.current):
                change = self.upgrades[step].get(schema.name)
                table = table if change is None else change(table)
        except (KeyError, pa.ArrowException) as error:
            raise VersionError(f"its columns are not those of version {version}") from error
        target = schema.arrow
        matches = table.schema.equals(target)
        if version < self.current:  # conversions define neither nullability nor column order
            types = {field.name: field.type for field in table.schema}
            matches = types == {field.name: field.type for field in target}
        if not matches:
            raise VersionError("its columns are not those of the schema")
        return table.select(target.names).cast(target)


def adding(name: str, kind: pa.DataType, value: Any = None) -> Upgrade:
    """Return the conversion that adds a column; existing rows get `value`."""
    return lambda table: table.append_column(name, pa.array([value] * len(table), kind))


def dropping(*names: str) -> Upgrade:
    """Return the conversion that removes columns."""
    return lambda table: table.drop_columns(list(names))


def renaming(**names: str) -> Upgrade:
    """Return the conversion that renames columns, such as `renaming(old="new")`."""
    return lambda table: table.rename_columns([names.get(n, n) for n in table.column_names])


def apply_in_order(*steps: Upgrade) -> Upgrade:
    """Return the conversion that applies several conversions in order."""

    def apply_all(table: pa.Table) -> pa.Table:
        for step in steps:
            table = step(table)
        return table

    return apply_all


VERSIONS = Versions(
    SCHEMA_VERSION,
    {
        1: {"stages": adding("host", pa.string(), "unknown")},
    },
)
"""Versions of the result tables. An increase of `SCHEMA_VERSION` needs an entry here."""
