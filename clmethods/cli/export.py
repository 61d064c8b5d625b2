"""Command `clmethods export`: write a finished run as files for timm, PEFT or a predictor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clmethods.cli.errors import exit_on_user_error

if TYPE_CHECKING:
    from clmethods.config import ReadoutConfig


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="New or empty directory.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["timm", "peft", "both"]),
    default="both",
    show_default=True,
    help="Merged weights for timm, a LoRA adapter for PEFT, or both.",
)
@click.option(
    "--readout",
    default="last",
    show_default=True,
    help="Readout with which the model was evaluated. A readout such as instance-cosine exports "
    "one adapter per task and a router that selects among them.",
)
@click.option(
    "--max-rank",
    type=click.IntRange(min=1),
    help="Truncate adapters to this rank; the approximation error is reported.",
)
@click.option(
    "--chain/--no-chain",
    default=True,
    show_default=True,
    help="Include the model directory, so that `clmethods extend` can continue from the export.",
)
@click.option("--weights", help="New path of the backbone's weights file, if it was moved.")
@click.option("--weights-licence", help="License of the backbone's weights, for the model card.")
def export(
    model: Path,
    output: Path,
    kind: str,
    readout: str,
    max_rank: int | None,
    chain: bool,
    weights: str | None,
    weights_licence: str | None,
) -> None:
    """Export the finished run in the directory MODEL.

    The exported files are loaded with the target libraries and compared with the model; if they
    differ, the export is deleted.
    """
    with exit_on_user_error(f"{model} cannot be exported"):
        from clmethods.archive import ModelArchive
        from clmethods.export import ExportError, ExportOptions, export_model

        archive = ModelArchive.open(model, weights)
        chosen = _readout(archive.metrics().readouts, readout)
        if chosen.routing != "last" and kind == "timm":
            raise ExportError(
                f"the readout {readout} consists of several networks and a router, which timm "
                "does not support: omit --format."
            )
        formats = ("timm", "peft") if kind == "both" else (kind,)
        options = ExportOptions(
            formats=formats,  # type: ignore[arg-type]
            readout=chosen,
            max_rank=max_rank,
            chain=chain,
            weights_licence=weights_licence,
        )
        click.echo("writing the files, and comparing them with the model", err=True)
        document = export_model(archive, output, options)
    for name, check in document["checks"].items():
        if name != "images":
            click.echo(_line(name, check, document["checks"]["images"]))
    click.echo(f"written to {output}; {output / 'README.md'} describes how to load it")


def _readout(known: list[ReadoutConfig], name: str) -> ReadoutConfig:
    from clmethods.config import ConfigIssue, InvalidConfigError

    for readout in known:
        if readout.readout_id == name:
            return readout
    choices = [readout.readout_id for readout in known]
    raise InvalidConfigError([ConfigIssue("--readout", name, f"one of {choices}")])


def _line(name: str, check: dict[str, object], images: str) -> str:
    if "logit_difference" not in check:
        text = f"{name}: {check['equal']} of {check['images']} predictions equal the model's"
        if "pixel_difference" in check:
            text += f"; mean pixel difference {check['pixel_difference']:g} of 255"
        return text
    text = f"{name}: logits differ by at most {check['logit_difference']:.2g} on {images}"
    if isinstance(check.get("ranks"), dict):
        ranks = check["ranks"].values()  # type: ignore[attr-defined]
        text += f"; ranks {min(ranks)} to {max(ranks)}"
    if check.get("update_error"):
        worst = max(check["update_error"].values())  # type: ignore[attr-defined]
        text += f"; truncated: up to {100 * worst:.2g} % of a layer's update is missing"
    return text
