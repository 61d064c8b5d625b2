"""Text of `sweeps gc`: which stages are kept and which are garbage, of which sweep and how old."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from sweeps.cli.text.layout import aligned, count, duration
from sweeps.planning.garbage import Garbage, StoredStage

UNFINISHED = "(not finished)"
"""Place of the name of a sweep in the line of half-written stages."""


def kept_lines(garbage: Garbage, sweeps: int) -> list[str]:
    """Return which stages are kept and why."""
    lines = [f"{garbage.needed} stages are needed by {sweeps} sweeps"]
    if garbage.leased:
        number = count(len(garbage.leased), "stage")
        lines.append(f"{number}, needed by no sweep, but being trained right now: kept")
    if garbage.recorded:
        size = _megabytes(garbage.recorded)
        lines.append(
            f"{count(len(garbage.recorded), 'stage')}, {size}, needed by no sweep, but named by "
            "rows of results: kept (--also-recorded includes them)"
        )
    return lines


def garbage_lines(
    stages: Mapping[str, StoredStage], owners: Mapping[str, str], now: datetime
) -> list[str]:
    """Return the stages that are garbage, with a line for each sweep that trained some."""
    by_owner: dict[str, dict[str, StoredStage]] = defaultdict(dict)
    for key, stage in stages.items():
        by_owner[owners[key] or UNFINISHED][key] = stage
    rows = [
        (name, count(len(found), "stage"), _megabytes(found), f"written {_ages(found, now)} ago")
        for name, found in sorted(by_owner.items())
    ]
    return [f"{_summary(stages)}:", *aligned(rows, (1, 2))]


def deleted_line(stages: Mapping[str, StoredStage], deleted: int, stopped: str) -> str:
    """Return what was deleted, and why the others were not."""
    if stopped:
        return f"stopped after {deleted} of {len(stages)} stages, because {stopped}: repeat later"
    left = len(stages) - deleted
    except_ = f", except {left} that are being trained by now" if left else ""
    return f"{_summary(stages)}: deleted{except_}"


def _summary(stages: Mapping[str, StoredStage]) -> str:
    return f"{count(len(stages), 'stage')}, {_megabytes(stages)}, needed by no sweep"


def _megabytes(stages: Mapping[str, StoredStage]) -> str:
    return f"{sum(stage.size for stage in stages.values()) / 1e6:.1f} MB"


def _ages(stages: Mapping[str, StoredStage], now: datetime) -> str:
    ages = [max(0.0, (now - stage.modified).total_seconds()) for stage in stages.values()]
    newest, oldest = duration(min(ages)), duration(max(ages))
    return newest if newest == oldest else f"{newest} to {oldest}"
