"""`sweeps run` as real processes: started, watched through /proc, signalled, and cleaned up.

Only processes that descend from a driver that a test started itself are ever looked at.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PATIENCE_S = 240.0
"""Seconds that a test waits for an expected event; the machine may be busy."""

WORKERS = ("ray::ResourceTrainable", "ray::StageTrainable")
"""Names that Ray gives to the processes of trials: during a step, and between two steps."""


def write_sweep(path: Path, document: dict[str, Any]) -> Path:
    """A sweep file."""
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def clean_environment() -> dict[str, str]:
    """This process's environment without what an earlier Ray in it has left there."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))
    }


def command(file: Path, storage: Path, *options: object) -> list[str]:
    """The command line of a driver."""
    program = "from sweeps.__main__ import main; main()"
    arguments = ["run", file, "--storage", storage, *options]
    return [sys.executable, "-c", program, *map(str, arguments)]


def run_to_end(
    file: Path, storage: Path, *options: object, **variables: str
) -> subprocess.CompletedProcess[str]:
    """`sweeps run`, not disturbed, with further variables in its environment."""
    return subprocess.run(
        command(file, storage, *options),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=clean_environment() | variables,
    )


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same number."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        fields = _stat(pid)
        return cls(pid, fields[19]) if fields else None

    @property
    def lives(self) -> bool:
        fields = _stat(self.pid)
        return bool(fields) and fields[19] == self.started and fields[0] not in "ZX"

    @property
    def name(self) -> str:
        """Its command line."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            return ""

    def kill(self) -> None:
        """SIGKILL, unless it is gone."""
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """A signal, unless it is gone."""
        if self.lives:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


class Driver:
    """A running `sweeps run` in a process group of its own, as a shell starts it."""

    def __init__(
        self,
        file: Path,
        storage: Path,
        log: Path,
        *options: object,
        terminal: int | None = None,
    ) -> None:
        """`terminal`: descriptor of a terminal that the driver gets in place of the log."""
        self.log = log
        self._family: dict[int, Process] = {}
        with log.open("w") as output:
            started = command(file, storage, *options)
            self._popen = subprocess.Popen(
                started if terminal is None else ["setsid", "--ctty", *started],
                stdin=terminal,
                stdout=output if terminal is None else terminal,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
                start_new_session=terminal is None,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def running(self) -> bool:
        self.family()
        return self._popen.poll() is None

    def family(self) -> list[Process]:
        """The descendants that live, also those whose parents have died since they were seen."""
        for pid in descendants(self.pid):
            process = Process.of(pid)
            if process is not None:
                self._family[pid] = process
        return [process for process in self._family.values() if process.lives]

    def workers(self) -> list[Process]:
        """Processes that hold a trial or have held one."""
        return [process for process in self.family() if process.name.startswith(WORKERS)]

    def signal(self, number: int, group: bool = False) -> None:
        """To the driver alone, or to its group as a terminal does it."""
        self.family()
        (os.killpg if group else os.kill)(self.pid, number)

    def wait(self) -> int:
        """Exit code, minus the signal's number if one ended it."""
        return self._popen.wait(PATIENCE_S)

    def clean(self) -> None:
        """End what is left, by number; some agents of Ray outlive their driver by a minute."""
        if self._popen.poll() is None:
            self.signal(signal.SIGKILL)
            self._popen.wait(PATIENCE_S)
        while family := self.family():
            for process in family:
                process.kill()
            time.sleep(0.02)


class Terminal:
    """A terminal as a program sees it, whose screen is read until it is closed."""

    def __init__(self) -> None:
        self._outer, self.inner = pty.openpty()
        self._shown: list[bytes] = []
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Terminal:
        self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def shown(self) -> str:
        return b"".join(self._shown).decode(errors="replace")

    def close(self) -> None:
        """Hang up: programs on the terminal get SIGHUP, and their writes fail."""
        if not self._closed.is_set():
            self._closed.set()
            self._reader.join()
            os.close(self._outer)
            os.close(self.inner)

    def _read(self) -> None:
        while not self._closed.is_set():
            ready, _, _ = select.select([self._outer], [], [], 0.05)
            if ready:
                self._shown.append(os.read(self._outer, 4096))


@contextmanager
def driver(file: Path, storage: Path, log: Path, *options: object) -> Iterator[Driver]:
    """A driver for the length of a block."""
    started = Driver(file, storage, log, *options)
    try:
        yield started
    finally:
        started.clean()


def descendants(pid: int) -> list[int]:
    """Children, grandchildren and so on, as /proc has them."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def wait_until(condition: Callable[[], bool], what: str = "") -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rsplit(")", 1)[1].split()
