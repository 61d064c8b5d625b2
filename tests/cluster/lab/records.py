"""Folders and processes of laboratories, recorded so that they can be removed after any death."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.sweeps.execution.drivers import Process

REPOSITORY = Path(__file__).resolve().parents[3]
BUILD = REPOSITORY / "build" / "cluster"
LABS = BUILD / "labs"


@dataclass(frozen=True)
class Record:
    """The folder of one laboratory, with a list of the processes that were started for it."""

    folder: Path

    @classmethod
    def create(cls, name: str) -> Record:
        """A new folder, owned by this process."""
        BUILD.mkdir(parents=True, exist_ok=True)
        LABS.mkdir(exist_ok=True)
        # `clean` takes a laboratory without an owner for a dead one: the owner is there first.
        new = Path(tempfile.mkdtemp(prefix="new-", dir=BUILD))
        (new / "owner.json").write_text(_line(os.getpid()))
        folder = LABS / f"{name}-{new.name.removeprefix('new-')}"
        new.rename(folder)
        folder.chmod(0o755)
        return cls(folder)

    def add(self, pid: int) -> Process:
        """Remember a process that was just started."""
        with (self.folder / "processes.jsonl").open("a") as file:
            file.write(_line(pid))
        process = Process.of(pid)
        assert process is not None, f"process {pid} ended at once"
        return process

    def processes(self) -> list[Process]:
        """Recorded processes, running or ended."""
        try:
            lines = (self.folder / "processes.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [_process(line) for line in lines]

    @property
    def owner_lives(self) -> bool:
        try:
            return _process((self.folder / "owner.json").read_text()).lives
        except (OSError, ValueError):
            return False

    def remove(self) -> int:
        """End the recorded processes, delete the folder; returns how many processes were alive."""
        alive = [process for process in self.processes() if process.lives]
        for process in alive:
            process.kill()
        deadline = time.monotonic() + 30
        while any(process.lives for process in alive):
            assert time.monotonic() < deadline, f"cannot end {alive}"
            time.sleep(0.02)
        shared = self.folder / "shared"
        if shared.is_mount():
            subprocess.run(["umount", str(shared)], check=True)
        # A host with its own installation has 5 GB: nobody waits until they are deleted.
        subprocess.Popen(["nice", "rm", "-rf", str(self.folder)], start_new_session=True)
        return len(alive)


def clean() -> tuple[int, int]:
    """Remove laboratories whose owner is dead; returns their number and that of live processes."""
    removed = ended = 0
    for folder in sorted(LABS.glob("*")):
        record = Record(folder)
        if not record.owner_lives:
            ended += record.remove()
            removed += 1
    return removed, ended


def _line(pid: int) -> str:
    process = Process.of(pid)
    return json.dumps([pid, process.started if process else ""]) + "\n"


def _process(line: str) -> Process:
    pid, started = json.loads(line)
    return Process(int(pid), str(started))
