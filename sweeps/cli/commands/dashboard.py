"""`sweeps dashboard`: display of a sweep as an Optuna study."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.cli.errors import exit_on_user_error, report_left_out
from sweeps.cli.locate import open_stored_sweep
from sweeps.errors import SweepsError

NOT_INSTALLED = (
    "the study is not shown, because optuna-dashboard is not installed: install it with "
    "`pip install optuna-dashboard`"
)


class DashboardMissingError(SweepsError):
    """Raised if the study cannot be shown because optuna-dashboard is not installed."""


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

    if serve and output is None and not _is_installed():
        raise DashboardMissingError(
            f"{NOT_INSTALLED}, or write the study with `sweeps dashboard {directory} -o FILE "
            "--no-serve` and open it with `optuna-dashboard FILE` on any machine"
        )
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


def _is_installed() -> bool:
    return find_spec("optuna_dashboard") is not None


def _serve(file: Path, output: Path | None, port: int) -> None:
    if not _is_installed():
        raise DashboardMissingError(
            f"{NOT_INSTALLED}, or open {output} with `optuna-dashboard {output}` on any machine"
        )
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna_dashboard import run_server

    click.echo(f"http://127.0.0.1:{port}  (Ctrl-C ends it)")
    run_server(JournalStorage(JournalFileBackend(str(file))), host="127.0.0.1", port=port)
