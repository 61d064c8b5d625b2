"""Every imported distribution is declared in `pyproject.toml`."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("clmethods", "sweeps")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def distribution(requirement: str) -> str:
    """The normalized name in a requirement, or of a distribution."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


REQUIRED = {distribution(text) for text in PROJECT["dependencies"]}
OPTIONAL = {
    distribution(text) for texts in PROJECT["optional-dependencies"].values() for text in texts
}
PROVIDERS = {
    module: {distribution(name) for name in names}
    for module, names in packages_distributions().items()
}


def imports(tree: ast.AST, *, in_function: bool = False) -> Iterator[tuple[str, bool]]:
    """Each imported top-level module, with True for an import inside a function.

    Imports below `if TYPE_CHECKING` are left out: they are not executed.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], in_function
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], in_function
        inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from imports(node, in_function=inside)


def undeclared(source: str) -> set[str]:
    """The modules that this source imports without a declared distribution.

    A distribution of an extra is enough for an import inside a function.
    """
    return {
        module
        for module, in_function in imports(ast.parse(source))
        if module not in sys.stdlib_module_names and module not in PACKAGES
        if not PROVIDERS.get(module, {distribution(module)})
        & (REQUIRED | (OPTIONAL if in_function else set()))
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_every_imported_distribution_is_declared(package: str) -> None:
    found = {
        str(file.relative_to(ROOT)): sorted(names)
        for file in FILES
        if file.is_relative_to(ROOT / package)
        if (names := undeclared(file.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_an_undeclared_import_is_found() -> None:
    source = """
from __future__ import annotations
import json, attr
from numpy.typing import NDArray
import matplotlib
if TYPE_CHECKING:
    from _typeshed import Incomplete
def draw():
    import matplotlib.pyplot
    from jmespath import search
"""
    assert undeclared(source) == {"attr", "matplotlib", "jmespath"}


def test_the_constraints_pin_every_required_distribution() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {distribution(line) for line in lines if "==" in line}
    assert REQUIRED - pinned == set()
