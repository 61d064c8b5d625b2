"""Contents of a storage while a cluster works on it, and its required contents at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sweeps.results import latest_trials, read_table
from sweeps.results.schema import TABLES
from sweeps.storage import open_storage
from tests.cluster.lab.command import PATIENCE_S, Command
from tests.cluster.lab.object_storage import BUCKET, ObjectStorage
from tests.cluster.lab.summary import Observation, record
from tests.sweeps.execution.tables import Tables, final_tables


class Storage(Protocol):
    """A storage of sweeps, as users name it, seen from outside of all hosts."""

    @property
    def url(self) -> str:
        """Value of `--storage`."""

    def objects(self) -> dict[str, str]:
        """Keys of all stages and leases, with what changes when one is written again."""

    def local(self) -> Path:
        """A folder with its present content."""


@dataclass(frozen=True)
class SharedFolder:
    """A folder that all hosts mount."""

    url: str
    folder: Path

    def objects(self) -> dict[str, str]:
        found = {}
        for part in ("stages", "leases"):
            for path in (self.folder / part).rglob("*"):
                try:
                    status = path.stat()
                except OSError:
                    continue  # a lease that was given back meanwhile
                if path.is_file():
                    key = str(path.relative_to(self.folder))
                    found[key] = f"{status.st_ino} {status.st_mtime_ns}"
        return found

    def local(self) -> Path:
        return self.folder


@dataclass(frozen=True)
class Bucket:
    """A prefix in the bucket of the laboratory."""

    server: ObjectStorage
    prefix: str
    copies: Path

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/{self.prefix}"

    def objects(self) -> dict[str, str]:
        found = {}
        for part in ("stages", "leases"):
            for key, state in self.server.objects(f"{self.prefix}/{part}/").items():
                found[key.removeprefix(self.prefix + "/")] = state
        return found

    def local(self) -> Path:
        folder = self.copies / f"copy-{time.monotonic_ns()}"
        self.server.download(self.prefix, folder)
        return folder


@dataclass
class Watch:
    """Remembers every finished stage that was ever seen, and compares at the end."""

    storage: Storage
    seen: dict[str, str] = field(default_factory=dict)

    def finished(self) -> dict[str, str]:
        """Finished stages by key: state of the marker that was written last."""
        found = {
            key.split("/")[-2]: state
            for key, state in self.storage.objects().items()
            if key.endswith("/stage.json")
        }
        for key, state in found.items():
            self.seen.setdefault(key, state)
        return found

    def count(self) -> int:
        """Number of finished stages."""
        return len(self.finished())

    def leased(self) -> dict[str, str]:
        """Stages that are being computed: stage key to the lease's name and state."""
        return {
            key.split("/")[-2]: f"{key} {state}"
            for key, state in self.storage.objects().items()
            if key.startswith("leases/") and key.rsplit("/", 1)[1].isdigit()
        }

    def lost(self) -> list[str]:
        """Stages that were there once and are gone, or were written again."""
        now = self.finished()
        return [key for key, state in self.seen.items() if now.get(key) != state]

    def wait_for(self, stages: int, *running: Command, seconds: float = PATIENCE_S) -> None:
        """Until so many stages are finished and another one is being computed."""
        wait_until(
            lambda: len(self.finished()) >= stages and bool(self.leased()),
            f"{stages} finished stages and one in progress",
            *running,
            seconds=seconds,
        )


def wait_until(
    condition: Callable[[], object], what: str, *running: Command, seconds: float = PATIENCE_S
) -> None:
    """Until the condition holds; the commands must be running all the while."""
    deadline = time.monotonic() + seconds
    while not condition():
        for command in running:
            assert command.running, f"{command.text} ended before: {what}\n{command.output}"
        outputs = "\n".join(command.output for command in running)
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{outputs}"
        time.sleep(0.1)


def double_rows(folder: Path, sweep: str) -> int:
    """Rows whose key occurs more than once in the tables that readers see."""
    objects, double = open_storage(str(folder)), 0
    for name, schema in TABLES.items():
        table = read_table(objects, sweep, name).table
        table = latest_trials(table) if name == "trials" else table
        key = [column for column in schema.key if column != "attempt"]
        rows = [tuple(str(row[column]) for column in key) for row in table.to_pylist()]
        double += len(rows) - len(set(rows))
    return double


def differences(found: Tables, expected: Tables) -> list[str]:
    """Return what differs between tables: counts of rows, and columns with other values."""
    texts = []
    for name, rows in expected.items():
        if len(found[name]) != len(rows):
            texts.append(f"{name}: {len(found[name])} rows, expected {len(rows)}")
        for mine, other in zip(found[name], rows, strict=False):
            texts += [
                f"{name}.{column}: {mine.get(column)!r}, expected {value!r}"
                for column, value in other.items()
                if mine.get(column) != value
            ]
    return texts


@dataclass
class Scenario:
    """One test: what it did to the hosts, and on which storage."""

    name: str
    hosts: int
    watch: Watch
    faults: list[str] = field(default_factory=list)

    def inject(self, fault: str) -> None:
        """Note a fault for the summary of the run."""
        self.faults.append(fault)

    def must_equal(self, unbroken: Tables, sweep: str) -> None:
        """Check that no finished stage is lost, no row double, every metric bit-equal."""
        assert self.watch.lost() == []
        folder = self.watch.storage.local()
        assert double_rows(folder, sweep) == 0
        different = differences(final_tables(folder, sweep), unbroken)
        assert not different, "\n".join(different)
        assert set(self.watch.finished()) >= {row["stage_key"] for row in unbroken["stages"]}


@contextmanager
def scenario(name: str, hosts: int, storage: Storage, *sweeps: str) -> Iterator[Scenario]:
    """Record what was observed, whether the test passes or not."""
    started, one = time.monotonic(), Scenario(name, hosts, Watch(storage))
    try:
        yield one
    finally:
        folder = storage.local()
        record(
            Observation(
                name,
                hosts,
                tuple(one.faults),
                len(one.watch.finished()),
                len(one.watch.lost()),
                sum(double_rows(folder, sweep) for sweep in sweeps),
                time.monotonic() - started,
            )
        )
