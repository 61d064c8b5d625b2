"""Command `clmethods evaluate`: recompute metrics from stored weights and compare them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from clmethods.cli.errors import exit_on_user_error
from clmethods.cli.exit_codes import ExitCode
from clmethods.cli.input_files import read_mapping
from clmethods.cli.tables import columns, metrics_text, percent
from clmethods.config import (
    ConfigIssue,
    ExtendedStream,
    InvalidConfigError,
    ReadoutConfig,
    RunConfig,
    run_from_dict,
    run_to_dict,
)
from clmethods.config.task_contents import task_contents
from clmethods.metrics import METRICS
from clmethods.percentages import parse_fraction

if TYPE_CHECKING:
    from clmethods.archive import MetricsBySplit, ModelArchive, ReadoutMetrics

LOCATIONS = {"dataset", "root", "manifest"}
"""Fields of a stream that select other files."""
EXPORT = "export.json"
"""File that distinguishes an export from a model directory."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Split of the images to classify.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="YAML file with changed fields of the stream, such as limit or split_seed: other images "
    "of the same classes. No metrics are stored for them, so no comparison is made.",
)
@click.option(
    "--tolerance",
    default="0",
    show_default=True,
    metavar="FRACTION",
    help="Maximum difference of an accuracy or a metric, such as 0.01 or 1%. Use 0 on the same "
    "kind of machine as in training; on other machines, predictions for single images may differ.",
)
@click.option("--weights", help="New path of the backbone's weights file, if it was moved.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate(
    model: Path,
    split: str,
    data: Path | None,
    tolerance: str,
    weights: str | None,
    as_json: bool,
) -> None:
    """Evaluate the weights stored in MODEL again and compare with the stored metrics.

    MODEL is a model directory or an export. For an export, the exported files are evaluated and
    compared with the last row of the stored accuracy matrix.

    Exit code: 0 if the results agree, 1 if they differ, 2 if they cannot be compared.
    """
    with exit_on_user_error(f"{model} cannot be evaluated"):
        permitted = _tolerance(tolerance)
    if (model / EXPORT).is_file():
        _evaluate_export(model, split, data, permitted, as_json)
    with exit_on_user_error(f"{model} cannot be evaluated", failed=ExitCode.INVALID_INPUT):
        from clmethods.archive import ArchiveError, ModelArchive

        archive = ModelArchive.open(model, weights)
        stored = archive.metrics()
        if not as_json:
            click.echo(f"evaluating {len(archive.chain)} stages", err=True)
        measured = _measure(archive, stored.readouts, data).get(split)
        if measured is None:
            raise ArchiveError(f"{model} has no images in the split {split!r}.")
    stored_result = stored.splits.get(split, {})
    differs = [] if data is not None else _differences(measured, stored_result, permitted)
    if as_json:
        verdict = None if data is not None else not differs
        click.echo(json.dumps({"agrees": verdict, "differs": differs, split: measured}))
    else:
        click.echo(metrics_text(measured, archive.run, split))
        click.echo(_comparison_table(measured, stored_result))
        click.echo(_verdict(differs, data))
    sys.exit(ExitCode.FAILED if differs else ExitCode.OK)


def _tolerance(text: str) -> float:
    value = parse_fraction("--tolerance", text)
    if value < 0:
        raise InvalidConfigError([ConfigIssue("--tolerance", text, "0 or more")])
    return value


def _evaluate_export(
    folder: Path, split: str, data: Path | None, tolerance: float, as_json: bool
) -> NoReturn:
    with exit_on_user_error(f"{folder} cannot be evaluated", failed=ExitCode.INVALID_INPUT):
        from clmethods.export import ExportedModel, ExportError, measure_export
        from clmethods.export.measured_accuracy import exported_run

        if data is not None:
            hint = f"Evaluate the model directory, or {folder}/chain if the export carries it."
            allowed = "no value for an export"
            raise InvalidConfigError([ConfigIssue("--data", str(data), allowed, hint)])
        scores = measure_export(folder, split)  # type: ignore[arg-type]
        contents = task_contents(exported_run(ExportedModel.load(folder)).stream, learned=True)
        if not scores:
            raise ExportError(f"{folder} has no images in the split {split!r}.")
    differs = [
        score.title
        for score in scores
        if score.promised is not None and not _agree(score.promised, score.accuracy, tolerance)
    ]
    if as_json:
        rows = [asdict(score) | {"accuracy": score.accuracy} for score in scores]
        click.echo(json.dumps({"agrees": not differs, "differs": differs, split: rows}))
    else:
        table = [[f"percent of {split} images", "stored", "measured", "images"]]
        for score in scores:
            shown = [percent(score.promised), percent(score.accuracy), str(score.images)]
            table.append([score.title, *shown])
        click.echo(columns(table))
        for line in contents:
            click.echo(f"  {line}")
        click.echo(
            f"The exported files do NOT reproduce the stored accuracies: {', '.join(differs)}."
            if differs
            else "The exported files reproduce the stored accuracies."
        )
    sys.exit(ExitCode.FAILED if differs else ExitCode.OK)


