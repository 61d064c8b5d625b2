"""`sweeps select`: selection of a configuration, with reasons."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.errors import refuse, require
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep, write_new_file
from sweeps.cli.metric_bounds import metric_bound
from sweeps.cli.text.task_lines import SHOWN_TASKS, task_lines
from sweeps.execution.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeps.analysis.selection.selection_candidates import DecisionBasis, MetricLimit
    from sweeps.analysis.trials.replicates import Cell, Replicates
    from sweeps.definition import Sweep


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--max",
    "at_most",
    multiple=True,
    metavar="METRIC=BOUND",
    help="Such as forgetting=0.03 or forgetting=3%.",
)
@click.option(
    "--min",
    "at_least",
    multiple=True,
    metavar="METRIC=BOUND",
    help="Such as average_accuracy=0.6.",
)
@click.option(
    "--prefer",
    metavar="METRIC",
    help="Metric to optimize under the constraints. Default: the first objective.",
)
@click.option("--knee", is_flag=True, help="Select the knee of the Pareto front instead.")
@click.option(
    "--by",
    "basis",
    type=click.Choice(["bound", "pessimistic", "mean"]),
    default="bound",
    show_default=True,
    help="Decide by the one-sided 80 % bound over common runs, by the worse of interval end and "
    "worst order, or by means.",
)
@click.option(
    "--within",
    metavar="POINTS",
    type=click.FloatRange(min=0.0),
    help="Select the cheapest configuration within this distance of the best: the fewest "
    "trainable parameters, then the fewest stored bytes.",
)
@click.option(
    "--readout",
    metavar="ID",
    help="Only this readout. Default: all that do not receive the task ID.",
)
@click.option("--searched", is_flag=True, help="Exclude baselines.")
@click.option(
    "--choose-on",
    metavar="orders=…|seeds=…",
    multiple=True,
    help="Decide on these runs only, and also report on runs that share no order and no seed with "
    "them: seeds=0,1 or orders=0-1-2,2-1-0; give both.",
)
@click.option("--order", metavar="0-1-2", help="Task order of the production run.")
@click.option(
    "-o",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the run, its readout and the evidence as YAML for `clmethods train`. "
    "A file with other content is not overwritten.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; see sweeps/README.md.")
@exit_on_user_error
def select(
    directory: str,
    at_most: tuple[str, ...],
    at_least: tuple[str, ...],
    prefer: str | None,
    knee: bool,
    basis: DecisionBasis,
    within: float | None,
    readout: str | None,
    searched: bool,
    choose_on: tuple[str, ...],
    order: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Select a configuration under constraints, with reasons.

    Decides on validation images, by a one-sided 80 % bound of the mean over the runs that all
    configurations have in common. A constraint counts as satisfied only if a test at 5 % says so,
    corrected for the number of configurations. Baselines can be selected, too.
    """
    from clmethods.strict_yaml import yaml_text
    from sweeps.analysis.selection.selection import select as decide
    from sweeps.analysis.selection.selection_candidates import COSTS
    from sweeps.analysis.trials.metric_choice import all_orders, direction_of
    from sweeps.analysis.trials.replicates import check_names, measures, replicates
    from sweeps.analysis.trials.summary import summarize
    from sweeps.presentation.production_file import (
        parse_order,
        production_document,
        production_run,
    )
    from sweeps.presentation.selection_card import SelectionQuestion, selection_card_text
    from sweeps.presentation.selection_json import selection_json
    from sweeps.presentation.text_tables import FRACTIONS
    from sweeps.search.requested_results import read_results

    folder = output is None or output.parent.is_dir()
    refuse(
        [
            require(not (knee and prefer), "--knee", prefer, "either --knee or --prefer"),
            require(
                not (knee and within is not None), "--knee", within, "either --knee or --within"
            ),
            require(folder, "--output", str(output), "a path in an existing folder"),
        ]
    )
    stored = open_stored_sweep(directory)
    sweep = stored.sweep
    results = read_results(sweep, stored.objects)
    note_left_out(results.left_out)
    summaries = {s: summarize(results.trials, results.evals, s) for s in ("validation", "test")}
    limits = _limits("max", at_most) + _limits("min", at_least)
    objectives = dict(sweep.objectives)
    names = [limit.metric for limit in limits] + ([prefer] if prefer else [])
    check_names(names, measures(summaries["test"]))
    if prefer is not None:
        objectives.setdefault(prefer, direction_of(prefer))
    elif not knee:
        prefer = next(iter(objectives))
    refuse(
        [
            require(
                within is None or prefer in FRACTIONS,
                "--within",
                prefer,
                "a preferred metric in percent, such as average_accuracy",
            )
        ]
    )
    metrics = list(dict.fromkeys([*objectives, *names, *COSTS]))
    found = {s: replicates(summary, metrics) for s, summary in summaries.items()}
    candidates = _under(readout, found["validation"], [r.readout_id for r in sweep.readouts])
    candidates = [one for one in candidates if one.role == "search" or not searched]
    test = {(one.config_id, one.readout_id): one for one in found["test"]}
    cells = _cells(choose_on, candidates)
    if order is not None:
        parse_order(order, sweep.base)
    order = order or _first_order(sweep)
    question = SelectionQuestion(
        objectives=objectives,
        limits=limits,
        prefer=prefer,
        basis=basis,
        fixed_orders=all_orders(sweep),
        order=order,
        chosen_on=cells,
        within=None if within is None else within / 100,
    )
    choice = decide(
        candidates,
        objectives,
        limits,
        prefer,
        basis=question.basis,
        cells=cells,
        fixed_orders=question.fixed_orders,
        within=question.within,
    )
    for warning in results.warnings:
        click.echo(warning, err=True)
    if as_json:
        click.echo(selection_json(sweep.name, question, choice, test, task_lines(sweep)))
    else:
        click.echo(selection_card_text(question, choice, test))
        for line in task_lines(sweep, SHOWN_TASKS):
            click.echo(line)
    if choice.chosen is None:
        sys.exit(ExitCode.FAILED)
    if output is not None:
        one = choice.chosen.replicates
        run = production_run(results.trials, one.config_id, order)
        used = next(r for r in sweep.readouts_for(run) if r.readout_id == one.readout_id)
        document = production_document(
            sweep.name, run, used, choice.chosen, question, test, sweep.seeds
        )
        text = yaml_text(document)
        head = "wrote" if write_new_file(output, text) else "unchanged"
        click.echo(
            f"{head:<10}{output}: `clmethods train {output}` trains it, with seed {run.seed}",
            err=as_json,  # stdout holds the document alone
        )


