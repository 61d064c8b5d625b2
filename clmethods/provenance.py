"""Who computed a stage, with what, at what cost. None of it is part of a stage's identity."""

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

from clmethods import __version__


@lru_cache(maxsize=1)
def code_version() -> str:
    """The package's version, with the commit if it runs from a git checkout."""
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+{found.stdout.strip()}"


@lru_cache(maxsize=1)
def host_kind() -> str:
    """Kind of machine; bits are only compared within one."""
    model = platform.processor() or "unknown"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{platform.system()} {platform.machine()} {model}"


@lru_cache
def _installed(package: str) -> str:
    """Its version; reading a package's metadata takes several milliseconds each time."""
    return version(package)


@final
class Stopwatch:
    """Measures one stage from its construction on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")

    def cost(self) -> dict[str, object]:
        """Seconds, memory and provenance, as kept in `cost.json`."""
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
