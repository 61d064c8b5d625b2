"""The laptop's side of `cluster/README.md`: cluster.yaml edited, a token made, Ray's commands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.cluster.lab.command import Command, Done
from tests.cluster.lab.host import Host
from tests.cluster.lab.software import CHECKOUT

ACTIVATE = "source ../.venv/bin/activate"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_LOGGER_LEVEL": "warning"}
"""Environment variables that every guide exports. All of them are optional."""

MAKE_TOKEN = (
    "umask 077; mkdir -p ~/.lorac-sweeps; "
    "python -c 'import secrets; print(secrets.token_hex(32))' > ~/.lorac-sweeps/auth_token"
)

SMALL_OBJECT_STORE = "--object-store-memory=100000000"


@dataclass(frozen=True)
class Launcher:
    """A user in `cluster/` of the checkout on the laptop, with the environment active."""

    laptop: Host
    settings: Mapping[str, str] = field(default_factory=lambda: dict(QUIET))
    """Variables that the guide exports."""

    def edit(self, head: Host, workers: Sequence[Host], head_cpus: int = 0) -> None:
        """Fill in the lines marked EDIT; one CPU per worker and small object stores for speed."""
        values = {
            "head_ip": head.address,
            "worker_ips": f"[{', '.join(worker.address for worker in workers)}]",
            "ssh_user": "ubuntu",
            "ssh_private_key": "~/.ssh/id_ed25519",
            "max_workers": str(len(workers)),
        }
        file = self.laptop.path(f"{CHECKOUT}/cluster/cluster.yaml")
        lines = file.read_text().splitlines()
        for number, line in enumerate(lines):
            if "# EDIT" in line:
                key = line.split(":")[0].strip()
                assert key in values, f"cluster.yaml asks to edit {key}, which no test knows"
                lines[number] = re.sub(r":.*", f": {values.pop(key)}", line)
            lines[number] = lines[number].replace(
                "ray start --head", f"ray start --head --num-cpus={head_cpus}"
            )
            lines[number] = lines[number].replace(
                "ray start --address", "ray start --num-cpus=1 --address"
            )
            lines[number] = re.sub(r"--object-store-memory=\d+", SMALL_OBJECT_STORE, lines[number])
        assert not values, f"cluster.yaml has no line marked EDIT for {sorted(values)}"
        file.write_text("\n".join(lines) + "\n")

    def start(self, command: str, tty: bool = True) -> Command:
        """Start a command in `cluster/`, on a terminal."""
        exports = " ".join(f"{name}={value}" for name, value in self.settings.items())
        steps = f"cd {CHECKOUT}/cluster; {ACTIVATE}; export {exports}"
        return self.laptop.start(f"{steps}; {command}", tty=tty)

    def run(self, command: str, tty: bool = True, seconds: float = 240.0) -> Done:
        return self.start(command, tty).wait(seconds)
