"""Report section with the audit trail: driver runs, sweep files, nodes, losses and outages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sweeps.presentation.numbers import count, seconds
from sweeps.presentation.text_tables import NOTHING
from sweeps.report.page_model import Section, Table, table
from sweeps.report.report_inputs import ReportInputs
from sweeps.results.event_kinds import RunStarted
from sweeps.results.history import DriverRun, History, NodeRecord, RunOutcome

LISTED = 20
"""Maximum number of rows per table: a sweep may have thousands of events."""
NAMED = 3
"""Maximum number of nodes that a cell names."""


def audit_trail_section(inputs: ReportInputs) -> Section:
    """Return the section: driver runs, nodes with their stages, losses by cause, outages."""
    history = inputs.history
    tables = (
        ("Runs of the driver", _runs(history.runs)),
        ("Sweep file, code and options of each run", _inputs(history.runs)),
        ("Nodes", _nodes(history.nodes)),
        ("Lost workers by cause", _losses(history)),
        ("Refused nodes", _refusals(history)),
        ("Storage outages and halts", _notices(history)),
    )
    notes = []
    if history.unread:
        lines = count(history.unread, "line")
        notes.append(f"{lines} of the event log could not be read by this version.")
    return Section(
        id="operations",
        title="Runs and nodes",
        short="Runs",
        lead=_lead(history),
        tables=tuple((title, rows) for title, rows in tables if rows.rows),
        notes=tuple(notes),
    )


def _lead(history: History) -> str:
    if not history.runs:
        return "The event log of this sweep is empty."
    users = sorted({r.started.user for r in history.runs if r.started and r.started.user})
    parts = [f"{count(len(history.runs), 'run')} of the driver" + _by(users)]
    open_ends = sum(run.outcome is RunOutcome.NOT_LOGGED for run in history.runs)
    if open_ends:
        parts.append(f"{count(open_ends, 'run')} without a logged end (running or killed)")
    parts.append(count(len(history.nodes), "node"))
    workers = sum(loss.count for loss in history.losses)
    lost = sum(node.lost for node in history.nodes)
    parts += [f"{count(workers, 'worker')} lost"] if workers else []
    parts += [f"{count(lost, 'node')} lost"] if lost else []
    parts += [f"{count(len(history.refusals), 'node')} refused"] if history.refusals else []
    return "; ".join(parts) + ". Times are UTC, by the clock of the driver's machine."


def _by(users: Sequence[str]) -> str:
    return f" by {_some(users)}" if users else ""


def _runs(runs: Sequence[DriverRun]) -> Table:
    rows = [
        [
            run.run,
            _time(run.began),
            _time(run.last),
            _end(run),
            _user(run.started),
            len(run.trained),
            run.evaluated,
        ]
        for run in runs[-LISTED:]
    ]
    head = ["run", "started", "last event", "end", "by", "#trained", "#evaluated"]
    return table(head, rows, _note(runs, "last"))


def _inputs(runs: Sequence[DriverRun]) -> Table:
    rows = [
        [run.run, start.file, start.document, start.code_version, _options(start)]
        for run in runs[-LISTED:]
        if (start := run.started) is not None
    ]
    note = "Every version of the merged sweep file is in the storage: versions/CHECKSUM.yaml."
    more = _note(runs, "last")
    head = ["run", "sweep file", "checksum", "code version", "options"]
    return table(head, rows, f"{note[:-1]}; {more}" if more else note)


def _end(run: DriverRun) -> str:
    end = run.ended
    if end is None:
        return run.outcome
    reason = end.error or end.halted or end.budget_used or ""
    failed = f"{count(end.failed, 'trial')} failed" if end.failed else ""
    detail = "; ".join(text for text in (reason, failed) if text)
    return f"{run.outcome}: {detail}" if detail else run.outcome


def _user(started: RunStarted | None) -> str:
    if started is None:
        return NOTHING
    if started.user is None and started.host is None:
        return started.host_kind or NOTHING
    return f"{started.user}@{started.host}, process {started.pid}"


def _options(started: RunStarted) -> str:
    options = [f"--address {started.address}"] if started.address else []
    options += [f"--only {pattern}" for pattern in started.only]
    options += ["--retry-failed"] if started.retry_failed else []
    return " ".join(options) or NOTHING


def _nodes(nodes: Sequence[NodeRecord]) -> Table:
    ranked = sorted(nodes, key=lambda node: (-node.trained, node.node))
    rows = [
        [
            node.node,
            node.address or NOTHING,
            node.slots,
            node.trained,
            node.evaluated,
            seconds(node.busy_s) if node.busy_s else NOTHING,
            node.workers_lost,
            node.joined,
            node.lost,
            _number(node.cpus),
            _number(node.gpus),
            _time(node.last_stage) if node.last_stage else NOTHING,
        ]
        for node in ranked[:LISTED]
    ]
    head = ["node", "address", "#slots", "#trained", "#evaluated", "#busy", "#workers lost"]
    more = ["#joined", "#lost", "#CPUs", "#GPUs", "last stage"]
    return table([*head, *more], rows, _note(ranked, "first"))


def _losses(history: History) -> Table:
    return table(
        ["cause", "#workers", "last", "for example", "nodes"],
        [
            [loss.cause, loss.count, _time(loss.last), loss.detail, _some(loss.nodes)]
            for loss in history.losses
        ],
        note="A trial that loses its worker continues from its last stored stage.",
    )


def _refusals(history: History) -> Table:
    refused = history.refusals
    return table(
        ["node", "address", "#times", "last", "reason"],
        [
            [refusal.node, refusal.address, refusal.count, _time(refusal.last), refusal.reason]
            for refusal in refused[-LISTED:]
        ],
        _note(refused, "last"),
    )


def _notices(history: History) -> Table:
    notices = history.notices
    rows = [[f"{at:%Y-%m-%d %H:%M:%S}", text] for at, text in notices[-LISTED:]]
    return table(["time", "event"], rows, _note(notices, "last"))


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:g}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _note(rows: Sequence[object], which: str) -> str:
    if len(rows) <= LISTED:
        return ""
    return f"the {which} {LISTED} of {len(rows):,}; sweeps status --json lists all"
