"""Bounds of metrics as users write them: fractions of accuracies, numbers of other figures."""

from __future__ import annotations

import math

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.metrics import DIRECTIONS
from clmethods.percentages import parse_fraction


def metric_bound(option: str, text: str, metric: str, bound: str) -> float:
    """Return the bound in `text`, which is METRIC=BOUND.

    Raises `InvalidConfigError` if the text has another form, or if the bound of a metric of
    accuracies is not a fraction.
    """
    if not metric or not bound.strip():
        allowed = "METRIC=BOUND, such as forgetting=0.05 or forgetting=5%"
        raise InvalidConfigError([ConfigIssue(option, text, allowed)])
    if metric in DIRECTIONS or bound.rstrip().endswith("%"):
        return parse_fraction(f"{option} {metric}", bound)
    try:
        value = float(bound)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        allowed = f"a number, such as {metric}=1000"
        raise InvalidConfigError([ConfigIssue(option, text, allowed)])
    return value
