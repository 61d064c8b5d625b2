"""Sizes of packages, names of modules, circles of imports, and files that documents name."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("clmethods", "sweeps")
MOST_MODULES = 16

ONE_KIND = {
    "clmethods/config/methods",
    "clmethods/methods",
    "clmethods/data",
    "sweeps/cli/commands",
    "sweeps/report",
}
"""Packages with one thing of a kind per module: methods, readers, commands, sections."""

PLACEHOLDERS = re.compile("NAME|PACKAGE|COMMAND")
"""Parts of paths that stand for any name; tests/adding checks them."""

IN_A_STORAGE = {"versions/CHECKSUM.yaml"}
"""Files that documents name and that are not in the repository."""

SAME_SUBJECT = {
    "attained": "front attained by single runs: text, section of the report",
    "backbone": "backbone: configuration, network",
    "configurations": "configurations: of a sweep, section of the report",
    "effects": "effects: command, section of the report",
    "errors": "errors of a package",
    "exit_codes": "exit codes of a command line",
    "export": "export: command of each package",
    "extend": "extension by a task: function, command",
    "fork": "fork: sweep, command",
    "freezing": "freezing: rule, section of the report",
    "history": "history of runs: of a sweep from its events, command of a model",
    "lora": "LoRA: layer, base class of methods",
    "order_effect": "effect of the task order: analysis, text",
    "orders": "task orders: metrics, command, section of the report",
    "pareto": "Pareto front: analysis, command",
    "path": "path between configurations: command, section of the report",
    "query": "SQL: function, command",
    "run": "run: configuration, command",
    "schema": "schema: of tables, of sweep files",
    "statistics": "statistics of readouts: computation, stored",
    "stopping": "early stopping: rule, section of the report",
    "stopping_audit": "audit of early stopping: analysis, text",
    "summary": "summary: table, section of the report",
    "train": "training: configuration, command",
}
"""Names of modules that occur more than once, with what they have in common."""


KNOWN_CIRCLES = []
"""Circles that are still to be opened; they import each other for type checkers only."""


def modules() -> list[Path]:
    """Return all modules of both packages, relative to the repository."""
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return [path.relative_to(ROOT) for path in found if path.name != "__init__.py"]


def test_no_package_is_too_large_to_scan() -> None:
    sizes: dict[str, int] = defaultdict(int)
    for module in modules():
        sizes[module.parent.as_posix()] += 1
    large = {name: size for name, size in sizes.items() if size > MOST_MODULES}
    assert large.keys() <= ONE_KIND, large


def test_a_module_name_has_one_meaning() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules():
        places[module.stem].append(module.parent.as_posix())
    methods = {path.stem for path in (ROOT / "clmethods/config/methods").glob("*.py")}
    repeated = {name: found for name, found in places.items() if len(found) > 1}
    unknown = {n: found for n, found in repeated.items() if n not in methods | SAME_SUBJECT.keys()}
    assert not unknown, unknown
    assert SAME_SUBJECT.keys() <= repeated.keys()


def test_there_are_no_further_circles_of_imports() -> None:
    """Imports for type checkers are included."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    assert circles(graph) == []


def test_circles_are_found() -> None:
    graph = grimp.ImportGraph()
    for importer, imported in (("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")):
        graph.add_import(importer=importer, imported=imported)
    assert circles(graph) == [["a", "b", "c"]]


@pytest.mark.parametrize(
    "document",
    [
        *("README.md", ".github/CONTRIBUTING.md", "sweeps/README.md", "clmethods/README.md"),
        "docs/architecture.md",
    ],
)
def test_documents_name_files_that_exist(document: str) -> None:
    """A path is looked up from the repository and from the folder of the document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    bases = [ROOT, (ROOT / document).parent]
    named = set(re.findall(r"`((?:[\w.]+/)+[\w.]+\.(?:py|md|yaml|sh))`", text))
    named = {name for name in named if not PLACEHOLDERS.search(name)}
    missing = [name for name in named if not any((base / name).exists() for base in bases)]
    assert set(missing) <= IN_A_STORAGE, missing


def circles(graph: grimp.ImportGraph) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or not."""
    imported = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    reached = {module: _reached_from(module, imported) for module in sorted(imported)}
    groups = {
        tuple(sorted({module} | {other for other in below if module in reached[other]}))
        for module, below in reached.items()
        if module in below
    }
    return sorted(map(list, groups))


def _reached_from(module: str, imported: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        new = imported[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen
