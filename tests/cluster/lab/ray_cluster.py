"""Ray on hosts of a laboratory, with the settings of cluster.yaml, without its launcher."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.cluster.lab.command import PATIENCE_S, Command
from tests.cluster.lab.host import Host
from tests.cluster.lab.laboratory import Lab
from tests.cluster.lab.software import CHECKOUT

HEALTH_CHECKS = (
    "RAY_health_check_period_ms=1000 RAY_health_check_timeout_ms=2000 "
    "RAY_health_check_failure_threshold=5"
)
SIZE = "--object-store-memory=100000000 --disable-usage-stats"
PRIVATE = "~/.lorac-sweeps"
BASHRC = f"export OMP_NUM_THREADS=1\n. {CHECKOUT}/cluster/environment.sh\n"
"""Ray's launcher sets the number of threads, too."""


@dataclass
class RayCluster:
    """A head without slots and workers with one each."""

    lab: Lab
    head: Host
    workers: Sequence[Host]
    dashboard: bool = False
    token: str = field(default_factory=lambda: secrets.token_hex(32))

    def prepare(self, settings: Mapping[str, str] | None = None, aws_keys: str = "") -> None:
        """Write token, settings and keys to the files that cluster/environment.sh reads."""
        exports = "".join(f"export {name}={value}\n" for name, value in (settings or {}).items())
        for node in (self.head, *self.workers):
            node.write(f"{PRIVATE}/auth_token", self.token, mode=0o600)
            node.write(f"{PRIVATE}/env", exports, mode=0o600)
            if aws_keys:
                node.write(f"{PRIVATE}/aws_credentials", aws_keys, mode=0o600)
            node.write("~/.bashrc", BASHRC)

    def start(self) -> None:
        """Start all nodes and wait until every slot is there."""
        self.start_head()
        for command in [self.begin_worker(worker) for worker in self.workers]:
            command.wait().expect()
        self.wait_for_slots(len(self.workers))

    def start_head(self) -> None:
        dashboard = "--dashboard-host=127.0.0.1" if self.dashboard else "--include-dashboard=false"
        self.head.run(
            f"{HEALTH_CHECKS} ray start --head --port=6379 --num-cpus=0 {SIZE} {dashboard}"
        ).expect()

    def begin_worker(self, worker: Host) -> Command:
        """Start Ray on a worker; the command ends when the node has joined."""
        return worker.start(f"ray start --address={self.head.name}:6379 --num-cpus=1 {SIZE}")

    def restart_worker(self, worker: Host) -> None:
        """Power it on again and let it join."""
        if worker.is_on:
            worker.run("ray stop --force").expect()
        else:
            worker.power_on()
        self.begin_worker(worker).wait().expect()

    def stop(self) -> None:
        """End Ray on all nodes that are on; each sees only its own processes."""
        nodes = [node for node in (*self.workers, self.head) if node.is_on]
        for command in [node.start("ray stop --force") for node in nodes]:
            command.wait()

    def slots(self) -> float:
        """CPUs of the cluster that live now."""
        done = self.head.run("ray status")
        found = re.search(r"[\d.]+/([\d.]+) CPU", done.output)
        return float(found[1]) if done.code == 0 and found else 0.0

    def wait_for_slots(self, number: float, seconds: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + seconds
        while (slots := self.slots()) != number:
            assert time.monotonic() < deadline, f"{slots} slots, expected {number}"
            time.sleep(0.5)
