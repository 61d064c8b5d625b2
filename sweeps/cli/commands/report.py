"""`sweeps report`: HTML report of a sweep in one file, and its figures for papers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from clmethods.errors import InvalidConfigError
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import StoredSweep, open_stored_sweep
from sweeps.storage import require_storage


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--readout", metavar="ID", help="Such as `last`. Default: the first of the sweep.")
@click.option(
    "-o",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the report. Default: report.html beside the results of the sweep.",
)
@click.option(
    "--figures",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Also write the figures as PDF, SVG and PNG, in sizes for papers.",
)
@exit_on_user_error
def report(directory: str, readout: str | None, output: Path | None, figures: Path | None) -> None:
    """Write an HTML report: one file that needs no network.

    The report of an unfinished sweep lists what is missing.
    """
    from sweeps.report import read_report_inputs, render, report_key
    from sweeps.results.export import write_complete

    stored = _opened(directory, write=output is None)
    inputs = read_report_inputs(stored.sweep, stored.objects, readout)
    note_left_out(inputs.left_out)
    for warning in inputs.warnings:
        click.echo(warning, err=True)
    page = render(inputs).encode()
    if output is None:
        key = report_key(stored.sweep.name)
        stored.objects.put(key, page)
        where = f"{stored.objects.location.rstrip('/')}/{key}"
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_complete(output, lambda place: place.write_bytes(page))
        where = str(output)
    click.echo(f"{where}  {len(page) / 1e6:.1f} MB, {inputs.finished} finished runs")
    if figures is not None:
        from sweeps.report.paper_figures import write_figures

        for path in write_figures(inputs, figures):
            click.echo(path)


def _opened(directory: str, *, write: bool) -> StoredSweep:
    """Open the sweep; for a storage that cannot be written, the error also suggests `-o`."""
    stored = open_stored_sweep(directory)
    try:
        if write:
            require_storage(stored.objects)
    except InvalidConfigError as error:
        hint = "`-o FILE` writes the report elsewhere."
        raise InvalidConfigError(
            replace(issue, hint=f"{issue.hint} {hint}") for issue in error.issues
        ) from error
    return stored
