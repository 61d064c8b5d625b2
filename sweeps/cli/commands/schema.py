"""`sweeps schema`: the JSON Schema of a sweep file, and the columns of the tables."""

from __future__ import annotations

import json

import click


@click.command()
@click.option(
    "--tables", is_flag=True, help="Descriptions of all columns of the result tables, as Markdown."
)
def schema(tables: bool) -> None:
    """Print the JSON Schema of a sweep file, for editors."""
    if tables:
        from sweeps.analysis.trials.column_descriptions import describe_tables

        click.echo(describe_tables())
        return
    click.echo(schema_text())


def schema_text() -> str:
    """Return the JSON Schema of a sweep file."""
    from sweeps.definition.file.json_schema import sweep_schema

    return json.dumps(sweep_schema(), indent=1, ensure_ascii=False)
