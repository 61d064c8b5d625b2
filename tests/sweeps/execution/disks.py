"""Disks that are full: a small tmpfs of the test's own, where mounting is allowed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A file system of so many bytes (`200k`) at `path`; skips where none can be mounted."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("needs root, to mount a small tmpfs")
    path.mkdir()
    done = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", path)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def grow(path: Path, size: str) -> None:
    """Give a small disk more space."""
    assert _mount("-o", f"remount,size={size}", path).returncode == 0


def fill(path: Path, leave: int = 0) -> Path:
    """A file that takes all the space but some bytes; delete it to free the space."""
    filling = path / "filling"
    with filling.open("wb") as stream:
        space = os.statvfs(path)
        stream.write(bytes(max(0, space.f_bavail * space.f_frsize - leave)))
    return filling


def _mount(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["mount", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
