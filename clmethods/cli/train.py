"""Command `clmethods train`: train a run from a file, print its metrics, optionally store it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clmethods.cli.epoch_progress import EpochProgress
from clmethods.cli.errors import exit_on_user_error
from clmethods.cli.expectation import Expectation, expectation, verdict, verdict_text
from clmethods.cli.input_files import read_mapping
from clmethods.cli.tables import metrics_text
from clmethods.config import ReadoutConfig, RunConfig, readout_from_dict, run_from_dict
from clmethods.config.compiler_check import missing_compiler
from clmethods.config.resolve import resolve_backbone
from clmethods.config.task_contents import stage_title
from clmethods.config.weights_fit import unfit_weights
from clmethods.errors import refuse
from clmethods.standard_streams import output_that_may_end

if TYPE_CHECKING:
    from clmethods.archive import ModelArchive
    from clmethods.training.sequence import SequenceStep


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Store the run in this directory; an existing run continues where it stopped.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--refit-all-data",
    "refit",
    is_flag=True,
    help="Train on the validation images too. The prediction of a production file then does not "
    "apply.",
)
@click.option("--verbose", is_flag=True, help="List the ignored files of the data.")
@output_that_may_end()
def train(file: Path, output: Path | None, as_json: bool, refit: bool, verbose: bool) -> None:
    """Train the run that FILE (YAML or JSON) describes, task by task, and evaluate it.

    FILE has the sections backbone, stream, method and train, and the field seed; omitted values
    take their defaults. A file with the sections run and readout is also supported: its readout is
    evaluated in addition to the usual ones. If its `evidence` contains a prediction, as written by
    `sweeps select -o`, the result is compared with it: a result outside the interval is a warning.
    """
    with exit_on_user_error(f"{file} cannot be trained"):
        data = read_mapping(file)
        run, readouts = _read(data)
        if refit:
            run = replace(run, stream=replace(run.stream, validation_fraction=0.0))
        expected = expectation(data, run, refit)
        refuse([unfit_weights(resolve_backbone(run.backbone)), missing_compiler(run.train)])
        from clmethods.archive import (
            ModelArchive,
            StoredMetrics,
            keep_statistics,
            metrics_by_split,
        )
        from clmethods.archive.model_history import HistoryEntry, add_entry
        from clmethods.data.data_summary import summary_lines
        from clmethods.readout.statistics import ReadoutStatistics
        from clmethods.training.sequence import run_sequence

        if verbose or not as_json:
            for line in summary_lines([run.stream], verbose):
                click.echo(line, err=True)
        archive = None
        if output is not None:
            archive = ModelArchive.create(output, run, lambda text: click.echo(text, err=True))
        statistics = ReadoutStatistics(archive.statistics() if archive is not None else None)
        progress = _progress(run, archive is not None)
        steps = run_sequence(
            run,
            readouts,
            archive,
            archive,
            progress,
            statistics,
            EpochProgress(run.train.epochs).show,
        )
        metrics = metrics_by_split(run, steps, readouts)
        if archive is not None:
            keep_statistics(archive, readouts, statistics)
            archive.save_metrics(StoredMetrics(readouts, metrics))
            add_entry(archive, HistoryEntry.now("train", archive, str(file), file))
        shown = metrics["test"]
        values = {} if expected is None else _values(expected, run, steps, readouts[-1], archive)
    click.echo(json.dumps(shown) if as_json else metrics_text(shown, run, "test"))
    if expected is not None:
        _report_comparison(expected, values, as_json)


def usual_readouts(run: RunConfig) -> list[ReadoutConfig]:
    """Return the last snapshot, and task-ID inference if the method's snapshots allow it."""
    readouts = [ReadoutConfig()]
    if "instance" in run.method.ROUTINGS:
        readouts.append(ReadoutConfig(routing="instance"))
    return readouts


def _read(data: dict[str, object]) -> tuple[RunConfig, list[ReadoutConfig]]:
    """Return the run and its readouts; the readout of a production file is the last."""
    if "run" not in data:
        run = run_from_dict(data)
        return run, usual_readouts(run)
    run = run_from_dict(data["run"])
    chosen = readout_from_dict(data.get("readout") or {})
    return run, [*(other for other in usual_readouts(run) if other != chosen), chosen]


def _values(
    expected: Expectation,
    run: RunConfig,
    steps: Sequence[SequenceStep],
    readout: ReadoutConfig,
    archive: ModelArchive | None,
) -> dict[str, float | None]:
    """Return the metrics of the finished run that were predicted."""
    from clmethods.metrics import every_metric
    from clmethods.training.sequence import sequence_counts

    values: dict[str, float | None] = {}
    for interval in expected.intervals:
        counts = sequence_counts(run, steps, readout.readout_id, interval.split)
        if interval.metric == "trainable_parameters":
            method = archive.reports()[-1]["method"] if archive is not None else {}
            number = method.get("trainable_parameters")
            values[interval.metric] = number if isinstance(number, int) else None
        elif counts.n.any():
            values[interval.metric] = every_metric(counts).get(interval.metric)
    return values


def _report_comparison(
    expected: Expectation, values: dict[str, float | None], quiet: bool
) -> None:
    """Print the comparison with the prediction; with `quiet` not on the standard output."""
    if expected.void is not None:
        click.echo(f"warning: not checked against the prediction: {expected.void}", err=True)
        return
    for interval in expected.intervals:
        value = values.get(interval.metric)
        outside = verdict(interval, value) == "outside"
        lead = "warning: " if outside else ""
        click.echo(f"{lead}{verdict_text(interval, value)}", err=outside or quiet)


def _progress(run: RunConfig, shown: bool) -> Callable[[SequenceStep], None]:
    def report(step: SequenceStep) -> None:
        if shown:
            outcome = "already trained" if step.reused else "trained"
            stage = step.stage
            title = stage_title(stage.groups)
            click.echo(f"stage {stage.position + 1} of {run.stages}, {title}: {outcome}", err=True)

    return report
