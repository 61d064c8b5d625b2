"""Formatting of counts, shares, percentage points and p-values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeps.presentation.text_tables import NOTHING, TOO_FEW, WIDE

if TYPE_CHECKING:
    from sweeps.statistics.intervals import Interval  # imports scipy, which `status` does not need

NO_ANSWER = 1.8
"""Width of an interval of a correlation from which it contains nearly all possible values."""

ADJUSTMENT = (
    "adj. p: p value, adjusted for the number of comparisons in its table, by Holm for up to 20, "
    "else by Benjamini and Hochberg"
)
"""Sentence about the adjustment of p values, for readers of a table."""


def signed_points(value: float) -> str:
    """Return a fraction in percentage points with a sign; never `-0.0`."""
    return f"{round(100 * value, 1) + 0.0:+.1f}"


def share_text(value: float | None) -> str:
    """Return a share as a whole percentage; `0%` and `100%` only if it is exactly 0 or 1."""
    if value is None:
        return NOTHING
    if value in {0.0, 1.0} or 0.005 <= value < 0.995:
        return f"{value:.0%}"
    return "<1%" if value < 0.5 else ">99%"


def probability_text(value: float | None) -> str:
    """Return an estimated probability as a whole percentage, never as `0%` or `100%`."""
    if value is None:
        return NOTHING
    if value < 0.01:
        return "<1%"
    return ">99%" if value > 0.99 else f"{value:.0%}"


def percent_range(low: float | None, high: float | None) -> str:
    """Return a range of shares in percent."""
    if low is None or high is None:
        return NOTHING
    return TOO_FEW if high - low >= NO_ANSWER / 2 else f"{low:.0%} to {high:.0%}"


def percent_interval(interval: Interval | None, digits: int, sign: str = "") -> str:
    """Return a mean in percent with the half-width of its interval; `sign` is a format flag."""
    if interval is None:
        return NOTHING
    text = f"{100 * interval.mean:{sign}.{digits}f}"
    if interval.low is None or interval.high is None:
        return text
    if interval.high - interval.low > WIDE:
        return f"{text} ({TOO_FEW})"
    return f"{text} ± {50 * (interval.high - interval.low):.{digits}f}"


def correlation_range(low: float | None, high: float | None) -> str:
    """Return an interval of a correlation, which is between -1 and 1.

    If it says nothing, because it contains nearly all possible values, so does the text.
    """
    if low is None or high is None:
        return NOTHING
    first, last = max(low, -1.0), min(high, 1.0)
    return TOO_FEW if last - first >= NO_ANSWER else f"{first:+.2f} to {last:+.2f}"


def verdict(significant: bool | None) -> str:
    """Return `yes` or `no`; a dash for None."""
    return NOTHING if significant is None else "yes" if significant else "no"


def p_value(value: float | None) -> str:
    """Return a p-value with two digits."""
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.2g}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 run` or `12 runs`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def seconds(value: float) -> str:
    """Return a duration in seconds, minutes or hours, such as `12.5 min`."""
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"
