"""Command `clmethods extend`: learn one more task on top of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clmethods.cli.errors import exit_on_user_error
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
from clmethods.standard_streams import output_that_may_end

if TYPE_CHECKING:
    from clmethods.extend import TaskDrop

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
@output_that_may_end()
def extend(model: Path, data: str, output: Path, weights: str | None) -> None:
    """Learn one more task on top of the finished run in the directory MODEL.

    The classes of the task receive the next free ids. The table compares test accuracies in
    percent with those of alternative approaches.
    """
    with exit_on_user_error(f"{model} cannot be extended"):
        from clmethods.archive import ModelArchive
        from clmethods.extend import extend_model

        archive = ModelArchive.open(model, weights)
        task = _task(data, archive.run.stream)
        extension = extend_model(archive, task, output, lambda text: click.echo(text, err=True))
    rows = [["", "new task, task given", "new task, all classes", "old tasks, all classes"]]
    rows += [
        [s.way, percent(s.new_given), percent(s.new), percent(s.old)]
        for s in extension.comparisons
    ]
    click.echo(columns(rows))
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
