"""`sweeps pareto`: the Pareto front of a sweep, finished or not."""

from __future__ import annotations

from dataclasses import replace

import click

from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep
from sweeps.cli.shared_options import json_option, print_document
from sweeps.cli.text.attained import attained_block
from sweeps.cli.text.front_table import front_document
from sweeps.search.requested_results import read_results


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--readout", metavar="ID", help="Such as `last`. Default: the first of the sweep.")
@click.option(
    "--iqm", is_flag=True, help="Interquartile means, which are robust to single outlying runs."
)
@click.option(
    "--attained",
    is_flag=True,
    help="Also show which values are reached in a given share of the runs (two objectives).",
)
@json_option
@exit_on_user_error
def pareto(directory: str, readout: str | None, iqm: bool, attained: bool, as_json: bool) -> None:
    """Show the Pareto front, with 95 % intervals over replicates."""
    stored = open_stored_sweep(directory)
    results = read_results(stored.sweep, stored.objects)
    note_left_out(results.left_out)
    document = front_document(stored.sweep, results, readout, iqm)
    if attained:
        block = attained_block(stored.sweep, results, readout, "validation")
        document = replace(document, blocks=[*document.blocks, block])
    print_document(document, as_json)
