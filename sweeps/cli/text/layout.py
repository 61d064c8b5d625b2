"""Layout of plain text for the terminal: lines of 80 columns, wrapped between words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from sweeps.presentation.numbers import count as count
from sweeps.presentation.text_tables import fitted as fitted

WIDTH = 80
LABEL = 10
"""Width of the labels of `row`, in characters."""


def row(label: str, text: str) -> list[str]:
    """Return the lines of a label and its text; further lines are aligned with the text."""
    return wrapped(text, f"  {label:<{LABEL}}", " " * (LABEL + 2))


def command(label: str, text: str) -> str:
    """Return a label and a command or path, which is not wrapped so that it can be copied."""
    return f"  {label:<{LABEL}}{text}"


def item(text: str) -> list[str]:
    """Return the lines of one entry of a list."""
    return wrapped(text, "    ", "      ")


def wrapped(text: str, first: str = "", other: str = "", width: int = WIDTH) -> list[str]:
    """Return the lines of a text; `first` and `other`: prefixes of the first and other lines."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=other,
        break_on_hyphens=False,
        break_long_words=False,
    )


def aligned(rows: Sequence[Sequence[str]], numbers: Iterable[int]) -> list[str]:
    """Return rows of cells as aligned columns; `numbers`: indices of right-aligned columns."""
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


def more(items: Sequence[object], shown: int, where: str) -> list[str]:
    """Return a line with the number of items not shown; empty if all are shown."""
    hidden = len(items) - shown
    return [f"    and {hidden} more; {where}"] if hidden > 0 else []


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
