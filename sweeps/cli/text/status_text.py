"""Text output of `sweeps status`: plain text in 80 columns without truncation."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.cli.text.layout import aligned, command, count, duration, item, more, row, wrapped
from sweeps.cli.text.task_lines import SHOWN_TASKS, task_lines
from sweeps.planning.lease_readings import Sign
from sweeps.planning.status_model import SweepState, SweepStatus
from sweeps.stages.leases import TIME_TO_LIVE_S

if TYPE_CHECKING:
    from sweeps.planning.status_model import Driver, FailedTrial, NodeStatus, RunningStage
    from sweeps.results.event_kinds import RunStarted
    from sweeps.results.history import DriverRun

ALL = "--json lists them all"
SHOWN_NODES = 30
SHOWN_RUNNING = 20
SHOWN_FAILED = 10
SHOWN_NOTICES = 5


def status_text(status: SweepStatus, storage: str) -> str:
    """Return the complete status of one sweep."""
    where = f"{storage.rstrip('/')}/sweeps/{status.name}"
    lines = [f"{status.name}: {_state_text(status)}", ""]
    lines += [*_progress_lines(status), *_driver_lines(status)]
    lines += _node_lines(status.nodes)
    lines += _running_lines(status.running)
    lines += _failed_lines(status.failed)
    lines += _trouble_lines(status)
    warnings = [line for each in status.warnings for line in wrapped(each)]
    lines += ["", *warnings] if warnings else []
    names = [] if status.plan is None else task_lines(status.plan.sweep, SHOWN_TASKS)
    lines += ["", *(f"  {name}" for name in names)] if names else []
    lines += ["", *_next_lines(status, storage), command("results", where)]
    return "\n".join(lines)


def overview_text(statuses: Sequence[SweepStatus], storage: str) -> str:
    """Return one line per sweep."""
    head = ("sweep", "state", "trials", "failed", "to train", "per hour", "left")
    rows = [
        (
            status.name,
            _state_word(status),
            f"{status.counts.finished + status.counts.stopped}/{status.counts.trials}",
            str(status.counts.failed or ""),
            str(status.counts.to_train),
            _per_hour(status.speed.recent_per_hour),
            _left_word(status),
        )
        for status in statuses
    ]
    lines = aligned([head, *rows], numbers=range(2, 7))
    notes = [
        line
        for status in statuses
        if status.unresolved
        for line in wrapped(
            f"{status.name}: counted from the event log, as the sweep file cannot be resolved on "
            f"this machine: {status.unresolved}"
        )
    ]
    notes += [line for status in statuses for each in status.warnings for line in wrapped(each)]
    return "\n".join([*lines, "", *notes, command("one", f"sweeps status {storage}/sweeps/NAME")])


def _alive(status: SweepStatus) -> int:
    return sum(driver.sign is Sign.ALIVE for driver in status.drivers)


def _state_word(status: SweepStatus) -> str:
    alive = _alive(status)
    return f"{status.state} ({alive})" if alive > 1 else status.state


def _state_text(status: SweepStatus) -> str:
    alive = _alive(status)
    if status.state is SweepState.RUNNING:
        return "running" if alive == 1 else f"running, {alive} drivers"
    if status.state is SweepState.SILENT:
        return "no driver is alive; one was killed, or cannot reach the storage"
    if status.state is SweepState.STOPPED and status.history.cluster_lost:
        return "the Ray cluster of the last run was lost, and something is left to do"
    if status.state is SweepState.STOPPED:
        return "no driver is running, and something is left to do"
    failed = status.counts.failed
    return "finished" if not failed else f"finished, {count(failed, 'trial')} failed"


def _progress_lines(status: SweepStatus) -> list[str]:
    counts, speed = status.counts, status.speed
    states = [(counts.finished, "finished"), (counts.stopped, "stopped early")]
    states += [(counts.running, "running"), (counts.waiting, "waiting")]
    shown = ", ".join(f"{number} {name}" for number, name in states if number)
    of = f" in {count(counts.configurations, 'configuration')}" if counts.configurations else ""
    lines = row(
        "trials",
        f"{counts.trials}{of}: {shown + ', ' if shown else ''}{counts.failed} failed",
    )
    lines += row(
        "stages",
        f"{counts.stages} distinct: {counts.stored} stored, {counts.to_train} to train",
    )
    if not counts.exact:
        lines += row(
            "",
            "Counted from the event log, without what a killed driver had not written yet, as "
            f"the sweep file cannot be resolved on this machine: {status.unresolved}",
        )
    if speed.stages:
        recent = (
            f"{_per_hour(speed.recent_per_hour)} stages/h over the last hour "
            f"({speed.recent_stages:,} trained)"
            if speed.recent_stages
            else "nothing trained in the last hour"
        )
        lines += row("speed", f"{recent}, {_per_hour(speed.per_hour)} stages/h in all")
    if status.state is not SweepState.FINISHED:
        lines += row("left", _left_text(status))
    if status.plan is not None:
        from sweeps.cli.text.search_steps import search_lines

        for line in search_lines(status.plan.sweep, status.plan.step):
            indent = " " * (len(line) - len(line.lstrip()))
            lines += wrapped(line.strip(), indent, f"{indent}  ")
    return lines


def _left_text(status: SweepStatus) -> str:
    counts = status.counts
    more = "" if status.plan is None or status.plan.step.finished else ", then further steps"
    if status.left_s is None:
        return f"unknown: nothing was trained in the last hour{more}"
    if counts.to_train == 0:
        rest = "nothing to train" if not counts.running else "the running evaluations"
        return f"{rest}{more}"
    text = f"about {duration(status.left_s)} at the speed of the last hour{more}"
    return text if status.state is SweepState.RUNNING else f"{text}, once a driver runs"


def _left_word(status: SweepStatus) -> str:
    if status.state is SweepState.FINISHED:
        return ""
    return "unknown" if status.left_s is None else duration(status.left_s)


def _driver_lines(status: SweepStatus) -> list[str]:
    # drivers that remain in a finished sweep were killed
    shown = [] if status.state is SweepState.FINISHED else status.drivers
    lines = [line for driver in shown for line in row("driver", _driver_text(driver))]
    if not lines and status.history.runs:
        lines += row("last run", _run_text(status.history.runs[-1]))
    return lines


def _driver_text(driver: Driver) -> str:
    who = f"{driver.user}@{driver.host}" if driver.user else driver.host or "unknown host"
    if driver.sign is Sign.SILENT:
        lasted = f" after {duration(driver.running_s)}" if driver.running_s is not None else ""
        return (
            f"{who} is silent{lasted}: its beat stands still, so it was killed or cannot reach "
            f"the storage (run {driver.run})"
        )
    parts = [who]
    parts += [f"process {driver.pid}"] if driver.pid is not None else []
    parts += [f"for {duration(driver.running_s)}"] if driver.running_s is not None else []
    parts += [driver.file] if driver.file else []
    return f"{', '.join(parts)} (run {driver.run})"


def _run_text(run: DriverRun) -> str:
    who = run.started
    by = f"{who.user}@{who.host}, " if who is not None and who.user else ""
    span = f"{run.began:%Y-%m-%d %H:%M} to {run.last:%H:%M} UTC"
    return f"{by}{span}: {run.outcome}, {count(len(run.trained), 'stage')} trained"


def _node_lines(nodes: Sequence[NodeStatus]) -> list[str]:
    if not nodes:
        return []
    head = ("node", "slots", "busy", "trained", "lost")
    rows = [
        (
            node.node if node.node == node.address else f"{node.node} ({node.address})",
            str(node.slots),
            str(node.busy),
            str(node.trained),
            str(node.lost or ""),
        )
        for node in nodes[:SHOWN_NODES]
    ]
    return ["", *aligned([head, *rows], numbers=range(1, 5)), *more(nodes, SHOWN_NODES, ALL)]


def _running_lines(running: Sequence[RunningStage]) -> list[str]:
    if not running:
        return []
    lines = ["", "  running"]
    for stage in running[:SHOWN_RUNNING]:
        where = stage.node or "unknown node"
        task = "" if stage.position is None else f", stage {stage.position + 1}"
        task += f" of {stage.stages}" if stage.stages is not None else ""
        lasts = f", for {duration(stage.held_s)}" if stage.held_s and stage.held_s >= 1 else ""
        lines += item(f"{where}{task}{lasts}: {stage.name}")
    return [*lines, *more(running, SHOWN_RUNNING, ALL)]


def _failed_lines(failed: Sequence[FailedTrial]) -> list[str]:
    if not failed:
        return []
    lines = ["", "  failed (`sweeps run … --retry-failed` tries them again)"]
    for trial in failed[:SHOWN_FAILED]:
        where = f" on {trial.node}" if trial.node else ""
        cause = f"{trial.cause}: " if trial.cause else ""
        lines += item(f"{trial.name}{where}: {cause}{trial.error}")
    return [*lines, *more(failed, SHOWN_FAILED, ALL)]


def _trouble_lines(status: SweepStatus) -> list[str]:
    """Return lines on lost workers, refused nodes and outages."""
    history = status.history
    lines: list[str] = []
    if history.losses:
        lines += ["", "  lost workers (a trial continues from its last stage)"]
        for loss in history.losses:
            lines += item(f"{loss.count} {loss.cause} on {_named(loss.nodes)}: {loss.detail}")
    if history.refusals:
        lines += ["", "  refused nodes"]
        for refusal in history.refusals[-SHOWN_NOTICES:]:
            lines += item(f"{refusal.last:%Y-%m-%d %H:%M} UTC {refusal.node}: {refusal.reason}")
    if history.notices:
        count = len(history.notices)
        title = "storage outages and halts"
        lines += ["", f"  {title}" + (f", the last of {count}" if count > SHOWN_NOTICES else "")]
        for at, text in history.notices[-SHOWN_NOTICES:]:
            lines += item(f"{at:%Y-%m-%d %H:%M:%S} UTC {text}")
    if history.unread:
        lines += ["", *row("note", f"{history.unread} lines of the event log are not understood")]
    return lines


def _next_lines(status: SweepStatus, storage: str) -> list[str]:
    if status.state is SweepState.RUNNING or status.state is SweepState.FINISHED:
        return []
    runs = status.history.runs
    started = runs[-1].started if runs else None
    words = ["sweeps", "run", "--from-storage", status.name, "--storage", storage]
    words += _options(started) if started is not None else []
    lines = [command("continue", shlex.join(words))]
    if status.history.cluster_lost and started is not None and started.address:
        return [*lines, *row("", "once that cluster is up again, or with the address of another")]
    return [*lines, *row("", "or the command of the last run")]


def _options(started: RunStarted) -> list[str]:
    """Return the options of a run that also apply to the next run."""
    words = ["--address", started.address] if started.address else []
    for pattern in started.only:
        words += ["--only", pattern]
    life = started.time_to_live_s
    return words if life in (None, TIME_TO_LIVE_S) else [*words, "--lease-ttl", f"{life:g}"]


def _per_hour(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"  # noqa: RUF001


def _named(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
