"""Allowed imports between packages, and modules that load no heavy library."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import clmethods.config
import clmethods.user_data
import sweeps.analysis
import sweeps.definition
import sweeps.presentation
import sweeps.report
import sweeps.results
import sweeps.search
import sweeps.statistics

ROOT = Path(__file__).parents[1]

PACKAGES = (
    *(clmethods.config, clmethods.user_data),
    *(sweeps.definition, sweeps.results, sweeps.statistics, sweeps.analysis),
    *(sweeps.search, sweeps.presentation, sweeps.report),
)
LIGHT = [
    "clmethods.metrics",
    "sweeps.api",
    *(
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ),
]
"""Modules that plan a sweep or read its results: fast to import, and usable without torch."""

HEAVY = ("torch", "timm", "ray")


def python(script: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in the repository, where pyproject.toml is."""
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)


def loaded_by(modules: list[str]) -> list[str]:
    """Those of the heavy packages that importing `modules` loads, `__init__` files included."""
    script = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
print(*(name for name in {HEAVY!r} if name in sys.modules))
"""
    done = python(script)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_contracts_of_pyproject_are_kept() -> None:
    """In a process of its own: import-linter imports both packages and configures logging."""
    done = python(
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " kept, 0 broken" in done.stdout


def test_planning_and_reading_load_neither_torch_nor_ray() -> None:
    """The import graph does not see what an import runs; a fresh interpreter does."""
    assert loaded_by(LIGHT) == []


def test_that_check_can_fail() -> None:
    """One heavy module beside a light one is enough, and what it loads is named."""
    assert loaded_by([LIGHT[0], "clmethods.nn.head"]) == ["torch"]
