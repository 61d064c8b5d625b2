"""Versions that must agree on the driver and on every node of a cluster."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import final

from clmethods.version import __version__


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Versions of the software that a node has installed."""

    python: str
    ray: str
    package: str
    """Version of this package, and the beginning of a checksum over its Python files."""

    def differences(self, other: Versions) -> list[tuple[str, str, str]]:
        """Return (name, own version, other version) of the packages that differ."""
        own, theirs = asdict(self), asdict(other)
        return [(name, own[name], theirs[name]) for name in own if own[name] != theirs[name]]


def installed_versions() -> Versions:
    """Return the versions of this process."""
    import ray

    return Versions(
        python=platform.python_version(),
        ray=ray.__version__,
        package=f"{__version__} (files {source_checksum()})",
    )


@lru_cache(maxsize=1)
def source_checksum() -> str:
    """Return 12 hexadecimal digits that change with any Python file of the packages."""
    found = hashlib.sha256()
    for package in ("clmethods", "sweeps"):
        root = Path(str(files(package)))
        for path in sorted(root.rglob("*.py")):
            found.update(path.relative_to(root).as_posix().encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:12]
