"""`clmethods train`: a run from a file, printed, and kept in a directory if one is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clmethods.cli.expectation import Expectation, expectation, verdict, verdict_text
from clmethods.cli.files import read_mapping
from clmethods.cli.messages import exit_on_user_error
from clmethods.cli.tables import metrics_text
from clmethods.config import ReadoutConfig, RunConfig, readout_from_dict, run_from_dict
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
    help="Keep the run in this directory; a run that is there already goes on where it stopped.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--refit-all-data",
    "refit",
    is_flag=True,
    help="Train on the validation images too; voids what a production file predicts.",
)
@output_that_may_end()
def train(file: Path, output: Path | None, as_json: bool, refit: bool) -> None:
    """Train the run that FILE (YAML or JSON) describes, task after task, and evaluate it.

    FILE has the sections backbone, stream, method and train, and the field seed; what is left out
    takes its default. A file with the sections run and readout is read too: it names the readout
    that is to be evaluated beside the usual ones. If its `evidence` predicts the result, as
    that of `sweeps select -o` does, the result is checked against it: outside is a warning.
    """
    with exit_on_user_error(f"{file} cannot be trained"):
        data = read_mapping(file)
        run, readouts = _read(data)
        if refit:
            run = replace(run, stream=replace(run.stream, validation_fraction=0.0))
        expected = expectation(data, run, refit)
        from clmethods.archive import (
            ModelArchive,
            StoredMetrics,
            keep_statistics,
            metrics_by_split,
        )
        from clmethods.readout.statistics import ReadoutStatistics
        from clmethods.training.sequence import run_sequence

        archive = None
        if output is not None:
            archive = ModelArchive.create(output, run, lambda text: click.echo(text, err=True))
        statistics = ReadoutStatistics(archive.statistics() if archive is not None else None)
        progress = _progress(run, archive is not None)
        steps = run_sequence(run, readouts, archive, archive, progress, statistics)
        found = metrics_by_split(run, steps, readouts)
        if archive is not None:
            keep_statistics(archive, readouts, statistics)
            archive.save_metrics(StoredMetrics(readouts, found))
        shown = found["test"]
        values = {} if expected is None else _values(expected, run, steps, readouts[-1], archive)
    click.echo(json.dumps(shown) if as_json else metrics_text(shown, run, "test"))
    if expected is not None:
        _tell(expected, values, as_json)


def usual_readouts(run: RunConfig) -> list[ReadoutConfig]:
    """The last snapshot, and task-ID inference where the method's snapshots allow it."""
    readouts = [ReadoutConfig()]
    if "instance" in run.method.ROUTINGS:
        readouts.append(ReadoutConfig(routing="instance"))
    return readouts


def _read(data: dict[str, Any]) -> tuple[RunConfig, list[ReadoutConfig]]:
    """The run, and its readouts; the one that a production file chose is the last."""
    if "run" not in data:
        run = run_from_dict(data)
        return run, usual_readouts(run)
    run = run_from_dict(data["run"])
    chosen = readout_from_dict(data.get("readout") or {})
    return run, [*(usual for usual in usual_readouts(run) if usual != chosen), chosen]


def _values(
    expected: Expectation,
    run: RunConfig,
    steps: Sequence[SequenceStep],
    readout: ReadoutConfig,
    archive: ModelArchive | None,
) -> dict[str, float | None]:
    """The metrics of the finished run that were predicted."""
    from clmethods.metrics import every_metric
    from clmethods.training.sequence import sequence_counts

    found: dict[str, float | None] = {}
    for one in expected.intervals:
        counts = sequence_counts(run, steps, readout.readout_id, one.split)
        if one.metric == "trainable_parameters":
            method = archive.reports()[-1]["method"] if archive is not None else {}
            found[one.metric] = method.get("trainable_parameters")
        elif counts.n.any():
            found[one.metric] = every_metric(counts).get(one.metric)
    return found


def _tell(expected: Expectation, values: dict[str, float | None], quiet: bool) -> None:
    """Whether the run is what was predicted; with `quiet` not on the standard output."""
    if expected.void is not None:
        click.echo(f"warning: not checked against the prediction: {expected.void}", err=True)
        return
    for one in expected.intervals:
        value = values.get(one.metric)
        outside = verdict(one, value) == "outside"
        lead = "warning: " if outside else ""
        click.echo(f"{lead}{verdict_text(one, value)}", err=outside or quiet)


def _progress(run: RunConfig, shown: bool) -> Callable[[SequenceStep], None]:
    def tell(step: SequenceStep) -> None:
        if shown:
            what = "was there" if step.reused else "trained"
            click.echo(f"task {step.stage.position + 1} of {run.stages}: {what}", err=True)

    return tell
