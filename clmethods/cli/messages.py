"""How a failure is told: one message and an exit code, never a traceback for a user's mistake."""

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
    """Turn known errors into messages; `failed` is the exit code of what is no user's fault."""
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
    """None for an error that nobody meant to be read by a user."""
    from clmethods.archive import ArchiveError
    from clmethods.data.source import DatasetError
    from clmethods.export import ExportError
    from clmethods.nn.backbone import WeightsError
    from clmethods.training.stage import DivergedError

    if isinstance(error, ArchiveError | ExportError):
        return USER_FAULT
    return failed if isinstance(error, DatasetError | WeightsError | DivergedError) else None
