"""A laboratory: a switch, hosts with fixed addresses, a folder that all of them share."""

from __future__ import annotations

import atexit
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.cluster.lab import disk, requirements
from tests.cluster.lab.host import Host, Mount
from tests.cluster.lab.records import Record
from tests.cluster.lab.switch import NETWORK, Switch, administer

ADDRESSES = {
    "laptop": f"{NETWORK}.2",
    "store": f"{NETWORK}.3",
    "head": f"{NETWORK}.4",
    "w1": f"{NETWORK}.5",
    "w2": f"{NETWORK}.6",
    "w3": f"{NETWORK}.7",
}


@dataclass
class Lab:
    """Running hosts by name."""

    record: Record
    switch: Switch
    hosts: dict[str, Host]

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @property
    def folder(self) -> Path:
        return self.record.folder

    @property
    def shared(self) -> Path:
        """The folder that every host sees as `/shared`."""
        return self.folder / "shared"

    def nodes(self) -> list[Host]:
        """The hosts that run Ray."""
        return [host for name, host in self.hosts.items() if name not in ("laptop", "store")]

    def place(self, name: str) -> Path:
        """The folder of a host; its disk is prepared there before the host is added."""
        return self.folder / "hosts" / name

    def add(self, name: str, address: str, mounts: Sequence[Mount] = ()) -> Host:
        """Add a host, which is off. All hosts mount the shared folder."""
        everywhere = (Mount(self.shared, "/shared", writable=True),)
        host = Host(name, address, self.place(name), self.record, self.switch)
        host = replace(host, mounts=(*everywhere, *mounts))
        self.hosts[name] = host
        return host


def environment_mounts() -> tuple[Mount, ...]:
    """The environment of the developer, under the paths that its scripts have in them."""
    places = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return tuple(
        Mount(place, str(place)) for place in sorted(places) if not place.is_relative_to("/usr")
    )


def borrowed_packages() -> tuple[Mount, ...]:
    """Installed packages of the environment, for hosts that need not install their own."""
    return (
        Mount(Path(sysconfig.get_path("purelib")).resolve(), "/opt/lab/site-packages"),
        Mount(Path(sys.prefix, "bin").resolve(), "/opt/lab/bin"),
    )


@contextmanager
def laboratory(
    name: str,
    hosts: Sequence[str],
    mounts: Mapping[str, Sequence[Mount]] | None = None,
    clocks: Mapping[str, int] | None = None,
    shared_mb: int | None = None,
) -> Iterator[Lab]:
    """Hosts that are on, for the length of a block.

    `mounts` are further folders by host, `clocks` offsets of wall clocks in seconds. With
    `shared_mb`, the folder that is mounted everywhere as `/shared` can hold only so much.
    """
    requirements.check()
    record = Record.create(name)
    atexit.register(_remove_if_there, record)
    try:
        yield _start(record, hosts, mounts or {}, clocks or {}, shared_mb)
    finally:
        _remove_if_there(record)
        atexit.unregister(_remove_if_there)


def _start(
    record: Record,
    names: Sequence[str],
    mounts: Mapping[str, Sequence[Mount]],
    clocks: Mapping[str, int],
    shared_mb: int | None,
) -> Lab:
    folder = record.folder / "shared"
    folder.mkdir()
    if shared_mb is not None:
        administer("mount", "-t", "tmpfs", "-o", f"size={shared_mb}m", "none", str(folder))
    disk.give(folder)
    keys = record.folder / "keys"
    disk.make_keys(keys)
    addresses = {name: ADDRESSES[name] for name in names}
    lab = Lab(record, Switch.start(record), {})
    for name in names:
        disk.prepare(lab.place(name) / "disk", name, addresses, keys)
        host = lab.add(name, ADDRESSES[name], mounts.get(name, ()))
        if name in clocks:
            host.set_clock(clocks[name])
        host.power_on()
    return lab


def _remove_if_there(record: Record) -> None:
    if record.folder.exists():
        record.remove()
