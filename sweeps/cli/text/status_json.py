"""The JSON of `sweeps status --json`; `sweeps/README.md` documents its fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.planning.status_model import SweepStatus
    from sweeps.results.history import DriverRun


def status_json(storage: str, statuses: Sequence[SweepStatus], indent: int | None) -> str:
    """Return one JSON document about the sweeps of a storage."""
    document = {
        "storage": storage,
        "read_at": datetime.now(UTC),
        "sweeps": [_sweep(each) for each in statuses],
    }
    return json.dumps(document, indent=indent, default=_plain, ensure_ascii=False)


def _sweep(status: SweepStatus) -> dict[str, object]:
    history, speed = status.history, status.speed
    return {
        "name": status.name,
        "state": status.state,
        **asdict(status.counts),
        "stages_per_hour": {"last_hour": speed.recent_per_hour, "all": speed.per_hour},
        "stages_trained": {"last_hour": speed.recent_stages, "all": speed.stages},
        "seconds_left": status.left_s,
        "drivers": [asdict(each) for each in status.drivers],
        "nodes": [asdict(each) for each in status.nodes],
        "all_nodes": [asdict(each) for each in history.nodes],
        "running_stages": [asdict(each) for each in status.running],
        "failed_trials": [asdict(each) for each in status.failed],
        "lost_workers": [asdict(each) for each in history.losses],
        "refused_nodes": [asdict(each) for each in history.refusals],
        "notices": [{"at": at, "text": text} for at, text in history.notices],
        "runs": [_run(run) for run in history.runs],
        "unresolved": status.unresolved,
        "left_out": list(status.left_out),
    }


def _run(run: DriverRun) -> dict[str, object]:
    return {
        "run": run.run,
        "began": run.began,
        "last_event": run.last,
        "outcome": run.outcome,
        "trained": len(run.trained),
        "evaluated": run.evaluated,
        "started": asdict(run.started) if run.started is not None else None,
        "ended": asdict(run.ended) if run.ended is not None else None,
    }


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    raise TypeError(f"no JSON for {type(value).__name__}")
