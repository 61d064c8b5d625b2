"""`sweeps dashboard`: display of a sweep as an Optuna study."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.cli.errors import exit_on_user_error, report_left_out
from sweeps.cli.locate import open_stored_sweep


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the study. Default: a temporary file.",
)
@click.option(
    "--serve/--no-serve",
    default=True,
    help="Open the study in optuna-dashboard, or only write it.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@exit_on_user_error
def dashboard(directory: str, output: Path | None, serve: bool, port: int) -> None:
    """Show a sweep as an Optuna study in optuna-dashboard.

    The study is rebuilt from the results, also of an unfinished sweep. It is a copy: the sweep
    never reads it.
    """
    from sweeps.search.optuna_study import write_study

    if output is None and not serve:
        raise InvalidConfigError([ConfigIssue("--output", None, "a file, with --no-serve")])
    stored = open_stored_sweep(directory)
    with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
        file = output or Path(scratch, f"{stored.sweep.name}.log")
        try:
            count, left_out = write_study(stored.sweep, stored.objects, file)
        except OSError as error:
            constraint = "a file in a directory that can be written to"
            raise InvalidConfigError(
                [ConfigIssue("--output", str(file), constraint, str(error))]
            ) from error
        report_left_out(left_out)
        if output is not None:
            click.echo(f"{count} trials of the study {stored.sweep.name} are in {output}")
        if serve:
            _serve(file, output, port)


def _serve(file: Path, output: Path | None, port: int) -> None:
    try:
        from optuna_dashboard import run_server
    except ImportError:
        shown = output or "FILE"
        click.echo("optuna-dashboard is not installed: pip install optuna-dashboard")
        if output is None:
            click.echo("  sweeps dashboard DIR -o FILE --no-serve   writes the study")
        click.echo(f"  optuna-dashboard {shown}   opens it, here or on any machine")
        return
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    click.echo(f"http://127.0.0.1:{port}  (Ctrl-C ends it)")
    run_server(JournalStorage(JournalFileBackend(str(file))), host="127.0.0.1", port=port)