def _first_order(sweep: Sweep) -> str:
    return "-".join(map(str, sweep.task_orders[0]))


def _limits(kind: str, written: Sequence[str]) -> tuple[MetricLimit, ...]:
    """Return limits such as `forgetting=0.03` or `forgetting=3%` as objects."""
    from sweeps.analysis.selection.selection_candidates import MetricLimit

    found = []
    for text in written:
        metric, _, bound = text.partition("=")
        value = metric_bound(f"--{kind}", text, metric.strip(), bound)
        found.append(MetricLimit(metric.strip(), "max" if kind == "max" else "min", value))
    return tuple(found)


def _under(
    readout: str | None, found: Sequence[Replicates], declared: Sequence[str]
) -> list[Replicates]:
    """Return the replicates of the requested readout, or all replicates."""
    names = list(dict.fromkeys([*declared, *(one.readout_id for one in found)]))
    refuse([require(readout is None or readout in names, "--readout", readout, f"one of {names}")])
    return [one for one in found if readout is None or one.readout_id == readout]


def _cells(written: Sequence[str], found: Sequence[Replicates]) -> tuple[Cell, ...] | None:
    """Return the (order, seed) cells used for the selection; None for all cells.

    Runs of methods that do not depend on the order have the seeds alone in common with others.
    """
    from sweeps.analysis.trials.replicates import ANY_ORDER

    if not written:
        return None
    cells = list(dict.fromkeys(cell for one in found for cell in one.cells))
    orders = list(dict.fromkeys(order for order, _ in cells if order != ANY_ORDER))
    seeds = list(dict.fromkeys(_root(seed) for _, seed in cells))
    for text in written:
        what, _, listed = text.partition("=")
        values = [value.strip() for value in listed.split(",") if value.strip()]
        known = {"orders": orders, "seeds": seeds}.get(what)
        if known is None:
            constraint = "orders=… or seeds=…, with values of the sweep"
            raise InvalidConfigError([ConfigIssue("--choose-on", text, constraint)])
        refuse(
            require(value in known, f"--choose-on {what}", value, f"one of {known}")
            for value in values or [""]
        )
        if what == "orders":
            cells = [cell for cell in cells if cell[0] in (*values, ANY_ORDER)]
        else:
            cells = [cell for cell in cells if _root(cell[1]) in values]
    return tuple(cells)


def _root(seed: object) -> str:
    """Return the seed of the run, without the other values that vary with it."""
    return str(seed[0]) if isinstance(seed, tuple) else str(seed)
