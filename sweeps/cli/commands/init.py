"""`sweeps init`: a new sweep file, copied from a shipped study."""

from __future__ import annotations

import re
from pathlib import Path

import click

from clmethods.errors import nearest, refuse, require
from sweeps.cli.commands.schema import schema_text
from sweeps.cli.errors import exit_on_user_error
from sweeps.cli.locate import new_sweep_file_faults
from sweeps.cli.shared_options import new_sweep_file_option

SCHEMA_FILE = "sweep.schema.json"
"""File written next to a new sweep file, so that an editor finds it without a network."""


@click.command()
@click.argument("study", metavar="STUDY")
@new_sweep_file_option
@exit_on_user_error
def init(study: str, output: Path) -> None:
    """Write a new sweep file: a copy of a shipped study.

    The JSON Schema for editors is written beside it.
    """
    from sweeps.definition import shipped_studies

    studies = shipped_studies()
    refuse(
        [
            require(
                study in studies,
                "STUDY",
                study,
                f"one of the shipped studies {sorted(studies)}",
                nearest(study, list(studies)),
            ),
            *new_sweep_file_faults(output),
        ]
    )
    text = studies[study].read_text(encoding="utf-8")
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", output.stem).strip("-_") or "sweep"
    named = re.sub(r"^name:.*$", f"name: {name}", text, count=1, flags=re.MULTILINE)
    head = (
        f"# yaml-language-server: $schema=./{SCHEMA_FILE}\n"
        f"# Copied from the shipped study {study}.\n"
    )
    output.with_name(SCHEMA_FILE).write_text(schema_text() + "\n", encoding="utf-8")
    output.write_text(head + named, encoding="utf-8")
    click.echo(f"{output}  a sweep named {name}, copied from {study}")
    click.echo(f"{output.with_name(SCHEMA_FILE)}  its schema for editors")
    click.echo(f"next       sweeps plan {output}")
