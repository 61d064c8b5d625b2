"""`sweeps export`: export of the result tables as single files for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep, refuse_inside_storage
from sweeps.cli.shared_options import escape_option


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("export"),
    show_default=True,
    help="Directory for one file per table.",
)
@click.option(
    "--format", "kind", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True
)
@escape_option
@exit_on_user_error
def export(directory: str, target: Path, kind: Literal["parquet", "csv"], escape: bool) -> None:
    """Write the result tables as single Parquet or CSV files.

    One file per table, one for the summary, and a description of all columns.
    The summary has a row per trial, readout and split, with every metric and searched field.
    """
    from sweeps.analysis.trials.column_descriptions import describe_tables
    from sweeps.api import summaries_of
    from sweeps.results import TABLES, export_table, latest_trials, read_tables
    from sweeps.results.export import write_complete
    from sweeps.results.load import StoredTables

    refuse_inside_storage(directory, "--to", target)
    stored = open_stored_sweep(directory)
    target.mkdir(parents=True, exist_ok=True)
    reads = read_tables(stored.objects, stored.sweep.name, list(TABLES))
    note_left_out(key for read in reads.values() for key in read.damaged)
    for warning in dict.fromkeys(w for read in reads.values() for w in read.warnings):
        click.echo(warning, err=True)
    tables = {name: read.table for name, read in reads.items()}
    latest = tables | {"trials": latest_trials(tables["trials"])}
    (tables["summary"],) = summaries_of([StoredTables(stored.sweep.name, latest, ())])
    for name, table in tables.items():
        path = export_table(table, name, target, kind, escape=escape)
        click.echo(f"{path}  {table.num_rows} rows")
    text = describe_tables().encode()
    write_complete(target / "SCHEMA.md", lambda place: place.write_bytes(text))
    click.echo(f"{target / 'SCHEMA.md'}  descriptions of the columns")
