"""Results of a command as data, from which its text and its JSON are made.

A document has blocks, a block has rows, and a cell of a row has a value for programs and a text
for people. Both come from one place, so that they cannot differ.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, final

from clmethods.canonical import JsonValue
from sweeps.presentation.numbers import p_value, probability_text, signed_points
from sweeps.presentation.table_layout import Grid
from sweeps.presentation.text_tables import (
    FRACTIONS,
    NOTHING,
    TOO_FEW,
    fitted,
    fitted_table,
    metric_text,
    percent,
    terminal_columns,
)
from sweeps.statistics.intervals import Interval

TOO_FEW_NOTE = (
    f"{TOO_FEW}: the 95 % interval contains most of the possible values; more orders and seeds "
    "make it narrower, 3 orders x 3 seeds or more"
)

INDENT = 1
"""Spaces by which nested JSON is indented."""


@final
@dataclass(frozen=True, slots=True)
class Cell:
    """Cell of a table."""

    value: JsonValue
    """Value for programs: fractions between 0 and 1, not percent."""
    text: str
    """Text for people."""


@final
@dataclass(frozen=True, slots=True)
class Column:
    """Column of a table."""

    key: str
    """Name of the value in the rows of the JSON."""
    title: str
    """Heading in the text."""
    number: bool = False
    """True if it is aligned right."""


Row: TypeAlias = Mapping[str, "Cell | JsonValue"]
"""Row by key. Keys without a column are in the JSON only."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Table with its title and notes."""

    key: str
    """Name in the JSON."""
    title: str = ""
    columns: Sequence[Column] = ()
    rows: Sequence[Row] = ()
    notes: Sequence[str] = ()
    """Lines below the table."""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    """Further values of the JSON, which a line of the text contains."""
    lead: Sequence[str] = ()
    """Lines between the title and the table."""
    drawn: str | None = None
    """Text in place of the table, for values that are no list, such as a map."""

    @property
    def text(self) -> str:
        """Return title, table and notes."""
        lines = _fitted([*([self.title] if self.title else []), *self.lead])
        if self.drawn is not None:
            lines.append(self.drawn)
        elif self.rows:
            lines.append(fitted_table(self._grid()))
        return "\n".join([*lines, *_fitted(self.notes)])

    @property
    def data(self) -> dict[str, JsonValue]:
        """Return the block for programs."""
        found: dict[str, JsonValue] = {"title": self.title} if self.title else {}
        found |= self.facts
        if self.columns or self.rows or not self.facts:
            found["rows"] = [{key: _value(cell) for key, cell in row.items()} for row in self.rows]
        return found | ({"notes": list(self.notes)} if self.notes else {})

    def _grid(self) -> Grid:
        """Return the texts; outside of a terminal no cell is empty, so that rows can be split."""
        empty = NOTHING if terminal_columns() is None else ""
        return Grid(
            tuple(column.title for column in self.columns),
            tuple(column.number for column in self.columns),
            tuple(
                tuple(_text(row.get(c.key)) or empty for c in self.columns) for row in self.rows
            ),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Everything that a command has read and computed."""

    command: str
    facts: Mapping[str, JsonValue]
    """Sweep, readout, split and other values that hold for all blocks."""
    blocks: Sequence[Block] = ()
    notes: Sequence[str] = ()
    """Lines at the end."""
    warnings: Sequence[str] = ()
    """Lines about files and runs that are missing; the command prints them itself."""
    separator: str = "\n\n"
    """Text between the blocks."""

    @property
    def text(self) -> str:
        """Return the text of all blocks, and the notes."""
        parts = [block.text.rstrip("\n") for block in self.blocks]
        parts.append("\n".join(_fitted(self.notes)))
        if any(TOO_FEW in part for part in parts):
            parts[-1] += "".join(f"\n{line}" for line in fitted(TOO_FEW_NOTE))
        return self.separator.join(part for part in parts if part)

    @property
    def json(self) -> str:
        """Return one JSON document; `docs/json.md` documents its fields."""
        blocks = {block.key: block.data for block in self.blocks}
        whole = {
            "command": self.command,
            **self.facts,
            **blocks,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }
        return json.dumps(_finite(whole), indent=INDENT, ensure_ascii=False, allow_nan=False)


def mean_cell(metric: str, interval: Interval | None) -> Cell:
    """Return a mean with its interval; a metric that is a fraction is shown in percent."""
    if interval is None:
        return Cell(None, NOTHING)
    return ends_cell(metric, interval.mean, interval.low, interval.high)


def ends_cell(metric: str, mean: float | None, low: float | None, high: float | None) -> Cell:
    """Return a mean with the ends of its interval, which may be missing."""
    if mean is None:
        return Cell(None, NOTHING)
    text = percent(mean, low, high) if metric in FRACTIONS else metric_text(metric, mean)
    return Cell({"mean": mean, "low": low, "high": high}, text)


def value_cell(metric: str, value: float | None) -> Cell:
    """Return a value of a metric without an interval."""
    return Cell(value, metric_text(metric, value))


def p_cell(value: float | None) -> Cell:
    """Return a p value."""
    return Cell(value, p_value(value))


def probability_cell(value: float | None, missing: str = NOTHING) -> Cell:
    """Return an estimated probability."""
    return Cell(value, missing if value is None else probability_text(value))


def effect_cell(value: float, half: float | None) -> Cell:
    """Return an effect in percentage points with half of its interval."""
    text = signed_points(value)
    ends: dict[str, JsonValue] = {"mean": value, "low": None, "high": None}
    if half is not None and math.isfinite(half):
        text += f" ± {100 * half:.1f}"
        ends |= {"low": value - half, "high": value + half}
    return Cell(ends, text)


def _fitted(notes: Sequence[str]) -> list[str]:
    return [line for note in notes for part in note.split("\n") for line in fitted(part)]


def _text(cell: Cell | JsonValue) -> str:
    if isinstance(cell, Cell):
        return cell.text
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    return NOTHING if cell is None else str(cell)


def _value(cell: Cell | JsonValue) -> JsonValue:
    return cell.value if isinstance(cell, Cell) else cell


def _finite(value: JsonValue) -> JsonValue:
    """Return the value with null in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(each) for each in value]
    return value
