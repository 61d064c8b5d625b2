"""`clmethods train`: a run from a file, printed, and kept in a directory if one is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clmethods.cli.files import read_mapping
from clmethods.cli.messages import told
from clmethods.cli.tables import metrics_text
from clmethods.config import ReadoutConfig, RunConfig, readout_from_dict, run_from_dict

if TYPE_CHECKING:
    from clmethods.sequence import SequenceStep


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the run in this directory; a run that is there already goes on where it stopped.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def train(file: Path, output: Path | None, as_json: bool) -> None:
    """Train the run that FILE (YAML or JSON) describes, task after task, and evaluate it.

    FILE has the sections backbone, stream, method and train, and the field seed; what is left out
    takes its default. A file with the sections run and readout is read too: it names the readout
    that is to be evaluated beside the usual ones.
    """
    with told(f"{file} cannot be trained"):
        run, readouts = _read(file)
        from clmethods.archive import (
            ModelArchive,
            StoredMetrics,
            keep_statistics,
            metrics_by_split,
        )
        from clmethods.readout.statistics import ReadoutStatistics
        from clmethods.sequence import run_sequence

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
    click.echo(json.dumps(shown) if as_json else metrics_text(shown, run, "test"))


def usual_readouts(run: RunConfig) -> list[ReadoutConfig]:
    """The last snapshot, and task-ID inference where the method's snapshots allow it."""
    readouts = [ReadoutConfig()]
    if "instance" in run.method.ROUTINGS:
        readouts.append(ReadoutConfig(routing="instance"))
    return readouts


def _read(file: Path) -> tuple[RunConfig, list[ReadoutConfig]]:
    data = read_mapping(file)
    if "run" not in data:
        run = run_from_dict(data)
        return run, usual_readouts(run)
    run = run_from_dict(data["run"])
    chosen = readout_from_dict(data.get("readout") or {})
    return run, [*usual_readouts(run), *([chosen] if chosen not in usual_readouts(run) else [])]


def _progress(run: RunConfig, shown: bool) -> Callable[[SequenceStep], None]:
    def tell(step: SequenceStep) -> None:
        if shown:
            what = "was there" if step.reused else "trained"
            click.echo(f"task {step.stage.position + 1} of {run.stages}: {what}", err=True)

    return tell
