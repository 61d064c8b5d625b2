"""Studies that are part of the package: sweep files in `sweeps/studies`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def shipped_studies() -> dict[str, Path]:
    """Return the paths of the shipped sweep files, by name."""
    folder = Path(str(files("sweeps"))) / "studies"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
