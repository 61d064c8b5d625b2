"""`sweeps query`: SQL queries of the result tables."""

from __future__ import annotations

import sys

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.shared_options import escape_option


@click.command()
@click.argument("directory", metavar="DIR")
@click.argument("sql", metavar="SQL")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="`json` prints one object per line.",
)
@escape_option
@exit_on_user_error
def query(directory: str, sql: str, kind: str, escape: bool) -> None:
    """Query the result tables with SQL.

    The views are trials, stages, evals, matrices, summary and configurations. DIR can be a storage
    with several sweeps; the first column of every view is `sweep`. `configurations` has one row
    per configuration, readout and split, with the means of `sweeps pareto`; choose one readout and
    one split. `summary` has one row per trial, readout and split. Both have every metric and every
    searched field, quoted as in "method.rank". Queries cannot change the storage. Repeated names
    of columns are numbered. In JSON, NaN is null.

    \b
    sweeps query runs/demo "SELECT label, average_accuracy, forgetting FROM configurations
                            WHERE readout_id = 'last' AND split = 'test' ORDER BY 2 DESC"
    """
    from sweeps.api import load
    from sweeps.presentation.text_tables import render_table
    from sweeps.results.export import json_lines, numbered, write_csv
    from sweeps.results.query import QueryError

    found = load(directory)
    note_left_out(found.damaged)
    for warning in found.warnings:
        click.echo(warning, err=True)
    try:
        answer = found.query(sql)
    except QueryError as error:
        constraint = "one SQL statement that reads"
        raise InvalidConfigError([ConfigIssue("SQL", sql, constraint, str(error))]) from error
    answer = answer.rename_columns(numbered(answer.column_names))
    if kind == "csv":
        write_csv(answer, sys.stdout.buffer, escape=escape)
    elif kind == "json":
        for line in json_lines(answer):
            click.echo(line)
    else:
        click.echo(render_table(answer))
        click.echo(f"{answer.num_rows} row{'s' * (answer.num_rows != 1)}")
