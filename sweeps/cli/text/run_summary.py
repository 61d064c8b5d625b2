"""Text at the end of `sweeps run`: completed work, results and their location."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from sweeps.cli.text.front_table import front_document
from sweeps.cli.text.layout import command, count, fitted, row
from sweeps.cli.text.plan_overview import failed_lines
from sweeps.execution.exit_codes import (
    INTERRUPTED_TEXT,
    STOPPED_TEXT,
    ExitCode,
    exit_code_line,
)
from sweeps.search.requested_results import read_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeps.execution.driver import SweepOutcome
    from sweeps.presentation.selection_card import CardEntry
    from sweeps.storage import ObjectStore


FETCHED = "~/results"
"""Recommended folder for results: the folder of the cluster file is copied to all hosts."""


def result_text(outcome: SweepOutcome, objects: ObjectStore) -> str:
    """Return the completed work, the front, and how the searched method compares with others."""
    from sweeps.cli.text.stopping_audit import stopping_lines
    from sweeps.presentation.selection_request import SelectionRequest, select_configuration

    plan = outcome.plan
    sweep = plan.sweep
    results = read_results(sweep, objects)
    lines = [
        "",
        *_done_lines(outcome),
        *failed_lines(outcome.failed),
        "",
        front_document(sweep, results).text,
        *stopping_lines(sweep, results, plan.step.decisions),
    ]
    if outcome.finished:
        answer = select_configuration(sweep, results, SelectionRequest())
        lines += ["", *_choice_lines(answer.entries)]
    return "\n".join(lines)


def _choice_lines(entries: Sequence[CardEntry]) -> list[str]:
    """Return the choice with its reason and its numbers, as `sweeps select` and the report do."""
    shown = [entry for entry in entries if entry.label in {"choose", "reason", "warning"}]
    return [
        line
        for entry in shown
        for index, text in enumerate(entry.lines)
        for line in row(entry.label if index == 0 else "", text)
    ]


def _done_lines(outcome: SweepOutcome) -> list[str]:
    plan, tree = outcome.plan, outcome.plan.tree
    done = f"{outcome.finished} of {tree.trials} trials finished, {len(outcome.failed)} failed"
    stored = len(plan.stored)
    if outcome.trained:
        found = f", found {stored} in the storage" if stored else ""
        return [f"{done}; trained {count(outcome.trained, 'stage')}{found}"]
    if stored == tree.distinct:
        return [done, f"nothing to train: all {stored} stages were found in the storage"]
    return [f"{done}; no stage was trained"]


def place_text(name: str, storage: str, on_cluster: bool, report: str, finished: int) -> str:
    """Return the location of the results, and commands to read them and, on a cluster, fetch them.

    `report`: path of the report, or the reason why it was not written. `finished`: number of
    finished trials; without one there is nothing to fetch or to analyze.
    """
    where = f"{storage.rstrip('/')}/sweeps/{name}"
    bucket = "://" in storage
    host = socket.gethostname()
    folder_of_cluster = on_cluster and not bucket
    lines = [command("results", f"{where} (a folder on {host})" if folder_of_cluster else where)]
    lines.append(command("report", report))
    if not finished:
        return "\n".join(["", *lines])
    if bucket:
        lines += row("fetch", "on any machine that can read the bucket:")
        lines.append(command("", f"sweeps report {where} -o {FETCHED}/{name}.html"))
        lines.append(command("", f"sweeps export {where} --to {FETCHED}/{name}"))
    elif on_cluster:
        lines += row("fetch", "on your own machine, with the cluster file that started this:")
        copy = f"{FETCHED}/sweeps/{name}"  # a storage with one sweep, which all commands read
        lines.append(command("", f"mkdir -p {FETCHED}/sweeps"))
        lines.append(command("", f"ray rsync-down cluster.yaml {where}/ {copy}/"))
        lines.append(command("", f"or: rsync -a {host}:{where}/ {copy}/"))
        lines.append(command("", f"sweeps pareto {copy}"))
    lines.append(command("analyze", f"sweeps pareto {where}"))
    lines += row("", "and likewise orders, effects, path, matrices, select, query, export")
    lines += row("extend", "add values, seeds or orders to the sweep file and run it again;")
    lines += row("", "only what is new is trained")
    return "\n".join(["", *lines])


def ending(outcome: SweepOutcome) -> tuple[ExitCode, str]:
    """Return the exit code of a run and its meaning; the meaning is empty for 0."""
    if outcome.halted:
        return ExitCode.FAILED, STOPPED_TEXT
    if outcome.interrupted:
        return ExitCode.INTERRUPTED, INTERRUPTED_TEXT
    if outcome.budget_used is not None:
        left = outcome.plan.tree.distinct - len(outcome.plan.stored) - outcome.trained
        return ExitCode.BUDGET_USED, (
            f"the budget is used up ({outcome.budget_used}), {left} stages are left to train; "
            "with a larger budget the same command continues"
        )
    if outcome.failed:
        return ExitCode.FAILED, f"{count(len(outcome.failed), 'trial')} failed"
    return ExitCode.OK, ""


def ending_text(code: int, meaning: str) -> str:
    """Return the last lines of a run that did not end with 0."""
    return "\n".join(fitted(exit_code_line(code, meaning)))
