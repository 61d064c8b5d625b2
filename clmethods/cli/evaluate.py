"""`clmethods evaluate`: the metrics again, from the stored weights, beside those stored."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from clmethods.cli.files import read_mapping
from clmethods.cli.messages import FAILED, USER_FAULT, exit_on_user_error
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
from clmethods.metrics import METRICS

if TYPE_CHECKING:
    from clmethods.archive import MetricsBySplit, ModelArchive

EXPORT = "export.json"
"""By which an export is told from a model directory."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Which images are classified.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="YAML with fields of the stream that differ, such as limit or split_seed: the same "
    "classes in other images. Nothing was promised for those, so nothing is compared.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0.0),
    default=0.0,
    show_default=True,
    help="Largest difference of an accuracy or a metric that still agrees. On the kind of "
    "machine that trained the model 0 holds; elsewhere single images may fall the other way.",
)
@click.option("--weights", help="Where the backbone's file lies now, if it was moved.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate(
    model: Path,
    split: str,
    data: Path | None,
    tolerance: float,
    weights: str | None,
    as_json: bool,
) -> None:
    """Classify again with the weights stored in MODEL and compare with the metrics stored there.

    MODEL is a model directory or an export; of an export the files for others are measured, and
    compared with the last row of its accuracy matrix.

    Exit code 0 if they agree, 1 if they differ, 2 if they could not be compared.
    """
    if (model / EXPORT).is_file():
        _evaluate_export(model, split, data, tolerance, as_json)
    with exit_on_user_error(f"{model} cannot be evaluated", failed=USER_FAULT):
        from clmethods.archive import ArchiveError, ModelArchive

        archive = ModelArchive.open(model, weights)
        kept = archive.metrics()
        measured = _measure(archive, kept.readouts, data).get(split)
        if measured is None:
            raise ArchiveError(f"{model} has no images in the split {split!r}.")
    promised = kept.splits.get(split, {})
    differs = [] if data is not None else _differences(measured, promised, tolerance)
    if as_json:
        verdict = None if data is not None else not differs
        click.echo(json.dumps({"agrees": verdict, "differs": differs, split: measured}))
    else:
        click.echo(metrics_text(measured, archive.run, split))
        click.echo(_beside(measured, promised))
        click.echo(_verdict(differs, data))
    sys.exit(FAILED if differs else 0)


def _evaluate_export(
    folder: Path, split: str, data: Path | None, tolerance: float, as_json: bool
) -> NoReturn:
    with exit_on_user_error(f"{folder} cannot be evaluated", failed=USER_FAULT):
        from clmethods.export import ExportError, measure_export

        if data is not None:
            hint = f"Evaluate the model directory, or {folder}/chain if the export carries it."
            allowed = "to be left out for an export"
            raise InvalidConfigError([ConfigIssue("--data", str(data), allowed, hint)])
        found = measure_export(folder, split)  # type: ignore[arg-type]
        if not found:
            raise ExportError(f"{folder} has no images in the split {split!r}.")
    differs = [
        f"task {score.task}"
        for score in found
        if score.promised is not None and not _agree(score.promised, score.accuracy, tolerance)
    ]
    if as_json:
        rows = [asdict(score) | {"accuracy": score.accuracy} for score in found]
        click.echo(json.dumps({"agrees": not differs, "differs": differs, split: rows}))
    else:
        table = [[f"percent of {split} images", "stored", "measured", "images"]]
        for score in found:
            shown = [percent(score.promised), percent(score.accuracy), str(score.images)]
            table.append([f"task {score.task}", *shown])
        click.echo(columns(table))
        click.echo(
            f"The exported files do NOT give the stored accuracies: {', '.join(differs)}."
            if differs
            else "The exported files give the stored accuracies."
        )
    sys.exit(FAILED if differs else 0)


def _measure(
    archive: ModelArchive, readouts: Sequence[ReadoutConfig], data: Path | None
) -> MetricsBySplit:
    """Metrics of every split and readout, from the stored weights alone."""
    from clmethods.archive import metrics_by_split
    from clmethods.checkpoint import fold
    from clmethods.training.sequence import evaluate_chain

    run = archive.run if data is None else _with_data(archive.run, read_mapping(data, "--data"))
    deltas = archive.deltas()
    states = [fold(deltas[: stage.position + 1]) for stage in archive.chain]
    steps = evaluate_chain(run, archive.chain, states, readouts)
    return metrics_by_split(run, steps, readouts)


def _with_data(run: RunConfig, changed: Mapping[str, Any]) -> RunConfig:
    """The run over other images of the same classes in the same tasks."""
    if isinstance(run.stream, ExtendedStream):
        hint = "Evaluate the model as it was before a task was added to it."
        raise InvalidConfigError(
            [ConfigIssue("--data", sorted(changed), "a model without added tasks", hint)]
        )
    document = run_to_dict(run)
    other = run_from_dict(document | {"stream": document["stream"] | changed})
    if other.stream.groups() != run.stream.groups():
        allowed = "a stream with the same classes in the same tasks"
        raise InvalidConfigError([ConfigIssue("--data", dict(changed), allowed)])
    return other


def _differences(
    measured: Mapping[str, Any], promised: Mapping[str, Any], tolerance: float
) -> list[str]:
    """Names of the accuracies and metrics that are further apart than `tolerance`."""
    differs: list[str] = []
    for readout, result in promised.items():
        again = measured[readout]
        # a model of an earlier version lacks the metrics that were named since
        pairs = {name: (result[name], again[name]) for name in METRICS if name in result}
        for t, (old, new) in enumerate(zip(result["accuracy"], again["accuracy"], strict=True)):
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


def _beside(measured: Mapping[str, Any], promised: Mapping[str, Any]) -> str:
    rows = [["percent", "stored", "measured"]]
    for readout, result in measured.items():
        for name in METRICS:
            old = promised.get(readout, {}).get(name)
            rows.append([f"{readout}: {name}", percent(old), percent(result[name])])
    return columns(rows)


def _verdict(differs: list[str], data: Path | None) -> str:
    if data is not None:
        return f"Other images ({data}): nothing was promised for them."
    if not differs:
        return "The stored weights give the stored metrics."
    shown = ", ".join(differs[:8]) + (", ..." if len(differs) > 8 else "")
    return f"The stored weights do NOT give the stored metrics: {shown}."
