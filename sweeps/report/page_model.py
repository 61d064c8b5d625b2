"""Data model of the report: sections with figures, tables and sentences.

A figure is a Plotly specification. Its colors are roles of the palette (`@1`, `@ink`), so that one
specification works for light, dark and print. Texts are plain text; the template escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sweeps.presentation.text_tables import NOTHING
from sweeps.report.plots import PlotPart

TIGHT = 20
"""Maximum number of characters of a cell that is not broken into lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    number: bool = False
    term: str | None = None
    """Glossary term whose definition the heading shows as a tooltip."""
    tight: bool = False
    """True if every cell is short enough to stay on one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Table of texts."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[str]]
    note: str = ""
    config_ids: Sequence[str] = ()
    """Configuration that a click on each row opens; empty if rows open nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Plot with title, caption, table of its values, and terms."""

    id: str
    title: str
    caption: str
    """Quantity that is plotted, its unit, and the number of runs."""
    spec: PlotPart
    """`data` and `layout` of Plotly."""
    table: Table
    terms: tuple[str, ...] = ()
    """Glossary terms that it uses."""
    readout: str | None = None
    """Readout whose tab contains the figure; None if it is in no tab."""
    columns: int = 6
    """Width in columns of the page, which has six: 2 places three figures side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Section of the page, with an entry in its navigation."""

    id: str
    title: str
    short: str
    """Title in the navigation."""
    lead: str
    """Main result in one or two sentences."""
    figures: tuple[Figure, ...] = ()
    tables: tuple[tuple[str, Table], ...] = ()
    """Further tables with their titles."""
    notes: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further data for the template of the section."""


def table(
    columns: Sequence[str | Column], rows: Sequence[Sequence[object]], note: str = ""
) -> Table:
    """Return a table of the values as texts; None becomes a dash.

    `columns`: columns or their titles; a title that starts with `#` is a column of numbers.
    """
    heads = tuple(
        column
        if isinstance(column, Column)
        else Column(title=column.lstrip("#"), number=column[:1] == "#")
        for column in columns
    )
    texts = [[NOTHING if cell is None else str(cell) for cell in row] for row in rows]
    heads = tuple(
        replace(head, tight=all(len(row[k]) <= TIGHT for row in texts))
        for k, head in enumerate(heads)
    )
    return Table(columns=heads, rows=texts, note=note)
