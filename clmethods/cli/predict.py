"""Command `clmethods predict`: classes, probabilities and inferred tasks of image files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clmethods.cli.errors import exit_on_user_error
from clmethods.cli.exit_codes import ExitCode
from clmethods.cli.tables import percent
from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.errors import escaped
from clmethods.standard_streams import output_that_may_end

if TYPE_CHECKING:
    from clmethods.prediction import LoadedModel, Predictions


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the predictions; by default they are printed.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json"]),
    help="CSV: the --top classes of each image. JSON: the probabilities of all classes. By "
    "default JSON for an output that ends in .json, otherwise CSV.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of classes of each image in a CSV file, the most probable first.",
)
@click.option(
    "--readout",
    help="Readout with which the model was evaluated; by default the last one of them that "
    "classifies single images.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device of the computation; auto is a GPU if there is one.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Number of images that are decoded and classified at once.",
)
@click.option("--weights", help="New path of the backbone's weights file, if it was moved.")
@output_that_may_end()
def predict(
    model: Path,
    images: tuple[Path, ...],
    output: Path | None,
    kind: str | None,
    top: int,
    readout: str | None,
    device: str,
    batch_size: int,
    weights: str | None,
) -> None:
    """Predict the classes of IMAGES: image files, and folders with image files.

    MODEL is a model directory or an export. Images may have any size; orientation tags are
    applied. Files that cannot be read are listed on stderr, and all others are predicted; the exit
    code is then 1.
    """
    with exit_on_user_error(f"{model} cannot predict these images"):
        from clmethods.prediction import load_model
        from clmethods.prediction.image_inputs import listed_images

        files = listed_images(images)
        if not files:
            allowed = "image files, or folders that contain image files"
            given = ", ".join(str(path) for path in images)
            raise InvalidConfigError([ConfigIssue("IMAGES", given, allowed)])
        loaded = load_model(model, readout=readout, device=device, weights=weights)  # type: ignore[arg-type]
        for note in (_readout_note(loaded), *loaded.warnings):
            click.echo(note, err=True)
        predictions = loaded.predict(files, batch_size=batch_size, skip_unreadable=True)
        text = _text(predictions, kind or _kind_of(output), top)
        if output is not None:
            _write(output, text)
    if output is None:
        click.echo(text, nl=False)
    for each in predictions.unreadable:
        click.echo(f"cannot be read: {escaped(str(each))}", err=True)
    where = f", written to {output}" if output is not None else ""
    click.echo(f"{len(predictions)} of {len(files)} images predicted{where}", err=True)
    sys.exit(ExitCode.FAILED if predictions.unreadable else ExitCode.OK)


def _readout_note(model: LoadedModel) -> str:
    """Return the readout that predicts, and the other ones, with their stored accuracies."""
    names = [model.readout, *(name for name in model.test_accuracies if name != model.readout)]
    shown = [f"{name} (average test accuracy {_accuracy(model, name)})" for name in names]
    others = f"; other readouts: {', '.join(shown[1:])}" if shown[1:] else ""
    return f"readout {shown[0]}{others}"


def _accuracy(model: LoadedModel, name: str) -> str:
    value = model.test_accuracies[name]
    return "not stored" if value is None else f"{percent(value)} %"


def _kind_of(output: Path | None) -> str:
    return "json" if output is not None and output.suffix.lower() == ".json" else "csv"


def _text(predictions: Predictions, kind: str, top: int) -> str:
    text = predictions.to_csv(top) if kind == "csv" else json.dumps(predictions.document()) + "\n"
    # bytes of file names that are not UTF-8 are escaped
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _write(path: Path, text: str) -> None:
    from clmethods.archive import write

    try:
        write(path, text.encode())
    except OSError as error:
        issue = ConfigIssue(
            "--output", str(path), "a file that can be written", f"{error.strerror}."
        )
        raise InvalidConfigError([issue]) from error
