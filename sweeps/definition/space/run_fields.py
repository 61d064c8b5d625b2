"""Fields of a run and the kinds of values that they accept."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from clmethods.canonical import plain
from clmethods.config.backbone import BackboneConfig
from clmethods.config.methods import METHOD_CONFIGS
from clmethods.config.stream import StreamConfig
from clmethods.config.train import TrainConfig

SECTION_CLASSES: Mapping[str, type] = {
    "backbone": BackboneConfig,
    "stream": StreamConfig,
    "train": TrainConfig,
}
"""Sections with a fixed class; the class of `method` depends on its `kind`."""

KINDS = frozenset({"number", "text", "flag", "list", "mapping", "null"})
"""Kinds of values in a sweep file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFacts:
    """Values that a field accepts."""

    kinds: frozenset[str]
    """Subset of `KINDS`."""
    choices: frozenset[str] = frozenset()
    """Allowed texts of the field, or of the items of its list; empty allows any text."""

    def joined(self, other: FieldFacts) -> FieldFacts:
        """Return the facts of a field that has the facts of one of two fields."""
        closed = bool(self.choices) and bool(other.choices)
        choices = self.choices | other.choices if closed else frozenset[str]()
        return FieldFacts(kinds=self.kinds | other.kinds, choices=choices)


def class_of(section: str, kind: str) -> type:
    """Return the class of a section; `kind` is that of the method."""
    return METHOD_CONFIGS[kind] if section == "method" else SECTION_CLASSES[section]


def has_field(path: str, kind: str) -> bool:
    """Return True if a run with a method of this kind has the field."""
    section, _, field = path.partition(".")
    return field in _hints(class_of(section, kind))


def takes_only_integers(path: str, kind: str) -> bool:
    """Return True if the field accepts integers but no other numbers."""
    section, _, field = path.partition(".")
    hint = _hints(class_of(section, kind)).get(field)
    members = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    return int in members and float not in members


@lru_cache(maxsize=4096)
def default_of(path: str, kind: str) -> Any:
    """Return the default of a field as plain data.

    Raises:
        KeyError: If the field does not exist.
    """
    section, _, field = path.partition(".")
    cls = class_of(section, kind)
    if field not in _hints(cls):
        raise KeyError(path)
    return plain(getattr(cls(), field))


def field_facts(kinds: Iterable[str]) -> dict[str, FieldFacts]:
    """Return the facts by dotted path, for runs with methods of the given kinds."""
    facts_by_path: dict[str, FieldFacts] = {}
    classes = [("method", METHOD_CONFIGS[kind]) for kind in kinds]
    for section, cls in [*SECTION_CLASSES.items(), *classes]:
        for name, hint in _hints(cls).items():
            path, facts = f"{section}.{name}", _facts(hint)
            facts_by_path[path] = (
                facts_by_path[path].joined(facts) if path in facts_by_path else facts
            )
    return facts_by_path


def kind_of(value: object) -> str:
    """Return the kind of a value, one of `KINDS`."""
    if value is None:
        return "null"
    for kind, cls in _CLASSES:
        if isinstance(value, cls):
            return kind
    return "mapping"


_CLASSES: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    ("flag", bool),  # before numbers: in Python a bool is an int
    ("number", (int, float)),
    ("text", str),
    ("list", (list, tuple)),
)


@lru_cache(maxsize=64)
def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def _facts(hint: Any) -> FieldFacts:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        kinds = frozenset[str]().union(*(_facts(part).kinds for part in arguments))
        texts = [part for part in map(_facts, arguments) if part.kinds & {"text", "list"}]
        closed = all(part.choices for part in texts)
        choices = frozenset[str]().union(*(part.choices for part in texts))
        return FieldFacts(kinds=kinds, choices=choices if closed else frozenset())
    if origin is Literal:
        texts_only = frozenset(value for value in arguments if isinstance(value, str))
        return FieldFacts(kinds=frozenset(map(kind_of, arguments)), choices=texts_only)
    if origin in {list, tuple}:
        return FieldFacts(kinds=frozenset({"list"}), choices=_facts(arguments[0]).choices)
    if hint is type(None):
        return FieldFacts(kinds=frozenset({"null"}))
    named = {bool: "flag", int: "number", float: "number", str: "text"}
    return FieldFacts(kinds=frozenset({named.get(hint, "mapping")}) if hint is not Any else KINDS)
