"""`sweeps effects`: effects of each axis on each objective."""

from __future__ import annotations

import click

from clmethods.errors import refuse, require
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep
from sweeps.cli.shared_options import json_option, print_document, split_option


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--metric", metavar="NAME", multiple=True, help="Default: every objective.")
@click.option("--readout", metavar="ID", help="Such as `last`. Default: the first of the sweep.")
@click.option(
    "--baseline",
    metavar="PATH=VALUE",
    multiple=True,
    help="Value to compare the others of an axis with. Default: the lowest number or first value.",
)
@split_option
@json_option
@exit_on_user_error
def effects(
    directory: str,
    metric: tuple[str, ...],
    readout: str | None,
    baseline: tuple[str, ...],
    split: str,
    as_json: bool,
) -> None:
    """Show the effects, interactions and importance of all axes."""
    from sweeps.cli.text.effect_tables import effects_document
    from sweeps.search.requested_results import read_results

    stored = open_stored_sweep(directory)
    results = read_results(stored.sweep, stored.objects)
    note_left_out(results.left_out)
    if not as_json:
        for warning in results.warnings:
            click.echo(warning, err=True)
    values = dict(_pair(text) for text in baseline)
    document = effects_document(stored.sweep, results, metric, readout, values, split)
    print_document(document, as_json)


def _pair(text: str) -> tuple[str, str]:
    path, _, value = text.partition("=")
    refuse([require(bool(path and value), "--baseline", text, "PATH=VALUE, as method.rank=4")])
    return path, value
