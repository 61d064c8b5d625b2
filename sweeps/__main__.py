"""Entry point of the command `sweeps`: handles Ctrl-C while the command line is imported.

The imports take seconds on a slow disk. This module and its package import nothing but the
standard library, so that the handler is there before them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from types import FrameType

from sweeps.execution.exit_codes import ExitCode, exit_code_line


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `sweeps` with these arguments, by default those of the process, and exit.

    Ctrl-C during the imports ends the process with one line. Once a command has ended, Ctrl-C is
    ignored, because the exit code is decided and Python only has to shut down.
    """
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if handled:
        signal.signal(signal.SIGINT, _exit_at_once)
    from sweeps.cli import main as command

    if handled:
        command.on_import = _raise_on_interrupt
    try:
        command(args=arguments)
    finally:
        if handled:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _raise_on_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit_at_once(number: int, frame: FrameType | None) -> None:
    """End the process without an exception: an import may catch it and fail in another way."""
    line = exit_code_line(ExitCode.INTERRUPTED, "interrupted before anything was started")
    os.write(2, f"\n{line}\n".encode())
    os._exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()
