"""The private files of a host, prepared before it is powered on for the first time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

USER, USER_ID = "ubuntu", 1000
HOME = f"/home/{USER}"

SSHD_CONFIG = """\
Port 22
HostKey /etc/ssh/lab_host_key
AuthorizedKeysFile .ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
MaxStartups 100
"""

PIP_CONFIG = """\
[global]
no-index = true
find-links = /opt/lab/wheels
disable-pip-version-check = true
"""
"""Without a route out, pip finds packages in the folder of wheels, or nowhere."""


def make_keys(folder: Path) -> None:
    """A key pair of the user and one of the hosts; they open nothing but this laboratory."""
    folder.mkdir()
    for name in ("user", "host"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name]
        subprocess.run(command, check=True)


def prepare(disk: Path, name: str, addresses: Mapping[str, str], keys: Path) -> None:
    """A disk with its own `/etc`, home of the user, `/tmp`, `/var` and `/root`."""
    for directory, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("var/log", 0o755)):
        (disk / directory).mkdir(parents=True)
        (disk / directory).chmod(mode)
    (disk / "root").mkdir()  # the interpreter of the environment may be mounted below
    _copy_etc(disk / "etc", name, addresses, keys)
    _make_home(disk / HOME.lstrip("/"), keys)


def give(path: Path) -> None:
    """Make a file or folder the user's, with everything in it."""
    os.chown(path, USER_ID, USER_ID)
    for folder, directories, files in os.walk(path):
        for entry in (*directories, *files):
            os.chown(Path(folder, entry), USER_ID, USER_ID, follow_symlinks=False)


def _copy_etc(etc: Path, name: str, addresses: Mapping[str, str], keys: Path) -> None:
    shutil.copytree("/etc", etc, symlinks=True)
    accounts = {
        "passwd": f"{USER}:x:{USER_ID}:{USER_ID}::{HOME}:/bin/bash",
        "group": f"{USER}:x:{USER_ID}:",
        "shadow": f"{USER}:*:19000:0:99999:7:::",
    }
    for file, line in accounts.items():
        path = etc / file
        kept = [
            other
            for other in path.read_text().splitlines()
            if not other.startswith(f"{USER}:") and f":x:{USER_ID}:" not in other
        ]
        path.write_text("\n".join([*kept, line]) + "\n")
    hosts = "".join(f"{address} {host}\n" for host, address in addresses.items())
    _replace(etc / "hosts", "127.0.0.1 localhost\n" + hosts)
    _replace(etc / "hostname", name + "\n")
    _replace(etc / "resolv.conf", "")
    _replace(etc / "pip.conf", PIP_CONFIG)
    shutil.rmtree(etc / "xdg" / "pip", ignore_errors=True)
    _replace(etc / "ssh" / "sshd_config", SSHD_CONFIG)
    shutil.copy(keys / "host", etc / "ssh" / "lab_host_key")
    (etc / "ssh" / "lab_host_key").chmod(0o600)


def _replace(path: Path, text: str) -> None:
    """Write a file anew: the original may be a link to elsewhere."""
    path.unlink(missing_ok=True)
    path.write_text(text)


def _make_home(home: Path, keys: Path) -> None:
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".profile").write_text("[ -f ~/.bashrc ] && . ~/.bashrc\n")
    (home / ".bashrc").write_text("")
    shutil.copy(keys / "user.pub", home / ".ssh" / "authorized_keys")
    give(home)
