"""`clmethods export`: a finished run as files for timm, PEFT, or a small predictor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clmethods.cli.messages import exit_on_user_error

if TYPE_CHECKING:
    from clmethods.config import ReadoutConfig


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="A new or an empty directory.",
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
    help="A readout that the model was evaluated with, such as instance-cosine: then an adapter "
    "per task, and a router that chooses between them.",
)
@click.option(
    "--max-rank",
    type=click.IntRange(min=1),
    help="Cut adapters to this rank; what is lost is reported.",
)
@click.option(
    "--chain/--no-chain",
    default=True,
    show_default=True,
    help="Carry the model directory along, so that `clmethods extend` can go on from the export.",
)
@click.option("--weights", help="Where the backbone's file lies now, if it was moved.")
@click.option("--weights-licence", help="Licence of the backbone's weights, for the model card.")
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

    What is written is compared with the model by the libraries that it is for; an export that
    differs is not kept.
    """
    with exit_on_user_error(f"{model} cannot be exported"):
        from clmethods.archive import ModelArchive
        from clmethods.export import ExportError, ExportOptions, export_model

        archive = ModelArchive.open(model, weights)
        chosen = _readout(archive.metrics().readouts, readout)
        if chosen.routing != "last" and kind == "timm":
            raise ExportError(
                f"the readout {readout} is several networks and a router, which timm has no "
                "place for: leave --format out."
            )
        formats = ("timm", "peft") if kind == "both" else (kind,)
        options = ExportOptions(
            formats=formats,  # type: ignore[arg-type]
            readout=chosen,
            max_rank=max_rank,
            chain=chain,
            weights_licence=weights_licence,
        )
        document = export_model(archive, output, options)
    for name, found in document["checks"].items():
        if name != "images":
            click.echo(_line(name, found, document["checks"]["images"]))
    click.echo(f"written to {output}; {output / 'README.md'} says how to load it")


def _readout(known: list[ReadoutConfig], name: str) -> ReadoutConfig:
    from clmethods.config import ConfigIssue, InvalidConfigError

    for readout in known:
        if readout.readout_id == name:
            return readout
    choices = [readout.readout_id for readout in known]
    raise InvalidConfigError([ConfigIssue("--readout", name, f"one of {choices}")])


def _line(name: str, found: dict[str, object], images: str) -> str:
    if "logit_difference" not in found:
        return f"{name}: {found['equal']} of {found['images']} predictions are the model's"
    text = f"{name}: logits differ by at most {found['logit_difference']:.2g} on {images}"
    if isinstance(found.get("ranks"), dict):
        ranks = found["ranks"].values()  # type: ignore[attr-defined]
        text += f"; ranks {min(ranks)} to {max(ranks)}"
    if found.get("update_error"):
        worst = max(found["update_error"].values())  # type: ignore[attr-defined]
        text += f"; cut: up to {100 * worst:.2g} % of a layer's update is lost"
    return text
