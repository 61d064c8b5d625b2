"""`sweeps query`: SQL queries of the result tables."""

from __future__ import annotations

import sys

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.cli.errors import exit_on_user_error


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
@exit_on_user_error
def query(directory: str, sql: str, kind: str) -> None:
    """Query the result tables with SQL.

    The views are trials, stages, evals, matrices and summary. DIR can be a storage with several
    sweeps; the first column of every view is `sweep`. `summary` has one row per trial, readout and
    split, with every metric and every searched field, quoted as in "method.rank". Queries cannot
    change the storage.

    \b
    sweeps query runs/demo "SELECT label, avg(average_accuracy) AS accuracy
                            FROM summary WHERE split = 'test' GROUP BY 1 ORDER BY 2 DESC"
    """
    import json

    import pyarrow.csv as pa_csv

    from sweeps.api import load
    from sweeps.presentation.text_tables import render_table
    from sweeps.results.export import lists_as_json
    from sweeps.results.query import QueryError

    found = load(directory)
    for warning in found.warnings:
        click.echo(warning, err=True)
    try:
        answer = found.query(sql)
    except QueryError as error:
        constraint = "one SQL statement that reads"
        raise InvalidConfigError([ConfigIssue("SQL", sql, constraint, str(error))]) from error
    if kind == "csv":
        pa_csv.write_csv(lists_as_json(answer), sys.stdout.buffer)
    elif kind == "json":
        for row in answer.to_pylist():
            click.echo(json.dumps(row, default=str))
    else:
        click.echo(render_table(answer))
        click.echo(f"{answer.num_rows} row{'s' * (answer.num_rows != 1)}")
