"""Conversion of the events of a YAML parser to plain data, with aliases and merge keys resolved.

PyYAML itself keeps the last of two equal keys, and expands aliases and merge keys without a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import yaml

from clmethods.errors import ConfigIssue, InvalidConfigError
from clmethods.strict_yaml.scalars import ScalarError, plain_value, tagged_value, unknown_tag

MAX_NODES = 200_000
"""Maximum number of values, keys, lists and mappings, counted after aliases are expanded."""
MAX_CHARACTERS = 16_000_000
"""Maximum number of characters in all scalars, counted after aliases are expanded."""
MAX_DEPTH = 32
"""Maximum depth of nesting."""
MAX_KEYS = 1000
"""Maximum number of keys of one mapping."""
MAX_ISSUES = 50
"""Maximum number of issues that are reported individually; of the others, only the number is."""
_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """Words for a kind of file in messages."""

    noun: str = "a file in YAML"
    if_empty: str = ""
    """Hint for an empty file."""
    from_program: bool = False
    """True for files of a storage, which earlier versions wrote; see `scalars.plain_value`."""


@dataclass(slots=True)
class _Tree:
    """Value of a node, with its size after the expansion of aliases."""

    value: Any
    nodes: int = 1
    characters: int = 0
    items: Sequence[_Tree] = ()
    """Trees of the items of a list."""
    entries: dict[str, _Tree] | None = None
    """Trees of the values of a mapping, by key."""


@dataclass(slots=True)
class _Keys:
    """Keys of a mapping that is being read."""

    lines: dict[str, int] = field(default_factory=dict)
    """Line of each key."""
    own: dict[str, _Tree] = field(default_factory=dict)
    merged: dict[str, _Tree] = field(default_factory=dict)
    """Entries that the merge key `<<` adds; earlier mappings take precedence."""


@final
class DocumentBuilder:
    """Conversion of the events of one document to plain data."""

    def __init__(self, source: str, kind: FileKind) -> None:
        self.source, self.kind = source, kind
        self.issues: list[ConfigIssue] = []
        self.unreported = 0
        self.anchors: dict[str, _Tree | None] = {}
        """Values by anchor; None while the value is being read."""

    def document(self, events: Iterator[yaml.Event]) -> tuple[Any, list[ConfigIssue]]:
        """Return the value of the only document, and the issues of its parts."""
        next(events)  # start of the stream
        if isinstance(next(events), yaml.StreamEndEvent):
            raise InvalidConfigError(
                [ConfigIssue(self.source, "an empty file", self.kind.noun, self.kind.if_empty)]
            )
        tree = self._node(next(events), events, "", 0)
        next(events)  # end of the document
        after = next(events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._refused(after, "a second document", "a single document")
        if self.unreported:
            hint = f"The file has {self.unreported} more issues."
            self.issues.append(ConfigIssue(self.source, "...", "valid fields", hint))
        return tree.value, self.issues

    def _node(
        self, event: yaml.Event, events: Iterator[yaml.Event], path: str, depth: int
    ) -> _Tree:
        """Return the tree of the node that starts with `event`."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise self._refused(event, "deeper nesting", f"nesting of at most {MAX_DEPTH} levels")
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            if anchor in self.anchors:
                raise _invalid(event, f"found the anchor {anchor!r} twice")
            self.anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            tree = self._scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            tree = self._sequence(event, events, path, depth)
        else:
            tree = self._mapping(event, events, path, depth)
        if anchor is not None:
            self.anchors[anchor] = tree
        return tree

    def _alias(self, event: yaml.Event) -> _Tree:
        name = getattr(event, "anchor", "")
        if name not in self.anchors:
            raise _invalid(event, f"found the alias {name!r} without an anchor above it")
        tree = self.anchors[name]
        if tree is None:
            raise _invalid(event, f"found the alias {name!r} inside the value that it stands for")
        return tree

    def _scalar(self, event: Any, path: str) -> _Tree:
        try:
            if event.tag is not None:
                value = tagged_value(event.value, event.tag)
            elif _is_plain(event):
                value = plain_value(event.value, from_program=self.kind.from_program)
            else:
                value = tagged_value(event.value, "!")
        except ScalarError as error:
            value = None
            self._report(event, path, event.value, error)
        return _Tree(value, characters=len(event.value))

    def _sequence(self, event: Any, events: Iterator[yaml.Event], path: str, depth: int) -> _Tree:
        self._check_tag(event, path, _SEQ)
        tree = _Tree(None)
        items: list[_Tree] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            child = self._node(item, events, f"{path}[{len(items)}]", depth + 1)
            self._grow(tree, child, item)
            items.append(child)
        tree.items = items
        tree.value = [child.value for child in items]
        return tree

    def _mapping(self, event: Any, events: Iterator[yaml.Event], path: str, depth: int) -> _Tree:
        self._check_tag(event, path, _MAP)
        tree, keys = _Tree(None), _Keys()
        while not isinstance(start := next(events), yaml.MappingEndEvent):
            key = self._key(start, events, path, depth)
            here = path if key is None else f"{path}.{key}" if path else key
            item = next(events)
            child = self._node(item, events, here, depth + 1)
            self._grow(tree, child, item)
            if key is None:
                continue
            merges = key == "<<" and _is_plain(start)
            line = _line(start)
            if key in keys.lines:
                first = keys.lines[key]
                hint = f"Line {line} repeats {'itself' if line == first else f'line {first}'}."
                hint += " To merge several mappings, use `<<: [*a, *b]`." if merges else ""
                given = item.value if isinstance(item, yaml.ScalarEvent) else "..."
                self._add(ConfigIssue(here, given, "each key once", hint))
                continue
            keys.lines[key] = line
            if merges:
                self._merge(tree, child, item, here, keys)
            else:
                keys.own[key] = child
            self._check_keys(start, path, len(keys.own) + len(keys.merged))
        tree.entries = {**keys.merged, **keys.own}
        tree.value = {key: entry.value for key, entry in tree.entries.items()}
        return tree

    def _key(self, event: Any, events: Iterator[yaml.Event], path: str, depth: int) -> str | None:
        """Return the key that starts with `event`; None and an issue if it cannot be a name."""
        if _is_plain(event) and event.value == "<<":
            return "<<"
        before = len(self.issues) + self.unreported
        value = self._node(event, events, path, depth + 1).value
        if isinstance(value, str) and value and value.isprintable():
            return value
        if len(self.issues) + self.unreported == before:
            here = f"{path}.{value}" if path and isinstance(value, int | float) else path
            hint = "Quote the key if it is a name." if isinstance(value, int | float) else ""
            self._report(event, here, value, ScalarError("a name as key", hint))
        return None

    def _merge(self, tree: _Tree, child: _Tree, item: yaml.Event, path: str, keys: _Keys) -> None:
        """Add the entries of the mappings under `<<`, which the keys of the mapping override."""
        parts = child.items if isinstance(child.value, list) else [child]
        for part in parts:
            if part.entries is None:
                constraint = "an alias of a mapping, or a list of such aliases"
                self._report(item, path, part.value, ScalarError(constraint))
                return
            for key, entry in part.entries.items():
                self._grow(tree, entry, item)
                keys.merged.setdefault(key, entry)

    def _check_keys(self, event: yaml.Event, path: str, count: int) -> None:
        if count > MAX_KEYS:
            constraint = f"at most {MAX_KEYS} keys in a mapping"
            raise self._refused(event, f"more keys in `{path}`" if path else "more", constraint)

    def _grow(self, tree: _Tree, child: _Tree, event: yaml.Event) -> None:
        """Add the size of a child; raise if the document becomes too large."""
        tree.nodes += child.nodes
        tree.characters += child.characters
        if tree.nodes > MAX_NODES:
            constraint = f"at most {MAX_NODES} values, with aliases expanded"
            raise self._refused(event, "more values", constraint)
        if tree.characters > MAX_CHARACTERS:
            constraint = f"at most {MAX_CHARACTERS} characters, with aliases expanded"
            raise self._refused(event, "more characters", constraint)

    def _check_tag(self, event: Any, path: str, usual: str) -> None:
        if event.tag not in {None, "!", usual}:
            self._report(event, path, event.tag, unknown_tag())

    def _report(self, event: Any, path: str, value: object, error: ScalarError) -> None:
        line = f"It is in line {_line(event)}."
        hint = " ".join(filter(None, [error.hint, line]))
        self._add(ConfigIssue(path or self.source, value, error.allowed, hint))

    def _add(self, issue: ConfigIssue) -> None:
        if len(self.issues) < MAX_ISSUES:
            self.issues.append(issue)
        else:
            self.unreported += 1

    def _refused(self, event: Any, got: object, constraint: str) -> InvalidConfigError:
        mark = event.start_mark
        place = f"{self.source}, line {mark.line + 1}, column {mark.column + 1}"
        return InvalidConfigError([ConfigIssue(place, got, constraint)])


def _is_plain(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.tag is None and bool(event.implicit[0])


def _line(event: Any) -> int:
    line: int = event.start_mark.line + 1
    return line


def _invalid(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
