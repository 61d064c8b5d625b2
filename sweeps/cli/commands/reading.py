"""`sweeps pareto`, `orders` and `export`: what a storage holds, at any time."""

from __future__ import annotations

from pathlib import Path

import click

from sweeps.analysis.runs.metric_choice import chosen_metric
from sweeps.cli.errors import exit_on_user_error
from sweeps.cli.locate import open_stored_sweep
from sweeps.cli.text.attained import attained_text
from sweeps.cli.text.front_table import front_text
from sweeps.cli.text.order_effect import orders_text
from sweeps.search.requested_results import read_results

split_option = click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Which held-out images; choose on validation, report on test.",
)


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--readout", metavar="ID", help="Such as `last`; default: the sweep's first.")
@click.option(
    "--iqm", is_flag=True, help="Interquartile means, which single bad runs do not move."
)
@click.option(
    "--attained",
    is_flag=True,
    help="Also what is reached in a share of the runs (two objectives).",
)
@exit_on_user_error
def pareto(directory: str, readout: str | None, iqm: bool, attained: bool) -> None:
    """The front over the sweep's objectives, means and 95 % intervals over replicates."""
    stored = open_stored_sweep(directory)
    results = read_results(stored.sweep, stored.objects)
    click.echo(front_text(stored.sweep, results, readout, iqm))
    if attained:
        click.echo("\n" + attained_text(stored.sweep, results, readout, "validation"))


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--readout", metavar="ID", help="Such as `last`; default: the sweep's first.")
@split_option
@click.option(
    "--metric", metavar="NAME", help="Such as `forgetting`; default: the first objective."
)
@exit_on_user_error
def orders(directory: str, readout: str | None, split: str, metric: str | None) -> None:
    """How much the task order matters: disparity, variance, rankings, position, carry-over."""
    stored = open_stored_sweep(directory)
    name = chosen_metric(stored.sweep, metric)
    results = read_results(stored.sweep, stored.objects)
    click.echo(orders_text(stored.sweep, results, readout, split, name))


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
@exit_on_user_error
def export(directory: str, target: Path, kind: str) -> None:
    """One file per result table and one of the summary, and the schema in words.

    The summary has a row per trial, readout and split, with every metric and searched field.
    """
    from sweeps.analysis.runs.column_descriptions import describe_tables
    from sweeps.api import summary_of
    from sweeps.results import TABLES, export_table, latest_trials, read_tables
    from sweeps.results.load import StoredTables

    stored = open_stored_sweep(directory)
    target.mkdir(parents=True, exist_ok=True)
    reads = read_tables(stored.objects, stored.sweep.name, list(TABLES))
    for warning in dict.fromkeys(w for read in reads.values() for w in read.warnings):
        click.echo(warning, err=True)
    tables = {name: read.table for name, read in reads.items()}
    latest = tables | {"trials": latest_trials(tables["trials"])}
    tables["summary"] = summary_of(StoredTables(stored.sweep.name, latest, ()))
    for name, table in tables.items():
        path = export_table(table, name, target, kind)  # type: ignore[arg-type]
        click.echo(f"{path}  {table.num_rows} rows")
    (target / "SCHEMA.md").write_text(describe_tables(), encoding="utf-8")
    click.echo(f"{target / 'SCHEMA.md'}  what the columns mean")
