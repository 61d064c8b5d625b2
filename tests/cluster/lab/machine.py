"""Process 1 of a host: builds the root file system in fresh namespaces and starts sshd.

Usage: python3 -S -E machine.py DESCRIPTION.json
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def bind(source: Path, target: Path, read_only: bool = False) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount("--bind", str(source), str(target))
    if read_only:
        mount("-o", "remount,bind,ro", str(target))


def build_root(folder: Path, description: dict[str, Any]) -> Path:
    """A root file system of its own: programs of this machine, everything else private."""
    root = folder / "root"
    root.mkdir(exist_ok=True)
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "-o", "size=64m,mode=755", "none", str(root))
    for name in ("usr", "bin", "sbin", "lib", "lib64", "lib32", "libx32"):
        original = Path("/", name)
        if original.is_symlink():
            (root / name).symlink_to(original.readlink())
        elif original.is_dir():
            bind(original, root / name, read_only=True)
    for private in (folder / "disk").iterdir():
        bind(private, root / private.name)
    for source, target, mode in description["mounts"]:
        bind(Path(source), root / target.lstrip("/"), read_only=mode == "ro")
    (root / "proc").mkdir()
    mount("-t", "proc", "proc", str(root / "proc"))
    (root / "sys").mkdir()
    mount("--rbind", "/sys", str(root / "sys"))
    (root / "run/sshd").mkdir(parents=True)
    build_devices(root / "dev", description["shared_memory_mb"])
    return root


def build_devices(dev: Path, shared_memory_mb: int) -> None:
    dev.mkdir()
    for name in DEVICES:
        bind(Path("/dev", name), dev / name)
    (dev / "pts").mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620,gid=5", "devpts", f"{dev}/pts")
    (dev / "ptmx").symlink_to("pts/ptmx")
    (dev / "shm").mkdir()
    mount("-t", "tmpfs", "-o", f"size={shared_memory_mb}m,mode=1777", "none", str(dev / "shm"))
    (dev / "fd").symlink_to("/proc/self/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (dev / name).symlink_to(f"/proc/self/fd/{number}")


def enter(root: Path) -> None:
    """Make it the root, and let go of the old one."""
    (root / "old").mkdir()
    os.chdir(root)
    subprocess.run(["pivot_root", ".", "old"], check=True)
    os.chdir("/")
    subprocess.run(["umount", "--lazy", "/old"], check=True)
    os.rmdir("/old")


def main(path: str) -> None:
    description = json.loads(Path(path).read_text())
    folder = Path(path).parent
    log = (folder / "sshd.log").open("ab")
    enter(build_root(folder, description))
    subprocess.run(["hostname", description["name"]], check=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-e"], stdin=subprocess.DEVNULL, stderr=log)
    while True:  # process 1 inherits all orphans
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1])
