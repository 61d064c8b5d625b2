"""Hosts that a cloud boots from an image when it starts an instance."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.lab import disk
from tests.cluster.lab.host import Host, Mount
from tests.cluster.lab.laboratory import ADDRESSES, Lab, borrowed_packages
from tests.cluster.lab.requirements import LabError
from tests.cluster.lab.software import lend_environment
from tests.cluster.lab.switch import NETWORK

POOL = range(4, 14)
"""Last numbers of the addresses that instances get, in this order; none is used twice."""


def instance_name(address: str) -> str:
    """Return the host name of an instance, in the form that EC2 uses."""
    return f"ip-{address.replace('.', '-')}"


@dataclass
class Instances:
    """Boots and powers off the hosts of instances. Every host starts with a copy of the image."""

    lab: Lab
    image: Path
    mounts: Sequence[Mount]
    hosts: dict[str, Host] = field(default_factory=dict)
    """By address, those that are off included."""

    @classmethod
    def prepare(cls, lab: Lab) -> Instances:
        """Make the image: a host with an environment that borrows its packages.

        It is made on a host that is off afterwards, as an image of a cloud is.
        """
        mounts = borrowed_packages()
        names = {instance_name(address): address for address in _pool()}
        known = {name: ADDRESSES[name] for name in lab.hosts} | names
        template = "image"
        disk.prepare(lab.place(template) / "disk", template, known, lab.folder / "keys")
        host = lab.add(template, f"{NETWORK}.{POOL.stop}", mounts)
        host.power_on()
        lend_environment(host)
        host.power_off()
        del lab.hosts[template]
        return cls(lab, host.disk, mounts)

    def power_on(self, address: str) -> None:
        """Boot the host with this address; return when ssh answers."""
        if address not in _pool():
            raise LabError(f"no host can have the address {address}: allowed {_pool()}")
        name = instance_name(address)
        place = self.lab.place(name)
        place.mkdir(parents=True)
        subprocess.run(["cp", "-a", str(self.image), str(place / "disk")], check=True)
        (place / "disk/etc/hostname").write_text(name + "\n")
        host = self.lab.add(name, address, self.mounts)
        self.hosts[address] = host
        host.power_on()

    def power_off(self, address: str) -> None:
        """Cut the power of a host."""
        self.hosts[address].power_off()


def _pool() -> list[str]:
    return [f"{NETWORK}.{number}" for number in POOL]
