"""Formatting of tables as plain text for the terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from clmethods.metrics import DIRECTIONS
from sweeps.presentation.table_layout import Grid, aligned_lines, narrow_lines

if TYPE_CHECKING:
    import pyarrow as pa

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

TOO_FEW = "too few runs"
"""Text in place of an interval that is too wide to say anything."""

WIDE = 0.6
"""Width of an interval of a fraction above which it says nothing: 60 percentage points."""

MANY = 300
"""Number of rows above which a table is not fitted to the width of the terminal."""


def in_percent(value: float) -> float:
    """Return a fraction in percent, without the noise of the multiplication in the last digits.

    Text, JSON and the report round the same number, so that their digits agree.
    """
    return round(100 * value, 6) + 0.0


def percent(mean: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a fraction in percent with one decimal and its interval: `62.4 (60.5 to 64.1)`.

    Intervals of accuracies are not symmetric, so that both ends are shown. The metrics are between
    -1 and 1, and so are the ends. If mean and ends have the same digits, the result is
    `62.4 ± 0.0`. An interval that says nothing is `TOO_FEW`. Without an interval it is the number
    alone; None gives a dash.
    """
    if mean is None:
        return NOTHING
    center = f"{in_percent(mean):.1f}"
    if low is None or high is None:
        return center
    if high - low > WIDE:
        return f"{center} ({TOO_FEW})"
    first, last = (f"{in_percent(min(max(end, -1.0), 1.0)):.1f}" for end in (low, high))
    return f"{center} ± 0.0" if first == last == center else f"{center} ({first} to {last})"


def metric_text(metric: str, value: float | None) -> str:
    """Return a value as text: fractions in percent, counts as integers, None as a dash."""
    if value is None:
        return NOTHING
    if metric in FRACTIONS:
        return f"{in_percent(value):.1f}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def render_table(
    table: pa.Table | Sequence[Mapping[str, object]],
    columns: Iterable[str] | None = None,
    *,
    title: str | None = None,
    width: int | None = None,
) -> str:
    """Return the rows as an aligned table of text.

    `columns`: names of the columns, in order; None for all. A column X with columns X_low and
    X_high is shown as `mean ± half`. Fractions (`FRACTIONS`) are shown by `percent`. Texts are
    aligned left and numbers right; a null is a dash. On a terminal the table is fitted to its
    width as by `fitted_table`, unless it has more than 300 rows. `width` (characters) overrides
    this. Raises KeyError for an unknown column.
    """
    rows = list(table) if isinstance(table, Sequence) else table.to_pylist()
    names = _names(rows) if isinstance(table, Sequence) else table.column_names
    chosen = list(columns) if columns is not None else [n for n in names if not _end_of(n, names)]
    unknown = [name for name in chosen if name not in names]
    if unknown and rows:
        raise KeyError(f"no column {unknown[0]!r}; known: {list(names)}")
    grid = Grid(
        tuple(_heading(name) for name in chosen),
        tuple(any(_number(row.get(name)) is not None for row in rows) for name in chosen),
        tuple(tuple(_cell(name, row) for name in chosen) for row in rows),
    )
    return fitted_table(grid, title=title, width=width)


def fitted_table(grid: Grid, *, title: str | None = None, width: int | None = None) -> str:
    """Return a table of texts, between empty lines.

    If it is too wide for the terminal, it has the layout of `narrow_lines`, with whole labels and
    numbered rows. Without a terminal, or with more than 300 rows, each row is one line.
    """
    if not grid.headings:
        return title or ""
    if width is None and len(grid.rows) <= MANY:
        width = terminal_columns()
    fits = width is None or grid.width <= width
    lines = aligned_lines(grid) if fits or width is None else narrow_lines(grid, width)
    return "\n".join([*([title] if title else []), "", *lines, ""])


def fitted(line: str) -> list[str]:
    """Return a line wrapped to the width of the terminal; unchanged if the output is no terminal.

    Other output is not wrapped, so that programs can search it by line.
    """
    columns = terminal_columns()
    if columns is None:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    lines = textwrap.wrap(
        line.strip(),
        columns,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    return lines or [line]


def terminal_columns() -> int | None:
    """Return the width of the terminal; None if the output is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


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
