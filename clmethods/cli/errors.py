"""Error messages and exit codes of the commands; users see no traceback for their mistakes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from clmethods.config import InvalidConfigError

USER_FAULT = 2
FAILED = 1


@contextmanager
def exit_on_user_error(subject: str, failed: int = FAILED) -> Iterator[None]:
    """Turn known errors into messages; `failed` is the exit code of errors in computation.

    Errors in the input or the environment end the command with code 2.
    """
    try:
        yield
    except InvalidConfigError as error:
        click.echo(f"error: {subject}", err=True)
        for issue in error.issues:
            click.echo(f"  {issue}", err=True)
        sys.exit(USER_FAULT)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package == "clmethods":
            raise
        click.echo(f"error: {subject}: the package {package!r} is not installed", err=True)
        click.echo(f"  pip install {package}", err=True)
        sys.exit(USER_FAULT)
    except RuntimeError as error:
        code = _exit_code(error, failed)
        if code is None:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(code)


def _exit_code(error: RuntimeError, failed: int) -> int | None:
    """Return the exit code of an error; None if its message is not intended for users."""
    from clmethods.archive import ArchiveError
    from clmethods.data.source import DatasetError
    from clmethods.export import ExportError
    from clmethods.nn.backbone import WeightsError
    from clmethods.training.stage import DivergedError

    if isinstance(error, ArchiveError | ExportError):
        return USER_FAULT
    return failed if isinstance(error, DatasetError | WeightsError | DivergedError) else None
