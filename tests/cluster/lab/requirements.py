"""Check that this machine can run the laboratory; a missing right or program is an error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "rsync": "rsync",
    "ip": "iproute2",
    "tmux": "tmux",
    "openssl": "openssl",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "pivot_root": "util-linux",
    "script": "bsdutils",
    "ps": "procps",
    "cc": "gcc",
}
"""The Debian package of each program that the laboratory or Ray's launcher calls."""

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_PYTHON = Path("/usr/bin/python3")
"""The interpreter of the hosts. They do not see the environment of the developer."""


class LabError(RuntimeError):
    """The laboratory cannot be set up here, or a host did not execute a command."""


def missing_packages() -> list[str]:
    """Debian packages that are needed and not installed."""
    missing = {
        package
        for program, package in PACKAGES.items()
        if shutil.which(program, path=SYSTEM_PATH) is None
    }
    if not Path("/usr/include/stdio.h").exists():
        missing.add("libc6-dev")
    if not HOST_PYTHON.exists() or not _runs(str(HOST_PYTHON), "-c", "import ensurepip, venv"):
        missing.add("python3-venv")
    return sorted(missing)


def check() -> None:
    """Raise `LabError` with every reason why the laboratory cannot run here."""
    reasons = [*_missing_rights(), *_wrong_python()]
    if packages := missing_packages():
        reasons.append(f"Debian packages are missing: apt-get install {' '.join(packages)}")
    if reasons:
        raise LabError("the cluster laboratory cannot run here:\n  " + "\n  ".join(reasons))


def _missing_rights() -> list[str]:
    if os.geteuid() != 0:
        return ["it must run as root (uid 0): namespaces, mounts and sshd need it"]
    tried = "mount -t tmpfs none /mnt && ip link add lab-br type bridge && "
    tried += "ip link add lab-a type veth peer name lab-b"
    flags = ("--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child")
    done = subprocess.run(
        ["unshare", *flags, "sh", "-c", tried],
        env={"PATH": SYSTEM_PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return []
    return [
        "namespaces with mounts, a bridge and a veth pair are refused "
        f"({done.stderr.strip() or done.returncode}): CAP_SYS_ADMIN and CAP_NET_ADMIN are needed"
    ]


def _wrong_python() -> list[str]:
    """The hosts borrow the packages of the environment, so both need the same minor version."""
    if not HOST_PYTHON.exists():
        return []
    printed = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run(
        [str(HOST_PYTHON), "-c", printed],
        capture_output=True,
        text=True,
        check=False,
    )
    here, there = f"{sys.version_info.major}.{sys.version_info.minor}", done.stdout.strip()
    if here == there:
        return []
    return [
        f"the environment has Python {here} and {HOST_PYTHON} is Python {there or 'broken'}: "
        f"make the environment with {HOST_PYTHON} (make clean; make PYTHON={HOST_PYTHON} …)"
    ]


def _runs(*command: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return done.returncode == 0
