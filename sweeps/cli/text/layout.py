"""Layout of plain text for the terminal: 80 columns, wrapped between words, nothing cut off."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence

WIDTH = 80
LABEL = 9
"""Width of the labels of `row`."""


def row(label: str, text: str) -> list[str]:
    """Return a label and its text; further lines are indented as far as the text."""
    return wrapped(text, f"  {label:<{LABEL}}", " " * (LABEL + 2))


def command(label: str, text: str) -> str:
    """Return a label and a command or a path, which is to be copied: it is not wrapped."""
    return f"  {label:<{LABEL}}{text}"


def item(text: str) -> list[str]:
    """Return one entry of a list."""
    return wrapped(text, "    ", "      ")


def fitted(line: str) -> list[str]:
    """Return a line wrapped to the terminal; unchanged where the output goes elsewhere.

    Like tables, lines of names and numbers stay whole for programs that search them.
    """
    columns = terminal_columns()
    if columns is None:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    return wrapped(line.strip(), indent, f"{indent}  ", columns) or [line]


def fits(rows: Sequence[Mapping[str, object]], gap: int = 3) -> bool:
    """Return whether a table of these rows fits the terminal; True where there is none."""
    columns = terminal_columns()
    if columns is None or not rows:
        return True
    widths = [max(len(name), *(len(str(row[name])) for row in rows)) for name in rows[0]]
    return sum(widths) + gap * len(widths) <= columns


def terminal_columns() -> int | None:
    """Return the width of the terminal; None if the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrapped(text: str, first: str = "", other: str = "", width: int = WIDTH) -> list[str]:
    """Return the lines of a text; `first` and `other` begin the first and the other lines."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=other,
        break_on_hyphens=False,
        break_long_words=False,
    )


def aligned(rows: Sequence[Sequence[str]], numbers: Iterable[int]) -> list[str]:
    """Return rows of cells in columns; `numbers`: the columns that are flush right."""
    right = set(numbers)
    widths = [max(len(cells[k]) for cells in rows) for k in range(len(rows[0]))]
    return [
        "  "
        + "   ".join(
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    ]


def more(found: Sequence[object], shown: int, where: str) -> list[str]:
    """Return a line that counts what a list leaves out; none if it is complete."""
    left = len(found) - shown
    return [f"    and {left} more; {where}"] if left > 0 else []


def count(number: int, noun: str) -> str:
    """Return `1 trial`, `12 trials`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """Return `45 s`, `12 min`, `3 h 41 min` or `3 d 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minute = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minute} min"
    days, hour = divmod(round(seconds / 3600), 24)
    return f"{days} d {hour} h"
