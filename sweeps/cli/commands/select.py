"""`sweeps select`: selection of a configuration, with reasons."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clmethods.errors import refuse, require
from sweeps.analysis.selection.metric_bounds import metric_bound
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep, write_new_file
from sweeps.cli.text.task_lines import SHOWN_TASKS, task_lines
from sweeps.execution.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeps.analysis.selection.selection_candidates import DecisionBasis, MetricLimit


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
    from sweeps.presentation.production_file import production_document, production_run
    from sweeps.presentation.selection_json import selection_json
    from sweeps.presentation.selection_request import SelectionRequest, select_configuration
    from sweeps.search.requested_results import read_results

    folder = output is None or output.parent.is_dir()
    refuse([require(folder, "--output", str(output), "a path in an existing folder")])
    stored = open_stored_sweep(directory)
    sweep = stored.sweep
    results = read_results(sweep, stored.objects)
    note_left_out(results.left_out)
    request = SelectionRequest(
        limits=_limits("max", at_most) + _limits("min", at_least),
        prefer=prefer,
        knee=knee,
        basis=basis,
        within=None if within is None else within / 100,
        readout=readout,
        searched=searched,
        choose_on=choose_on,
        order=order,
    )
    answer = select_configuration(sweep, results, request)
    question, choice = answer.question, answer.choice
    for warning in results.warnings:
        click.echo(warning, err=True)
    if as_json:
        click.echo(selection_json(sweep.name, question, choice, answer.test, task_lines(sweep)))
    else:
        click.echo(answer.text)
        for line in task_lines(sweep, SHOWN_TASKS):
            click.echo(line)
    if choice.chosen is None:
        sys.exit(ExitCode.FAILED)
    if output is not None:
        one = choice.chosen.replicates
        run = production_run(results.trials, one.config_id, answer.order)
        used = next(r for r in sweep.readouts_for(run) if r.readout_id == one.readout_id)
        document = production_document(
            sweep.name, run, used, choice.chosen, question, answer.test, sweep.seeds
        )
        text = yaml_text(document)
        head = "wrote" if write_new_file(output, text) else "unchanged"
        click.echo(
            f"{head:<10}{output}: `clmethods train {output}` trains it, with seed {run.seed}",
            err=as_json,  # stdout holds the document alone
        )


def _limits(kind: str, written: Sequence[str]) -> tuple[MetricLimit, ...]:
    """Return limits such as `forgetting=0.03` or `forgetting=3%` as objects."""
    from sweeps.analysis.selection.selection_candidates import MetricLimit

    found = []
    for text in written:
        metric, _, bound = text.partition("=")
        value = metric_bound(f"--{kind}", text, metric.strip(), bound)
        found.append(MetricLimit(metric.strip(), "max" if kind == "max" else "min", value))
    return tuple(found)
