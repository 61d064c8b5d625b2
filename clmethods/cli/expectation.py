"""Comparison of a run with the prediction of the sweep that selected it.

A production file contains, under `evidence.prediction`, a prediction interval of each metric for
one new run. Training the file is such a new run, so its result verifies the selection. With 95 %
intervals, one run in twenty is expected outside of an interval: this causes a warning, not an
error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from clmethods.config import ConfigIssue, InvalidConfigError, RunConfig
from clmethods.metrics import DIRECTIONS

Verdict = Literal["inside", "outside", "unknown"]


@dataclass(frozen=True, slots=True)
class Expected:
    """Prediction interval of one metric for one new run."""

    metric: str
    split: str
    level: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """Prediction of a production file for its run, and its validity."""

    intervals: tuple[Expected, ...]
    void: str | None
    """Reason why the prediction does not apply to this run; None if it applies."""


def expectation(data: Mapping[str, object], run: RunConfig, refit: bool) -> Expectation | None:
    """Return the prediction in a production file; None for a file without a prediction.

    The prediction does not apply to a run with `refit` (trained on the validation images too),
    with another configuration or order than the selected one, or with a seed that the sweep used.
    Raises `InvalidConfigError` if the prediction is not a valid interval.
    """
    evidence = data.get("evidence")
    predicted = evidence.get("prediction") if isinstance(evidence, Mapping) else None
    if not isinstance(evidence, Mapping) or not predicted:
        return None
    if not isinstance(predicted, Mapping):
        constraint = "intervals by the name of the metric"
        raise InvalidConfigError([ConfigIssue("evidence.prediction", predicted, constraint)])
    intervals = tuple(_interval(str(name), written) for name, written in predicted.items())
    return Expectation(intervals, _void(evidence, run, refit))


def _void(evidence: Mapping[str, object], run: RunConfig, refit: bool) -> str | None:
    if refit:
        return "the run is trained on the validation images too"
    if evidence.get("config_id", run.config_id) != run.config_id:
        return "the section `run` is not the configuration that was selected"
    order = "-".join(map(str, run.stream.order))
    if evidence.get("order", order) != order:
        return f"the prediction is for the order {evidence['order']}"
    used = evidence.get("seeds_used")
    if isinstance(used, list) and run.seed in used:
        return f"the sweep already used seed {run.seed}"
    return None


def _interval(metric: str, written: object) -> Expected:
    here = f"evidence.prediction.{metric}"
    if not isinstance(written, Mapping):
        raise InvalidConfigError([ConfigIssue(here, written, "a mapping with `low` and `high`")])
    ends = {}
    for name in ("low", "high"):
        end = written.get(name)
        number = isinstance(end, int | float) and not isinstance(end, bool)
        if end is None or not number or not math.isfinite(end):
            raise InvalidConfigError([ConfigIssue(f"{here}.{name}", end, "a finite number")])
        ends[name] = float(end)
    if ends["low"] > ends["high"]:
        raise InvalidConfigError([ConfigIssue(here, ends, "`low` not above `high`")])
    return Expected(
        metric, str(written.get("split", "test")), float(written.get("level", 0.95)), **ends
    )


def verdict(expected: Expected, value: float | None) -> Verdict:
    """Compare the value with the closed interval; `unknown` if there is no finite value."""
    if value is None or not math.isfinite(value):
        return "unknown"
    return "inside" if expected.low <= value <= expected.high else "outside"


def verdict_text(expected: Expected, value: float | None) -> str:
    """Return the verdict as one line, with fractions in percent."""
    result = verdict(expected, value)
    low, high = (_shown(expected.metric, end) for end in (expected.low, expected.high))
    interval = (
        f"{low} to {high}, the {expected.level:.0%} prediction interval for one new run "
        f"({expected.split})"
    )
    if value is None or result == "unknown":
        return f"{expected.metric}: this run has no value, expected {interval}"
    return f"{expected.metric}: {_shown(expected.metric, value)} is {result} {interval}"


def _shown(metric: str, value: float) -> str:
    return f"{100 * value:.1f}" if metric in DIRECTIONS else f"{value:,.0f}"
