"""A host: power, commands, processes, ports, clock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.lab.command import PATIENCE_S, Command, Done
from tests.cluster.lab.disk import HOME, USER, USER_ID, give
from tests.cluster.lab.records import Record
from tests.cluster.lab.requirements import HOST_PYTHON, LabError
from tests.cluster.lab.switch import END_WITH_PARENT, ENVIRONMENT, Switch
from tests.sweeps.execution.drivers import Process, descendants

MACHINE = Path(__file__).with_name("machine.py")
CLOCK = Path(__file__).with_name("clock.c")
CLOCK_LIBRARY = "/opt/lab/clock.so"
NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc")


@dataclass(frozen=True)
class Mount:
    """A folder or file of this machine that a host sees."""

    source: Path
    target: str
    writable: bool = False


@dataclass
class Host:
    """One host of a laboratory. It keeps its disk while it is off."""

    name: str
    address: str
    folder: Path
    record: Record
    switch: Switch
    mounts: tuple[Mount, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    """Of all commands and ssh sessions of the host."""
    shared_memory_mb: int = 400
    _outer: Process | None = None
    """`unshare`, the parent of process 1 of the host."""
    _commands: int = 0

    @property
    def disk(self) -> Path:
        """Its private files, as this machine sees them."""
        return self.folder / "disk"

    def path(self, path: str) -> Path:
        """A file of the host's disk, as this machine sees it; `~` is the home of the user."""
        path = path.replace("~", HOME, 1) if path.startswith("~") else path
        return self.disk / path.lstrip("/")

    # ---- power

    @property
    def is_on(self) -> bool:
        return self._outer is not None and self._outer.lives

    def power_on(self) -> None:
        """Start it and wait until ssh answers."""
        assert not self.is_on, f"{self.name} is on already"
        description = self.folder / "machine.json"
        mounts = [[str(m.source), m.target, "rw" if m.writable else "ro"] for m in self.mounts]
        description.write_text(
            json.dumps(
                {
                    "name": self.name,
                    "mounts": mounts,
                    "shared_memory_mb": self.shared_memory_mb,
                }
            )
        )
        self._configure_sshd()
        with (self.folder / "machine.log").open("ab") as log:
            popen = subprocess.Popen(
                [
                    *("nice", "-n", "10", *END_WITH_PARENT, "unshare", *NAMESPACES, "--fork"),
                    *("--kill-child", str(HOST_PYTHON), "-S", "-E", str(MACHINE)),
                    str(description),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                start_new_session=True,
            )
        self._outer = self.record.add(popen.pid)
        self._until(lambda: bool(descendants(popen.pid)), "process 1 does not start")
        self.switch.connect(self.name, self.process_1, self.address)
        self._until(lambda: 22 in self.listening(), "sshd does not start")

    def power_off(self) -> None:
        """Cut the power: first the cable, so that no peer is notified that connections ended."""
        assert self._outer is not None
        self.switch.cut(self.name)
        os.kill(self.process_1, signal.SIGKILL)
        self._until(lambda: not self.is_on, "still on")
        os.waitpid(self._outer.pid, 0)
        self.switch.disconnect(self.name)
        self._outer = None

    def cut(self) -> None:
        """Partition it from all other hosts."""
        self.switch.cut(self.name)

    def heal(self) -> None:
        self.switch.heal(self.name)

    @property
    def process_1(self) -> int:
        """Its first process, by the pid that this machine knows it under."""
        assert self._outer is not None, f"{self.name} is off"
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text()
        return int(children.split()[0])

    # ---- commands

    def start(
        self,
        command: str,
        *,
        tty: bool = False,
        root: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Command:
        """Start a shell command of the user (or root) in a login shell."""
        self._commands += 1
        log = self.folder / f"command-{self._commands:03}.log"
        home = "/root" if root else HOME
        variables = {
            "HOME": home,
            "USER": "root" if root else USER,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
            "TERM": "xterm-256color",
            **self.environment,
            **(environment or {}),
        }
        identity = [] if root else ["--reuid", str(USER_ID), "--regid", str(USER_ID)]
        arguments = [
            *("nice", "-n", "10", "nsenter", "-t", str(self.process_1), "--all"),
            *("setpriv", *identity, "--clear-groups", "env", "-i", f"--chdir={home}"),
            *(f"{name}={value}" for name, value in variables.items()),
            *("bash", "--login", "-c", command),
        ]
        return Command.start(f"{self.name}$ {command}", arguments, log, tty)

    def run(
        self,
        command: str,
        *,
        tty: bool = False,
        root: bool = False,
        environment: Mapping[str, str] | None = None,
        seconds: float = PATIENCE_S,
    ) -> Done:
        """Run a shell command to its end."""
        return self.start(command, tty=tty, root=root, environment=environment).wait(seconds)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the user."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        give(file.parent if file.parent != self.path("~") else file)

    # ---- what runs on it

    def processes(self, name: str = "") -> list[Process]:
        """Its processes whose command line contains a text, by the pids of this machine."""
        try:
            namespace = Path(f"/proc/{self.process_1}/ns/pid").readlink()
        except (AssertionError, IndexError, OSError):
            return []  # off, or going off at this moment
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if (entry / "ns/pid").readlink() != namespace:
                    continue
            except OSError:
                continue
            process = Process.of(int(entry.name))
            if process is not None and process.lives and name in process.name:
                found.append(process)
        return found

    def freeze(self, name: str = "") -> None:
        """Stop its processes, as a paused virtual machine does; connections stay open.

        With `name`, only those whose command line contains it. Process 1 takes no such signal.
        """
        for process in self.processes(name):
            process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in self.processes():
            process.signal(signal.SIGCONT)

    def listening(self) -> dict[int, set[str]]:
        """Ports that accept connections, with the addresses that they are bound to."""
        ports: dict[int, set[str]] = {}
        for file in ("tcp", "tcp6"):
            try:
                lines = Path(f"/proc/{self.process_1}/net/{file}").read_text().splitlines()[1:]
            except OSError:
                continue
            for line in lines:
                _, local, _, state, *_ = line.split()
                if state == "0A":
                    address, port = local.split(":")
                    ports.setdefault(int(port, 16), set()).add(_address(address))
        return ports

    # ---- clock

    def set_clock(self, offset_s: int) -> None:
        """Shift the wall clock of everything that starts from now on; monotonic clocks stay."""
        library = self.folder / "clock.so"
        if not library.exists():
            compiler = ("cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(CLOCK))
            subprocess.run(compiler, check=True)
            self.mounts += (Mount(library, CLOCK_LIBRARY),)
        self.environment |= {"LD_PRELOAD": CLOCK_LIBRARY, "LAB_CLOCK_OFFSET": str(offset_s)}

    def _configure_sshd(self) -> None:
        """Give sessions the environment of the host."""
        config = self.path("/etc/ssh/sshd_config")
        lines = [x for x in config.read_text().splitlines() if not x.startswith("SetEnv")]
        if self.environment:
            pairs = " ".join(f"{name}={value}" for name, value in self.environment.items())
            lines.append(f"SetEnv {pairs}")
        config.write_text("\n".join(lines) + "\n")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            if time.monotonic() > deadline:
                log = (self.folder / "machine.log").read_text(errors="replace")
                raise LabError(f"host {self.name}: {what}\n{log}")
            time.sleep(0.02)


def _address(hexadecimal: str) -> str:
    if set(hexadecimal) == {"0"}:
        return "*"
    if len(hexadecimal) > 8 and not hexadecimal.startswith("0000000000000000FFFF0000"):
        return "::1" if hexadecimal.endswith("01000000") else hexadecimal
    number = int(hexadecimal[-8:], 16)
    return ".".join(str(number >> shift & 255) for shift in (0, 8, 16, 24))
