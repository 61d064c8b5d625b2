"""The network of a laboratory: a bridge in a namespace of its own, with one port per host."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.lab.records import Record
from tests.cluster.lab.requirements import SYSTEM_PATH, LabError

NETWORK = "10.199.9"
"""Private addresses. Each laboratory has a switch of its own, so all may use the same ones."""

ENVIRONMENT = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}
END_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")


def administer(*command: str) -> str:
    """Run a command of the system and return its output."""
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Switch:
    """A running switch. It lives in the network namespace of one sleeping process."""

    pid: int

    @classmethod
    def start(cls, record: Record) -> Switch:
        popen = subprocess.Popen(
            [*END_WITH_PARENT, "unshare", "--net", "sleep", "infinity"],
            env=ENVIRONMENT,
            start_new_session=True,
        )
        record.add(popen.pid)
        own = Path("/proc/self/ns/net").readlink()
        deadline = time.monotonic() + 10
        while Path(f"/proc/{popen.pid}/ns/net").readlink() == own:
            assert time.monotonic() < deadline, "no network namespace for the switch"
            time.sleep(0.01)
        switch = cls(popen.pid)
        switch.ip("link", "add", "br0", "type", "bridge")
        switch.ip("link", "set", "br0", "up")
        return switch

    def ip(self, *arguments: str) -> str:
        return administer("nsenter", "-t", str(self.pid), "-n", "ip", *arguments)

    def connect(self, host: str, pid: int, address: str) -> None:
        """Plug in a host whose network namespace is that of the process `pid`."""
        port = _port(host)
        self.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self.ip("link", "set", port, "master", "br0", "up")
        inside = ("nsenter", "-t", str(pid), "-n", "ip")
        administer(*inside, "link", "set", "lo", "up")
        administer(*inside, "addr", "add", f"{address}/24", "dev", "eth0")
        administer(*inside, "link", "set", "eth0", "up")

    def cut(self, host: str) -> None:
        """Drop all packets from and to a host; neither side is notified."""
        self.ip("link", "set", _port(host), "down")

    def disconnect(self, host: str) -> None:
        """Remove its port. The kernel may keep the network of a dead host for a minute."""
        try:
            self.ip("link", "delete", _port(host))
        except LabError as error:
            if "Cannot find device" not in str(error):  # the kernel was first
                raise

    def heal(self, host: str) -> None:
        self.ip("link", "set", _port(host), "up")


def _port(host: str) -> str:
    return f"p-{host}"[-15:]  # no name of an interface may be longer
