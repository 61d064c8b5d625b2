"""Text at the end of `sweeps run`: completed work, results, answers, and where the results are."""

from __future__ import annotations

import shlex
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.analysis.trials.metric_choice import (
    chosen_metric,
    chosen_readout,
    replicate_warning,
    summaries,
)
from sweeps.cli.text.front_table import brief_front_block
from sweeps.cli.text.layout import command, count, fitted, item, row
from sweeps.cli.text.plan_overview import failed_lines
from sweeps.execution.exit_codes import (
    INTERRUPTED_TEXT,
    STOPPED_TEXT,
    ExitCode,
    exit_code_line,
)
from sweeps.search.requested_results import read_results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from sweeps.analysis.front.pareto_row import FrontRow
    from sweeps.analysis.trials.metric_choice import Results
    from sweeps.definition import Sweep
    from sweeps.execution.driver import SweepOutcome
    from sweeps.presentation.selection_card import CardEntry
    from sweeps.storage import ObjectStore


FETCHED = "~/results"
"""Recommended folder for results: the folder of the cluster file is copied to all hosts."""


def result_text(outcome: SweepOutcome, objects: ObjectStore) -> str:
    """Return the completed work, the results, and the answers to three questions about them.

    They are the answers of the report and of `sweeps select`: how much the task order matters,
    which configuration to use, and what shared stages saved.
    """
    from sweeps.analysis.front.pareto_table import front_rows
    from sweeps.cli.text.stopping_audit import stopping_lines
    from sweeps.presentation.documents import Document

    plan = outcome.plan
    sweep = plan.sweep
    results = read_results(sweep, objects)
    lines = ["", *_done_lines(outcome), *failed_lines(outcome.failed), ""]
    lines += [line for warning in results.warnings for line in fitted(warning)]
    if not outcome.finished:
        return "\n".join([*lines, "no finished trial yet"])
    by_split = summaries(results)
    readout = chosen_readout(sweep, None)
    rows = front_rows(sweep, by_split, readout)
    table = Document(command="run", facts={}, blocks=[brief_front_block(sweep, rows, readout)])
    lines += [table.text.lstrip("\n"), *stopping_lines(sweep, results, plan.step.decisions), ""]
    return "\n".join(lines + _answers(sweep, results, by_split, rows, objects))


def _answers(
    sweep: Sweep,
    results: Results,
    by_split: Mapping[str, pa.Table],
    rows: Sequence[FrontRow],
    objects: ObjectStore,
) -> list[str]:
    """Return the three questions, each with its answer."""
    from sweeps.analysis.front.pareto_table import training_benefit
    from sweeps.presentation.selection_request import SelectionRequest, select_from_summaries
    from sweeps.presentation.short_answers import order_answer, stage_sharing
    from sweeps.results import read_table

    readouts = [each.readout_id for each in sweep.readouts]
    order = order_answer(results.trials, results.evals, [row.config_id for row in rows], readouts)
    answer = select_from_summaries(sweep, by_split, SelectionRequest())
    benefit = training_benefit(sweep, by_split, readouts[0], chosen_metric(sweep, None))
    stages = read_table(objects, sweep.name, "stages").table
    sharing = stage_sharing(results.trials.to_pylist(), stages.to_pylist())
    few = replicate_warning(results.trials)
    return [
        "How much does the task order matter?",
        *item(order or "Not known: this needs at least two task orders."),
        "Which configuration should be used, and how sure is that?",
        *_choice_lines(answer.brief_entries),
        *(row("LoRA?", benefit.answer) if benefit else []),
        *(row("warning", few) if few else []),
        "What did sharing stages save?",
        *item(sharing.text if sharing else "Not known: no stage has a known cost."),
    ]


def _choice_lines(entries: Sequence[CardEntry]) -> list[str]:
    """Return the choice with its reason and its numbers, as `sweeps select` and the report do."""
    return [
        line
        for entry in entries
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


def program_prefix() -> str:
    """Return what precedes the name of a program in a command that the user can copy.

    It is empty if `sweeps` is on the PATH, and otherwise the folder from which it was started.
    """
    program = Path(sys.argv[0])
    if program.name != "sweeps" or shutil.which("sweeps") is not None:
        return ""
    return shlex.quote(f"{program.parent}/")


def place_text(
    name: str, storage: str, on_cluster: bool, report: str, finished: int, prefix: str = ""
) -> str:
    """Return the location of the results, and commands to read them and, on a cluster, fetch them.

    `report`: path of the report, or the reason why it was not written. `finished`: number of
    finished trials; without one there is nothing to fetch or to analyze. `prefix`: that of
    `program_prefix`.
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
    folder = shlex.quote(where)
    lines.append(command("analyze", f"{prefix}sweeps pareto {folder}"))
    lines += row("", "and likewise orders, effects, path, matrices, query, export")
    lines.append("Next, write the chosen configuration to a file, and train it for production:")
    lines.append(command("", f"{prefix}sweeps select {folder} -o production.yaml"))
    lines.append(command("", f"{prefix}clmethods train production.yaml -o model"))
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
