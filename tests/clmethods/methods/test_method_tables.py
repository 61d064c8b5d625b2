"""Every table that lists the methods lists all of them; a missing entry is named."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

import clmethods.config.methods
import clmethods.methods
from clmethods.config.methods import METHOD_CONFIGS, MethodConfig, MethodFields
from clmethods.methods import METHODS, Method
from tests.clmethods.contract_pairs import BASES

ROOT = Path(__file__).parents[3]


def classes_in(package: ModuleType, base: type) -> Iterator[type]:
    """Yield the classes in the modules of a package that implement all methods of `base`."""
    for module in pkgutil.iter_modules(package.__path__):
        content = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        for value in content.values():
            if (
                inspect.isclass(value)
                and issubclass(value, base)
                and not inspect.isabstract(value)
                and value.__module__ == f"{package.__name__}.{module.name}"
            ):
                yield value


def configurations() -> dict[str, type[MethodFields]]:
    """Return the configuration classes of all methods by `kind`, registered or not."""
    return {cls().kind: cls for cls in classes_in(clmethods.config.methods, MethodFields)}


def tables() -> dict[str, set[str]]:
    """Return the methods in each table, by the place where an entry has to be added."""
    named = {cls: kind for kind, cls in configurations().items()}
    strategies = (ROOT / "tests/strategies.py").read_text(encoding="utf-8")
    readme = (ROOT / "clmethods/README.md").read_text(encoding="utf-8")
    return {
        "METHOD_CONFIGS in clmethods/config/methods/__init__.py": set(METHOD_CONFIGS),
        "MethodConfig in clmethods/config/methods/__init__.py": {
            named[cls] for cls in get_args(MethodConfig)
        },
        "METHODS in clmethods/methods/__init__.py": set(METHODS),
        "BASES in tests/clmethods/test_contract.py": set(BASES),
        "tests/strategies.py": {k for cls, k in named.items() if cls.__name__ in strategies},
        "clmethods/README.md": {kind for kind in named.values() if f"`{kind}`" in readme},
    }


def missing_entries(known: set[str], found: Mapping[str, set[str]]) -> list[str]:
    """Return a line for every method that a table lacks."""
    return [
        f"{kind} is not in {place}"
        for place, kinds in found.items()
        for kind in sorted(known - kinds)
    ]


def test_every_method_is_in_every_table() -> None:
    assert missing_entries(set(configurations()), tables()) == []


def test_every_implementation_is_registered() -> None:
    """A class is registered, or it is a base class of a registered one."""
    unused = [
        cls.__name__
        for cls in classes_in(clmethods.methods, Method)
        if not any(issubclass(method, cls) for method in METHODS.values())
    ]
    assert unused == []


def test_keys_of_the_tables_are_the_kinds_of_the_configurations() -> None:
    assert {kind: cls().kind for kind, cls in METHOD_CONFIGS.items()} == {
        kind: kind for kind in METHOD_CONFIGS
    }


def test_a_missing_entry_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = set(configurations())
    monkeypatch.delitem(METHODS, "lwf")
    assert missing_entries(known, tables()) == [
        "lwf is not in METHODS in clmethods/methods/__init__.py"
    ]
    assert "new is not in tests/strategies.py" in missing_entries(known | {"new"}, tables())


def test_a_configuration_must_declare_what_its_method_stores() -> None:
    class WithoutStored(MethodFields):
        def effect(self, *_: object) -> dict[str, object]:  # type: ignore[override]
            return {}

    with pytest.raises(TypeError, match="stored"):
        WithoutStored()  # type: ignore[abstract]
