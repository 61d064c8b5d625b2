"""Columns of paired differences, the same in the text output, the JSON and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeps.presentation.documents import Cell, Column, p_cell
from sweeps.presentation.text_tables import FRACTIONS, NOTHING, TOO_FEW, WIDE

if TYPE_CHECKING:
    from sweeps.analysis.trials.paired_differences import Comparison


def difference_columns(detectable: bool = True) -> list[Column]:
    """Return the columns of a paired difference: mean, interval, p value and verdict."""
    return [
        Column("difference", "difference", number=True),
        Column("range", "95 %", number=True),
        Column("adjusted_p", "adj. p", number=True),
        Column("significant", "shown"),
        *([Column("detectable", "can show", number=True)] if detectable else []),
    ]


def difference_cells(found: Comparison | None) -> dict[str, Cell]:
    """Return the cells of `difference_columns`; dashes without a comparison."""
    if found is None:
        keys = ("difference", "range", "adjusted_p", "significant", "detectable")
        return {key: Cell(None, NOTHING) for key in keys}
    scale = 100.0 if found.metric in FRACTIONS else 1.0
    low, high = found.interval.low, found.interval.high
    ends = "no interval"
    if low is not None and high is not None and found.metric in FRACTIONS and high - low > WIDE:
        ends = TOO_FEW
    elif low is not None and high is not None:
        ends = f"{_signed(scale * low)} to {_signed(scale * high)}"
    can = found.detectable_difference
    return {
        "difference": Cell(found.interval.mean, _signed(scale * found.interval.mean)),
        "range": Cell({"low": low, "high": high}, ends),
        "adjusted_p": p_cell(found.p_value if found.adjusted is None else found.adjusted),
        "significant": Cell(found.significant, "yes" if found.significant else "no"),
        "detectable": Cell(can, _detectable(can, found.metric)),
    }


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # never -0.0


def _detectable(difference: float | None, metric: str) -> str:
    if difference is None:
        return NOTHING
    if metric not in FRACTIONS:
        return f"{difference:.1f}"
    return TOO_FEW if difference > WIDE else f"{100 * difference:.1f}"
