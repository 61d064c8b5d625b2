"""`sweeps init` and `sweeps schema`: a sweep file to begin with, and its schema for editors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from clmethods.errors import nearest, refuse, require
from sweeps.cli.errors import exit_on_user_error
from sweeps.cli.locate import new_sweep_file_faults

SCHEMA_FILE = "sweep.schema.json"
"""Written beside a new sweep file, so that an editor finds it without a network."""


@click.command()
@click.option(
    "--tables", is_flag=True, help="What every column of the result tables means, as Markdown."
)
def schema(tables: bool) -> None:
    """Print the JSON Schema of a sweep file, for editors."""
    if tables:
        from sweeps.analysis.runs.column_descriptions import describe_tables

        click.echo(describe_tables())
        return
    click.echo(_schema_text())


@click.command()
@click.argument("study", metavar="STUDY")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The new sweep file; its name becomes the name of the sweep.",
)
@exit_on_user_error
def init(study: str, output: Path) -> None:
    """Write a sweep file to begin with: a copy of a shipped study, with its comments.

    The schema for editors is written beside it.
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
        f"# Begun from the shipped study {study}; what follows is its text.\n"
    )
    output.with_name(SCHEMA_FILE).write_text(_schema_text() + "\n", encoding="utf-8")
    output.write_text(head + named, encoding="utf-8")
    click.echo(f"{output}  a sweep named {name}, begun from {study}")
    click.echo(f"{output.with_name(SCHEMA_FILE)}  its schema, for editors")
    click.echo(f"next       sweeps plan {output}")


def _schema_text() -> str:
    from sweeps.definition.file.json_schema import sweep_schema

    return json.dumps(sweep_schema(), indent=1, ensure_ascii=False)
