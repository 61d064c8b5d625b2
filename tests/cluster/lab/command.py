"""A command that runs on a host, seen from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.lab.requirements import SYSTEM_PATH
from tests.sweeps.execution.drivers import descendants

PATIENCE_S = 240.0
"""Seconds that a test waits for an expected event."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    command: str
    code: int
    output: str

    def expect(self, code: int = 0) -> Done:
        assert self.code == code, f"{self.command}: exit code {self.code}\n{self.output}"
        return self


@dataclass
class Command:
    """A command in its own session; output and errors go to one file."""

    text: str
    popen: subprocess.Popen[bytes]
    log: Path
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, text: str, command: Sequence[str], log: Path, tty: bool = False) -> Command:
        """Start it; with `tty` it has a terminal of 120 columns, as a user's has."""
        if tty:
            quoted = " ".join("'" + part.replace("'", "'\\''") + "'" for part in command)
            quoted = f"stty cols 120 rows 40; exec {quoted}"
            command = ["script", "--quiet", "--return", "--command", quoted, "/dev/null"]
        with log.open("wb") as output:
            popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    "PATH": SYSTEM_PATH,
                    "LANG": "C.UTF-8",
                    "SHELL": "/bin/sh",
                },
            )
        return cls(text, popen, log)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def wait(self, seconds: float = PATIENCE_S) -> Done:
        """Its exit code and output."""
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.text}: not done in {seconds:.0f} s\n{self.output}"
            ) from None
        return Done(self.text, code, self.output)

    def wait_for(self, text: str, seconds: float = PATIENCE_S) -> None:
        """Until its output contains a text."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert self.running, f"{self.text} ended without saying {text!r}:\n{self.output}"
            assert time.monotonic() < deadline, f"{self.text} never said {text!r}:\n{self.output}"
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL to it and its descendants on the host."""
        for pid in [*descendants(self.popen.pid), self.popen.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.popen.wait(PATIENCE_S)
