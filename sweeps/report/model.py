"""What a page is made of: sections of figures, tables and sentences, all plain data.

A figure is a Plotly specification whose colours are roles of the palette (`@1`, `@ink`), so that
one specification serves light, dark and print. Texts are plain text: the template escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

NOTHING = "–"  # noqa: RUF001  # a dash, as tables print it
TIGHT = 20
"""Characters up to which a cell is not broken into lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    number: bool = False
    term: str | None = None
    """Name in the glossary whose definition the heading shows."""
    tight: bool = False
    """Whether its cells are short enough to stay on one line."""


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
    columns: int = 6
    """Of the six that the page is wide: 2 puts three figures side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page with a place in its navigation."""

    id: str
    title: str
    short: str
    """Title in the navigation."""
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
    heads = tuple(
        replace(head, tight=all(len(row[k]) <= TIGHT for row in texts))
        for k, head in enumerate(heads)
    )
    return Table(columns=heads, rows=texts, note=note, **more)
