"""Command `clmethods history`: who trained what when, from which data and file."""

from __future__ import annotations

from pathlib import Path

import click

from clmethods.cli.errors import exit_on_user_error

DIGITS = 12
"""Digits of a checksum that are shown."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--weights", help="New path of the backbone's weights file, if it was moved.")
def history(model: Path, weights: str | None) -> None:
    """Show who trained which tasks of MODEL when, on which machine, from which data and file.

    The stage key is a checksum of everything that the weights depend on, images included.
    """
    with exit_on_user_error(f"the history of {model} cannot be read"):
        from clmethods.archive import ModelArchive
        from clmethods.archive.model_history import read_history

        archive = ModelArchive.open(model, weights)
        entries = read_history(archive)
        costs = archive.costs()
    for entry in entries:
        checksum = f", SHA-256 {entry.source_sha256[:DIGITS]}" if entry.source_sha256 else ""
        click.echo(f"{entry.when}  {entry.command}  {'; '.join(entry.tasks)}")
        click.echo(f"  by      {entry.user} on {entry.host}, version {entry.code_version}")
        click.echo(f"  from    {entry.source}{checksum}")
        click.echo(f"  stage   {entry.stage[:DIGITS]}")
        for reason in entry.gate:
            click.echo(f"  refused by the gate: {reason}")
    if not entries:
        click.echo("no history: the model was trained by an earlier version, or is not finished")
        for stage, cost in zip(archive.chain, costs, strict=True):
            when, host = cost.get("started_at", "unknown time"), cost.get("host", "unknown host")
            click.echo(f"  stage {stage.position + 1}, {stage.key[:DIGITS]}: {when} on {host}")
