"""Formatting of tables as plain text for the terminal."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

import pyarrow as pa
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clmethods.metrics import DIRECTIONS

FRACTIONS = frozenset(DIRECTIONS) | {
    "aopd",
    "mopd",
    "seed_aopd",
    "seed_mopd",
    "order_std",
    "share_order",
    "share_seed",
    "share_residual",
}
"""Columns that contain fractions and are shown in percent."""

NOTHING = "–"  # noqa: RUF001
"""Dash that stands for a missing value."""

MANY = 300
"""Number of rows above which a table is not fitted to the width of the terminal."""

_UNBOUNDED = 100_000  # columns: no line wraps if the output is not a terminal


def percent(mean: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a fraction in percent with one decimal and its interval: `62.4 (60.5 to 64.1)`.

    Intervals of accuracies are not symmetric, so that both ends are shown. The metrics are between
    -1 and 1, and so are the ends. If mean and ends have the same digits, the result is
    `62.4 ± 0.0`. Without an interval it is the number alone; None gives a dash.
    """
    if mean is None:
        return NOTHING
    center = f"{100 * mean:.1f}"
    if low is None or high is None:
        return center
    first, last = (f"{100 * min(max(end, -1.0), 1.0) + 0.0:.1f}" for end in (low, high))
    return f"{center} ± 0.0" if first == last == center else f"{center} ({first} to {last})"


def render_table(
    table: pa.Table | Sequence[Mapping[str, object]],
    columns: Iterable[str] | None = None,
    *,
    title: str | None = None,
    width: int | None = None,
    color: bool | None = None,
) -> str:
    """Return the rows as an aligned table of text.

    `columns`: names of the columns, in order; None for all. A column X with columns X_low and
    X_high is shown as `mean ± half`. Fractions (`FRACTIONS`) are shown by `percent`. Texts are
    aligned left and numbers right; a null is a dash. On a terminal the table is fitted to its
    width, unless it has more than 300 rows; otherwise it is as wide as its content. `width`
    (characters) and `color` override this. With color, rows with a true `on_front` are bold.
    Raises KeyError for an unknown column.
    """
    rows = table.to_pylist() if isinstance(table, pa.Table) else list(table)
    names = table.column_names if isinstance(table, pa.Table) else _names(rows)
    chosen = list(columns) if columns is not None else [n for n in names if not _end_of(n, names)]
    unknown = [name for name in chosen if name not in names]
    if unknown and rows:
        raise KeyError(f"no column {unknown[0]!r}; known: {list(names)}")
    right = [any(_number(row.get(name)) is not None for row in rows) for name in chosen]
    headings = [_heading(name) for name in chosen]
    if width is None and not color and (not sys.stdout.isatty() or len(rows) > MANY):
        return _aligned(title, headings, right, [[_cell(n, row) for n in chosen] for row in rows])
    body = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, number in zip(headings, right, strict=True):
        body.add_column(Text(heading), justify="right" if number else "left")
    for row in rows:
        cells = [Text(_cell(name, row)) for name in chosen]  # Text: no markup from [ in a label
        body.add_row(*cells, style="bold" if row.get("on_front") else None)
    return _print(body, width, color)


def _aligned(
    title: str | None,
    headings: Sequence[str],
    right: Sequence[bool],
    rows: Iterable[Sequence[str]],
) -> str:
    """Return the same text as `_print` for an unlimited width.

    Rich takes ten seconds for 5,000 rows.
    """
    if not headings:
        return title or ""
    lines = [
        line
        for row in [headings, *rows]
        for line in zip_longest(*(cell.split("\n") for cell in row), fillvalue="")
    ]
    widths = [max(cell_len(line[k]) for line in lines) for k in range(len(headings))]

    def joined(line: Sequence[str]) -> str:
        cells = []
        for text, width, number in zip(line, widths, right, strict=True):
            blank = " " * (width - cell_len(text))
            cells.append(blank + text if number else text + blank)
        return f" {'   '.join(cells)}".rstrip()

    head, *body = map(joined, lines)
    rule = " " + "─" * (sum(widths) + 3 * (len(widths) - 1))
    return "\n".join([*([title] if title else []), "", head, rule, *body, ""])


def _print(body: Table, width: int | None, color: bool | None) -> str:
    screen = sys.stdout.isatty()
    if color is None:
        color = screen and "NO_COLOR" not in os.environ
    if width is None and not screen:
        width = _UNBOUNDED
    sink = io.StringIO()
    console = Console(
        file=sink,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
    )
    console.print(body)
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines())


def _names(rows: Sequence[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _end_of(name: str, names: Sequence[str]) -> bool:
    """Return True if a column is one end of the interval of another column."""
    base = name.removesuffix("_low").removesuffix("_high")
    return base != name and base in names


def _heading(name: str) -> str:
    label = name.replace("_", " ")
    return f"{label} %" if name in FRACTIONS else label


def _number(value: object) -> float | None:
    """Return a number unchanged, and None for any other value."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _cell(name: str, row: Mapping[str, object]) -> str:
    value = row.get(name)
    low, high = _number(row.get(f"{name}_low")), _number(row.get(f"{name}_high"))
    if value is None:
        return NOTHING
    number = _number(value)
    if name in FRACTIONS and number is not None:
        return percent(number, low, high)
    text = _plain(value)
    if low is None or high is None or low == high:
        return text
    return f"{text} ± {_plain((high - low) / 2)}"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:,.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return str(value)
