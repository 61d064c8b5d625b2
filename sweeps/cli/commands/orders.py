"""`sweeps orders`: effects of the task order."""

from __future__ import annotations

import click

from sweeps.analysis.trials.metric_choice import chosen_metric
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep
from sweeps.cli.shared_options import json_option, print_document, split_option
from sweeps.cli.text.order_effect import orders_document
from sweeps.search.requested_results import read_results


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--readout", metavar="ID", help="Such as `last`. Default: the first of the sweep.")
@split_option
@click.option(
    "--metric", metavar="NAME", help="Such as `forgetting`. Default: the first objective."
)
@json_option
@exit_on_user_error
def orders(
    directory: str, readout: str | None, split: str, metric: str | None, as_json: bool
) -> None:
    """Show how much the task order matters.

    Disparity, variance shares, rankings, position effects, and effects of the preceding task.
    """
    stored = open_stored_sweep(directory)
    name = chosen_metric(stored.sweep, metric)
    results = read_results(stored.sweep, stored.objects)
    note_left_out(results.left_out)
    document = orders_document(stored.sweep, results, readout, split, name)
    print_document(document, as_json)
