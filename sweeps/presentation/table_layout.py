"""Layout of tables of texts: in aligned columns, or for terminals that are too narrow for that.

A table that does not fit is shown in two parts. Long texts are listed once with the number of
their row, whole. The other columns follow in as many tables below each other as are necessary,
each with the row numbers. Values that all rows share are said once.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import final

GAP = "   "
SHORT = 12
"""Maximum width of a column of texts that is never moved to the list."""


@final
@dataclass(frozen=True, slots=True)
class Grid:
    """Table of texts."""

    headings: tuple[str, ...]
    right: tuple[bool, ...]
    """True for columns that are aligned right."""
    rows: tuple[tuple[str, ...], ...]

    @property
    def widths(self) -> list[int]:
        """Widths of the columns in characters of the terminal."""
        texts = [self.headings, *self.rows]
        return [
            max(text_width(line) for row in texts for line in row[k].split("\n"))
            for k in range(len(self.headings))
        ]

    @property
    def width(self) -> int:
        """Width of the aligned table."""
        return 1 + sum(self.widths) + len(GAP) * (len(self.headings) - 1)

    def selected(self, columns: Sequence[int]) -> Grid:
        """Return the grid with only these columns."""
        return Grid(
            tuple(self.headings[k] for k in columns),
            tuple(self.right[k] for k in columns),
            tuple(tuple(row[k] for k in columns) for row in self.rows),
        )


def text_width(text: str) -> int:
    """Return the number of columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    marks = sum(bool(unicodedata.combining(character)) for character in text)
    return len(text) + wide - marks


def aligned_lines(grid: Grid) -> list[str]:
    """Return the heading, a rule and the rows, with the columns aligned."""
    widths = grid.widths
    rule = " " + "─" * (sum(widths) + len(GAP) * (len(widths) - 1))
    head, *body = [
        _joined(line, widths, grid.right)
        for row in (grid.headings, *grid.rows)
        for line in zip_longest(*(cell.split("\n") for cell in row), fillvalue="")
    ]
    return [head, rule, *body]


def narrow_lines(grid: Grid, width: int) -> list[str]:
    """Return the table for a terminal of `width` columns, in which `aligned_lines` do not fit."""
    shared, grid = _without_shared(grid)
    listed: list[int] = []
    numbers = tuple(str(k + 1) for k in range(len(grid.rows)))
    columns = list(range(len(grid.headings)))
    movable = sorted(
        (k for k in columns if not grid.right[k] and grid.widths[k] > SHORT),
        key=lambda k: -grid.widths[k],
    )
    while movable and (not listed or _numbered(grid, numbers, columns).width > width):
        listed.append(movable.pop(0))
        columns.remove(listed[-1])
    common, legend = _list_lines(grid.selected(sorted(listed)), numbers, width)
    shared = [" ".join(common), *shared] if common else shared
    lines = _wrapped(f" in all rows: {', '.join(shared)}", "   ", width) if shared else []
    lines += legend
    for group in _groups(grid, numbers, columns, width):
        lines += ["", *aligned_lines(_numbered(grid, numbers, group))]
    return lines


def _without_shared(grid: Grid) -> tuple[list[str], Grid]:
    """Return the values that all of several rows share, and the columns with other values."""
    if len(grid.rows) < 2:
        return [], grid
    columns, shared = [], []
    for k, heading in enumerate(grid.headings):
        values = {row[k] for row in grid.rows}
        if len(values) > 1:
            columns.append(k)
        elif (value := values.pop().strip()) != "":
            shared.append(f"{heading} {value}")
    return shared, grid.selected(columns)


def _list_lines(grid: Grid, numbers: Sequence[str], width: int) -> tuple[list[str], list[str]]:
    """Return the words that all labels share, and the lines of the numbered list."""
    if not grid.headings:
        return [], []
    common: list[str] = []
    if len(grid.headings) == 1:
        common, texts = _common_words([row[0] for row in grid.rows])
        grid = replace(grid, rows=tuple((text,) for text in texts))
    digits = len(numbers[-1]) if numbers else 1
    indent = " " * (digits + 3)
    lines: list[str] = []
    for number, row in zip(numbers, grid.rows, strict=True):
        first = f" {number:>{digits}}  "
        for heading, cell in zip(grid.headings, row, strict=True):
            text = cell if len(grid.headings) == 1 else f"{heading}: {cell}"
            lines += _wrapped(first + text, f"{indent}  ", width)
            first = indent
    return common, lines


def _common_words(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the settings that all labels of configurations share, and the labels without them.

    The words of a label are the method and settings such as `rank=4`; other texts are unchanged.
    """
    words = [label.split(" ") for label in labels]
    if len(labels) < 2 or not any("=" in label for label in labels):
        return [], list(labels)
    method = words[0][0] if all(own[0] == words[0][0] for own in words) else None
    common = [
        word
        for word in words[0]
        if (word == method or "=" in word) and all(word in own for own in words)
    ]
    rest = [" ".join(word for word in own if word not in common) for own in words]
    return common, [text or "nothing else" for text in rest]


def _groups(
    grid: Grid, numbers: Sequence[str], columns: Sequence[int], width: int
) -> list[list[int]]:
    """Return the columns in groups, each of which fits the width with the row numbers."""
    groups: list[list[int]] = []
    for k in columns:
        if groups and _numbered(grid, numbers, [*groups[-1], k]).width <= width:
            groups[-1].append(k)
        else:
            groups.append([k])
    return groups


def _numbered(grid: Grid, numbers: Sequence[str], columns: Sequence[int]) -> Grid:
    part = grid.selected(columns)
    rows = tuple((number, *row) for number, row in zip(numbers, part.rows, strict=True))
    return Grid(("#", *part.headings), (True, *part.right), rows)


def _joined(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    texts = []
    for text, width, number in zip(cells, widths, right, strict=True):
        blank = " " * (width - text_width(text))
        texts.append(blank + text if number else text + blank)
    return f" {GAP.join(texts)}".rstrip()


def _wrapped(line: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
        drop_whitespace=True,
    )
