"""What a page is made of: sections of figures, tables and sentences, all plain data.

A figure is a Plotly specification whose colours are roles of the palette (`@1`, `@ink`), so that
one specification serves light, dark and print. Texts are plain text: the template escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NOTHING = "–"  # noqa: RUF001  # a dash, as tables print it


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    number: bool = False
    term: str | None = None
    """Name in the glossary whose definition the heading shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of texts under headings."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[str]]
    note: str = ""
    config_ids: Sequence[str] = ()
    """Configuration of each row, where a row opens one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot with what it takes to read it."""

    id: str
    title: str
    caption: str
    """What is drawn, in which unit, over how many runs."""
    spec: Mapping[str, Any]
    """`data` and `layout` of Plotly."""
    table: Table
    terms: tuple[str, ...] = ()
    """Names in the glossary that it uses."""
    readout: str | None = None
    """Readout whose tab it stands in; None: it stands alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page with a place in its navigation."""

    id: str
    title: str
    lead: str
    """The answer in a sentence or two."""
    figures: tuple[Figure, ...] = ()
    tables: tuple[tuple[str, Table], ...] = ()
    """Further tables with their titles."""
    notes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the section's own template shows beside."""


def table(
    columns: Sequence[str | Column], rows: Sequence[Sequence[object]], note: str = "", **more: Any
) -> Table:
    """A table of values, each written out; a column is a heading, `#` before it for numbers."""
    heads = tuple(
        one if isinstance(one, Column) else Column(title=one.lstrip("#"), number=one[:1] == "#")
        for one in columns
    )
    texts = [[NOTHING if cell is None else str(cell) for cell in row] for row in rows]
    return Table(columns=heads, rows=texts, note=note, **more)
