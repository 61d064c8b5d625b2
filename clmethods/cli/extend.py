"""Command `clmethods extend`: learn one more task on top of a finished run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clmethods.cli.epoch_progress import EpochProgress
from clmethods.cli.errors import exit_on_user_error
from clmethods.cli.exit_codes import ExitCode
from clmethods.cli.input_files import read_mapping
from clmethods.cli.tables import columns, percent
from clmethods.config import (
    ConfigIssue,
    InvalidConfigError,
    NewTask,
    StreamConfig,
    new_task_from_dict,
)
from clmethods.config.task_contents import task_title
from clmethods.errors import refuse, require
from clmethods.percentages import parse_fraction
from clmethods.standard_streams import output_that_may_end

if TYPE_CHECKING:
    from clmethods.archive import ModelArchive
    from clmethods.extend import Comparison, TaskDrop

INHERITED = ("split_seed", "validation_fraction", "limit")
"""Stream fields that the new task inherits from the old stream if they are not set."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--task",
    "data",
    required=True,
    metavar="DATA",
    help="NAME or NAME:IDS, a dataset and its class ids (glyph100:0-4,7); a YAML file with the "
    "fields of a stream and `classes`; a folder of images; or a manifest (.csv, .parquet).",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="New or empty directory for the extended model.",
)
@click.option("--weights", help="New path of the backbone's weights file, if it was moved.")
@click.option(
    "--max-old-drop",
    metavar="FRACTION",
    help="Gate: largest allowed decrease of the test accuracy of an old task, as 0.02 or 2%.",
)
@click.option(
    "--min-new",
    metavar="FRACTION",
    help="Gate: smallest allowed test accuracy on the new task, among all classes.",
)
@click.option(
    "--readout",
    metavar="ID",
    default="last",
    show_default=True,
    help="Readout whose accuracies the gate uses, such as instance-cosine.",
)
@output_that_may_end()
def extend(
    model: Path,
    data: str,
    output: Path,
    weights: str | None,
    max_old_drop: str | None,
    min_new: str | None,
    readout: str,
) -> None:
    """Learn one more task on top of the finished run in the directory MODEL.

    The classes of the task receive the next free ids. The table compares test accuracies in
    percent with those of alternative approaches. If the extended model violates the gate, the
    exit code is 5; it stays in the output directory for inspection, and MODEL is unchanged.
    """
    with exit_on_user_error(f"{model} cannot be extended"):
        old_drop = _fraction("--max-old-drop", max_old_drop)
        least_new = _fraction("--min-new", min_new)
        from clmethods.archive import ModelArchive
        from clmethods.archive.model_history import HistoryEntry, add_entry, copy_history
        from clmethods.extend import ExtensionGate, extend_model

        gate = ExtensionGate(max_old_drop=old_drop, min_new=least_new, readout=readout)
        archive = ModelArchive.open(model, weights)
        _check_readout(archive, readout, old_drop is not None or least_new is not None)
        task = _task(data, archive.run.stream)
        click.echo(f"learning the new task on top of {model}", err=True)
        extension = extend_model(
            archive,
            task,
            output,
            lambda text: click.echo(text, err=True),
            EpochProgress(archive.run.train.epochs).show,
        )
        failures = gate.failures(extension)
        copy_history(archive, extension.archive)
        add_entry(
            extension.archive,
            HistoryEntry.now("extend", extension.archive, str(data), Path(data), failures),
        )
    rows = [["", "new task, task given", "new task, all classes", "old tasks, all classes"]]
    rows += [
        [s.way, percent(s.new_given), percent(s.new), percent(s.old)]
        for s in extension.comparisons
    ]
    click.echo(columns(rows))
    advice = _advice(extension.comparisons)
    if advice:
        click.echo(advice)
    if extension.old_data_error is not None:
        click.echo(f"The old tasks could not be evaluated: {extension.old_data_error}")
    for line in _warnings(extension.drops):
        click.echo(line, err=True)
    stream = extension.archive.run.stream
    group = stream.groups()[-1]
    new = group.classes
    ids = f"class {new[0]}" if len(new) == 1 else f"classes {new[0]} to {new[-1]}"
    click.echo(
        f"written to {output}; {task_title(group)} has the new {ids}, classes "
        f"{list(task.classes)} of {task.stream.dataset}: {', '.join(stream.names_of(new))}"
    )
    if failures:
        click.echo(f"the gate refuses the model in {output}; use {model}, unchanged:", err=True)
        for failure in failures:
            click.echo(f"  {failure}", err=True)
        sys.exit(ExitCode.GATE_FAILED)


def _advice(comparisons: Sequence[Comparison]) -> str:
    """Return which of training and class means is more accurate; empty if it is not known."""
    trained, means = comparisons[1], comparisons[2]
    if trained.new is None or means.new is None or trained.old is None or means.old is None:
        return ""
    new, old = 100 * (trained.new - means.new), 100 * (trained.old - means.old)
    both = f"{new:+.1f} points on the new task and {old:+.1f} on the old tasks"
    if new <= 0 and old <= 0:
        verdict = "class means suffice here, and are cheaper"
    elif new >= 0 and old >= 0:
        verdict = "training is at least as accurate on both"
    else:
        verdict = "choose by what matters more to you"
    return f"Against class means, {trained.way} has {both}: {verdict} (one run, no interval)."


def _fraction(option: str, text: str | None) -> float | None:
    return None if text is None else parse_fraction(option, text)


def _check_readout(archive: ModelArchive, readout: str, used: bool) -> None:
    """Raise `InvalidConfigError` before the training if the gate cannot be applied."""
    names = [each.readout_id for each in archive.metrics().readouts]
    refuse([require(not used or readout in names, "--readout", readout, f"one of {names}")])


def _warnings(drops: Sequence[TaskDrop]) -> list[str]:
    """Return a warning per readout, with the old tasks that lost accuracy."""
    lines: list[str] = []
    for readout in dict.fromkeys(drop.readout for drop in drops):
        shown = [
            f"{drop.task} from {percent(drop.before)} to {percent(drop.after)} %"
            for drop in drops
            if drop.readout == readout
        ]
        lines.append(
            f"warning: with the readout {readout}, the test accuracy of old tasks fell: "
            f"{', '.join(shown)}. The old model is unchanged; class means or task-ID inference "
            "may forget less, see the table."
        )
    return lines


def _task(data: str, old: StreamConfig) -> NewTask:
    given = _mapping(data)
    inherited = {name: getattr(old, name) for name in INHERITED}
    try:
        return new_task_from_dict(inherited | given)
    except InvalidConfigError as error:
        raise InvalidConfigError(issue.under("--task") for issue in error.issues) from error


def _mapping(data: str) -> dict[str, object]:
    path = Path(data)
    if path.is_dir():
        return {"dataset": "image-folder", "root": data}
    if path.suffix in {".csv", ".parquet"}:
        return {"dataset": "manifest", "manifest": data}
    if path.is_file() or path.suffix in {".yaml", ".yml", ".json"}:
        return read_mapping(path, "--task")
    name, _, ids = data.partition(":")
    return {"dataset": name} | ({"classes": _ids(ids)} if ids else {})


def _ids(text: str) -> list[int]:
    """Parse `0-4,7` to 0, 1, 2, 3, 4, 7."""
    ids: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            allowed = "ids and ranges of ids, such as 0-4,7"
            raise InvalidConfigError([ConfigIssue("--task classes", text, allowed)])
        ids.update(range(int(first), int(last or first) + 1))
    return sorted(ids)
