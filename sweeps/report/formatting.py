"""Formatting of numbers, metric names and intervals in the report."""

from __future__ import annotations

from sweeps.presentation.text_tables import NOTHING, in_percent, percent

LONG = {
    "average_accuracy": "average accuracy",
    "trainable_parameters": "trainable parameters",
    "bwt": "backward transfer",
}


def metric_name(metric: str) -> str:
    """Return the name of a metric in words."""
    return LONG.get(metric, metric.replace("_", " "))


def unit(metric: str) -> str:
    """Return the unit of a metric: `%` for a fraction, empty for a count."""
    return {"trainable_parameters": "", "stored_bytes": "bytes"}.get(metric, "%")


def axis_title(metric: str) -> str:
    """Return the name of a metric with its unit."""
    return f"{metric_name(metric)} / {unit(metric)}" if unit(metric) else metric_name(metric)


def scaled(metric: str, value: float | None) -> float | None:
    """Return the value in the unit of the page; fractions in percent.

    Six decimals: with two, a second rounding on the page changes the last digit of some values.
    """
    if value is None:
        return None
    return in_percent(value) if unit(metric) == "%" else float(value)


def shown(metric: str, mean: float | None, low: float | None, high: float | None) -> str:
    """Return `62.4 (60.5 to 64.1)`, or the number alone if there is no interval."""
    if mean is None:
        return NOTHING
    if unit(metric) != "%":
        return f"{mean:,.0f}"
    return percent(mean, low, high)
