"""Provenance and cost of a stage: machine, package versions, time and memory.

None of these values is part of the identity of a stage.
"""

from __future__ import annotations

import platform
import resource
import subprocess
import time
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import final

from clmethods.version import __version__


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return the version of the package, with the commit if it runs from a git checkout."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+{done.stdout.strip()}"


@lru_cache(maxsize=1)
def host_kind() -> str:
    """Return operating system, architecture and CPU model of this machine.

    Results are compared bit for bit only between machines of the same kind.
    """
    model = platform.processor() or "unknown"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{platform.system()} {platform.machine()} {model}"


@lru_cache
def _installed(package: str) -> str:
    """Return the version of a package, cached because each read takes several milliseconds."""
    return version(package)


@final
class Stopwatch:
    """Measurement of the time and memory of one stage, started by the constructor."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")

    def cost(self) -> dict[str, object]:
        """Return seconds, memory in bytes and provenance, the content of `cost.json`."""
        return {
            "wall_s": time.perf_counter() - self._wall,
            "cpu_s": time.process_time() - self._cpu,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "host": platform.node(),
            "host_kind": host_kind(),
            "torch_version": _installed("torch"),
            "timm_version": _installed("timm"),
            "code_version": code_version(),
            "started_at": self._started,
        }
