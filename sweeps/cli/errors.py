"""Error output of the commands: a user error is one message with exit code 2, not a traceback."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn, ParamSpec, TypeVar

import click

from clmethods.errors import ClmethodsError, InvalidConfigError, machine_error_text
from sweeps.cli.text.layout import fitted
from sweeps.execution.exit_codes import (
    INTERRUPTED_TEXT,
    REFUSED_TEXT,
    STOPPED_TEXT,
    ExitCode,
    exit_code_line,
)

P = ParamSpec("P")
R = TypeVar("R")

Last = Callable[[int, str], None]
"""Prints the last line, given the exit code and its meaning."""


_LEFT_OUT = f"{__name__}.left_out"


def note_left_out(keys: Iterable[str]) -> None:
    """Record files of results that a command has left out: it ends with `FILES_LEFT_OUT`.

    The command goes on with the other files. It must have named the files to the user.
    """
    click.get_current_context().meta.setdefault(_LEFT_OUT, set()).update(keys)


def report_left_out(left_out: Mapping[str, str]) -> None:
    """Print one sentence for each damaged file, by its key, and record that it is left out."""
    for sentence in left_out.values():
        click.echo(sentence, err=True)
    note_left_out(left_out)


def exit_on_user_error(command: Callable[P, R]) -> Callable[P, R]:
    """Print the issues of invalid input, or the message of another `ClmethodsError`, and exit.

    Exceptions that neither package defines are not caught, unless a storage or the machine caused
    them (`machine_error_text`).
    """
    return _guarded(command, lambda code, meaning: None, catch_all=False)


def exit_with_code_line(command: Callable[P, R]) -> Callable[P, R]:
    """Do the same, and print the exit code in the last line, also after a traceback."""
    return _guarded(command, _print_code, catch_all=True)


class CodeLineCommand(click.Command):
    """Command that prints the exit code in the last line after invalid options, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; an invalid one ends with Click's message and the exit code."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.show()
            _print_code(error.exit_code, REFUSED_TEXT)
            ctx.exit(error.exit_code)


def _print_code(code: int, meaning: str) -> None:
    for line in fitted(exit_code_line(code, meaning)):
        click.echo(line, err=True)


def _guarded(command: Callable[P, R], last: Last, *, catch_all: bool) -> Callable[P, R]:
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = command(*args, **kwargs)
        except InvalidConfigError as error:
            count = len(error.issues)
            click.echo(f"error: {count} issue{'s' * (count > 1)}, nothing was started", err=True)
            for issue in error.issues:
                click.echo(f"  {issue}", err=True)
            last(ExitCode.INVALID_INPUT, REFUSED_TEXT)
            sys.exit(ExitCode.INVALID_INPUT)
        except Exception as error:
            from sweeps.storage import FULL, is_full, storage_error_in

            cause = storage_error_in(error)
            if is_full(error):
                click.echo(f"stopped: {FULL}", err=True)
            elif cause is not None:
                click.echo(f"stopped: {cause}; the same command continues", err=True)
            elif isinstance(error, ClmethodsError):
                click.echo(f"error: {error}", err=True)
                last(ExitCode.FAILED, f"stopped by a {type(error).__name__}")
                _leave(ExitCode.FAILED)
            elif (text := machine_error_text(error)) is not None:
                click.echo(f"stopped: {text}; what is stored stays", err=True)
            elif catch_all:
                traceback.print_exc()
                last(ExitCode.FAILED, f"an unexpected {type(error).__name__}")
                _leave(ExitCode.FAILED)
            else:
                raise
            last(ExitCode.FAILED, STOPPED_TEXT)
            _leave(ExitCode.FAILED)
        except KeyboardInterrupt:
            click.echo("\nstopped; the same command continues where it was", err=True)
            last(ExitCode.INTERRUPTED, INTERRUPTED_TEXT)
            _leave(ExitCode.INTERRUPTED)
        context = click.get_current_context(silent=True)
        left_out = context.meta.get(_LEFT_OUT) if context is not None else None
        if left_out:
            text = f"{len(left_out)} file{'s' * (len(left_out) > 1)} left out, see above"
            _print_code(ExitCode.FILES_LEFT_OUT, text)
            sys.exit(ExitCode.FILES_LEFT_OUT)  # nothing was interrupted: an orderly end
        return result

    return wrapped


def _leave(code: ExitCode) -> NoReturn:
    """Exit at once after an interruption, and if Ray was running, because all output is written.

    If a KeyboardInterrupt is raised inside `exec` (dataclasses use it while modules are imported),
    `python -m` ends by SIGINT instead of the exit code, even if the exception was caught. With
    Ray, the exception has interrupted Ray's own threads at arbitrary points. A normal shutdown of
    the interpreter then sometimes ends in a segmentation fault.
    """
    if code == ExitCode.INTERRUPTED or "ray" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
