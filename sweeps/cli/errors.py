"""A user's mistake is one message and exit code 2, never a traceback."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

import click

from clmethods.config import InvalidConfigError

P = ParamSpec("P")
R = TypeVar("R")

FAILED = 1
USER_FAULT = 2
BUDGET_USED = 3
INTERRUPTED = 130


def exit_on_user_error(command: Callable[P, R]) -> Callable[P, R]:
    """Print the issues of bad input, or why the storage cannot be used, and end.

    Everything else is seen as what it is.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except InvalidConfigError as error:
            count = len(error.issues)
            click.echo(f"error: {count} issue{'s' * (count > 1)}, nothing was started", err=True)
            for issue in error.issues:
                click.echo(f"  {issue}", err=True)
            sys.exit(USER_FAULT)
        except Exception as error:
            from sweeps.storage import FULL, is_full, storage_error_in

            cause = storage_error_in(error)
            if is_full(error):
                click.echo(f"stopped: {FULL}", err=True)
            elif cause is not None:
                click.echo(f"stopped: {cause}; the same command continues", err=True)
            else:
                raise
            _leave(FAILED)
        except KeyboardInterrupt:
            click.echo("\nstopped; the same command continues where it was", err=True)
            _leave(INTERRUPTED)

    return wrapped


def _leave(code: int) -> NoReturn:
    """End at once where Ray was running: nothing is left to be written.

    The exception has cut through Ray's own threads wherever they were; taking the interpreter
    down in order then ends in a segmentation fault now and then.
    """
    if "ray" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
