"""Numbers, metrics and intervals in the words of the page."""

from __future__ import annotations

from sweeps.presentation.text_tables import percent
from sweeps.report.model import NOTHING

LONG = {
    "average_accuracy": "average accuracy",
    "trainable_parameters": "trainable parameters",
    "bwt": "backward transfer",
}


def metric_name(metric: str) -> str:
    """A metric for people."""
    return LONG.get(metric, metric.replace("_", " "))


def unit(metric: str) -> str:
    """`%` of a fraction; nothing for a count."""
    return {"trainable_parameters": "", "stored_bytes": "bytes"}.get(metric, "%")


def axis_title(metric: str) -> str:
    """A metric with its unit."""
    return f"{metric_name(metric)} / {unit(metric)}" if unit(metric) else metric_name(metric)


def scaled(metric: str, value: float | None) -> float | None:
    """The value in the unit of the page, with as many digits as can be seen."""
    if value is None:
        return None
    return round(100 * value, 2) if unit(metric) == "%" else float(value)


def shown(metric: str, mean: float | None, low: float | None, high: float | None) -> str:
    """`62.4 ± 1.8`; the number alone where there is no interval."""
    if mean is None:
        return NOTHING
    if unit(metric) != "%":
        return f"{mean:,.0f}"
    if low is not None and high is not None and high - low > 1.0:
        return f"{percent(mean)} ± >50"
    return percent(mean, low, high)


def points(value: float) -> str:
    """Percentage points with their sign; a rounded 0 has none that means anything."""
    return f"{round(100 * value, 1) + 0.0:+.1f}"


def share(value: float | None) -> str:
    """A share as a whole percentage that is 0 or 100 only if it is."""
    if value is None:
        return NOTHING
    if value in {0.0, 1.0} or 0.005 <= value < 0.995:
        return f"{value:.0%}"
    return "<1%" if value < 0.5 else ">99%"


def between(low: float | None, high: float | None) -> str:
    """A range of shares."""
    return NOTHING if low is None or high is None else f"{low:.0%} to {high:.0%}"


def p_value(value: float | None) -> str:
    """A p-value with two digits."""
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.2g}"


def seconds(value: float) -> str:
    """A duration in the unit that suits it."""
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"


def count(number: int, noun: str) -> str:
    """`1 run`, `12 runs`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
