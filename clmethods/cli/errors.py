"""Error messages and exit codes of the commands; users see no traceback for their mistakes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from clmethods.cli.exit_codes import ExitCode
from clmethods.errors import ClmethodsError, InvalidConfigError, machine_error_text


@contextmanager
def exit_on_user_error(subject: str, failed: ExitCode = ExitCode.FAILED) -> Iterator[None]:
    """Turn errors of this package into messages.

    `failed`: exit code of errors in the computation. Errors in the input or the environment end
    the command with `INVALID_INPUT`.
    """
    try:
        yield
    except InvalidConfigError as error:
        click.echo(f"error: {subject}", err=True)
        for issue in error.issues:
            click.echo(f"  {issue}", err=True)
        sys.exit(ExitCode.INVALID_INPUT)
    except ClmethodsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(failed if _is_in_computation(error) else ExitCode.INVALID_INPUT)
    except (ImportError, OSError, MemoryError) as error:
        text = machine_error_text(error)
        if text is None:
            raise
        click.echo(f"error: {subject}: {text}", err=True)
        missing = isinstance(error, ModuleNotFoundError)
        sys.exit(ExitCode.INVALID_INPUT if missing else ExitCode.FAILED)


def _is_in_computation(error: ClmethodsError) -> bool:
    """Return True for an error that only the computation reveals."""
    from clmethods.data.source import DatasetError
    from clmethods.methods.base import DivergedError
    from clmethods.nn.weights import WeightsError

    return isinstance(error, DatasetError | WeightsError | DivergedError)