def _measure(
    archive: ModelArchive, readouts: Sequence[ReadoutConfig], data: Path | None
) -> MetricsBySplit:
    """Return the metrics of every split and readout, computed from the stored weights."""
    from clmethods.archive import metrics_by_split
    from clmethods.checkpoint import fold
    from clmethods.data.datasets import require_same_content
    from clmethods.training.sequence import evaluate_chain

    run = archive.run if data is None else _with_data(archive.run, read_mapping(data, "--data"))
    require_same_content(run.stream)
    deltas = archive.deltas()
    states = [fold(deltas[: stage.position + 1]) for stage in archive.chain]
    steps = evaluate_chain(run, archive.chain, states, readouts)
    return metrics_by_split(run, steps, readouts)


def _with_data(run: RunConfig, changed: Mapping[str, object]) -> RunConfig:
    """Return the run with other images of the same classes in the same tasks."""
    if isinstance(run.stream, ExtendedStream):
        hint = "Evaluate the original model, without the added task."
        raise InvalidConfigError(
            [ConfigIssue("--data", sorted(changed), "a model without added tasks", hint)]
        )
    document = run_to_dict(run)
    stream = document["stream"] | changed
    if changed.keys() & LOCATIONS:
        stream["record"] = changed.get("record")  # that of the other files follows from them
    other = run_from_dict(document | {"stream": stream})
    allowed = "a stream with the same classes in the same tasks"
    if other.stream.groups() != run.stream.groups():
        raise InvalidConfigError([ConfigIssue("--data", dict(changed), allowed)])
    names, others = run.stream.facts.class_names, other.stream.facts.class_names
    if names and others and names != others:
        pairs = zip(names, others, strict=True)
        first = next((mine, its) for mine, its in pairs if mine != its)
        hint = f"Class {first[0]!r} of the model is {first[1]!r} in the other data."
        raise InvalidConfigError([ConfigIssue("--data", dict(changed), allowed, hint)])
    return other


def _differences(
    measured: Mapping[str, ReadoutMetrics], stored: Mapping[str, ReadoutMetrics], tolerance: float
) -> list[str]:
    """Return the names of the accuracies and metrics that differ by more than `tolerance`."""
    differs: list[str] = []
    for readout, result in stored.items():
        new_result = measured[readout]
        # models of earlier versions lack newer metrics
        pairs = {name: (result[name], new_result[name]) for name in METRICS if name in result}
        for t, (old, new) in enumerate(
            zip(result["accuracy"], new_result["accuracy"], strict=True)
        ):
            for j, pair in enumerate(zip(old, new, strict=True)):
                pairs[f"accuracy[{t}][{j}]"] = pair
        differs += [
            f"{readout}: {name}" for name, pair in pairs.items() if not _agree(*pair, tolerance)
        ]
    return differs


def _agree(old: float | None, new: float | None, tolerance: float) -> bool:
    if old is None or new is None:
        return old is new
    return abs(old - new) <= tolerance


def _comparison_table(
    measured: Mapping[str, ReadoutMetrics], stored: Mapping[str, ReadoutMetrics]
) -> str:
    rows = [["percent", "stored", "measured"]]
    for readout, result in measured.items():
        for name in METRICS:
            old = stored.get(readout, {}).get(name)
            rows.append([f"{readout}: {name}", percent(old), percent(result[name])])
    return columns(rows)


def _verdict(differs: list[str], data: Path | None) -> str:
    if data is not None:
        return f"Other images ({data}): no stored metrics to compare with."
    if not differs:
        return "The stored weights reproduce the stored metrics."
    shown = ", ".join(differs[:8]) + (", ..." if len(differs) > 8 else "")
    return f"The stored weights do NOT reproduce the stored metrics: {shown}."
