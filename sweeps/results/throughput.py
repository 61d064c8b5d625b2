"""Throughput of a sweep in stages per hour, over the last hour and over all runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import final

from sweeps.results.history import DriverRun

HOUR_S = 3600.0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Number of trained stages, and stages per hour in which a driver ran."""

    recent_stages: int
    """Stages trained in the last hour."""
    recent_per_hour: float | None
    """Stages per hour over the last hour; None if no driver ran in it."""
    stages: int
    """Stages trained in all runs."""
    per_hour: float | None
    """Stages per hour over all runs; None if no driver ran for a measurable time."""


def throughput(
    runs: Iterable[DriverRun], now: datetime, live: Mapping[str, datetime]
) -> Throughput:
    """Compute the throughput of the runs of a sweep.

    `now`: time of the reader. `live`: current time of each live run by the run's own clock, so
    that differences between clocks do not matter. A run that is not live ends at its last event.
    Time in which several drivers ran counts once.
    """
    spans: list[tuple[float, float]] = []  # ages in seconds, (younger end, older end)
    ages: list[float] = []
    for run in runs:
        present = max(live.get(run.run, now), run.last)
        end = present if run.run in live else run.last
        spans.append(((present - end).total_seconds(), (present - run.began).total_seconds()))
        ages += [(present - time).total_seconds() for time in run.trained]
    recent = sum(age <= HOUR_S for age in ages)
    recent_s = _covered([(low, min(high, HOUR_S)) for low, high in spans if low < HOUR_S])
    whole_s = _covered(spans)
    return Throughput(
        recent_stages=recent,
        recent_per_hour=_per_hour(recent, recent_s),
        stages=len(ages),
        per_hour=_per_hour(len(ages), whole_s),
    )


def _per_hour(stages: int, seconds: float) -> float | None:
    return stages * HOUR_S / seconds if seconds > 0 else None


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for low, high in sorted(spans):
        total += max(0.0, high - max(low, reached))
        reached = max(reached, high)
    return total
