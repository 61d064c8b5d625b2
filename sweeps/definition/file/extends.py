"""`extends`: a sweep file that says only how it differs from another one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from clmethods.errors import ConfigIssue, InvalidConfigError, nearest
from sweeps.definition.file.plain_data import plain, read_yaml
from sweeps.definition.file.run_sections import SECTIONS, merged
from sweeps.definition.file.shipped_studies import shipped_studies

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One file that a sweep builds on, and what is left of it after the merge."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    source: str
    """As `extends` named it: a shipped study or a path."""
    sha256: str
    """Of the file's bytes, so that a later change of it can be seen."""
    fields: tuple[str, ...] = ()
    """Key paths of the merged document that come from this file."""


def extended(document: Document, folder: Path, issues: list[ConfigIssue]) -> Document:
    """The document with all that it extends merged in, nearest file last.

    `extends` is replaced by `merged_from`, the layers, farthest first: the result needs none of
    the files any more. `folder` is where relative paths start. `issues` collects what is odd in
    the files. Raises `InvalidConfigError`, with the chain, for a missing file or a cycle.
    """
    layers = _layers(document, folder, issues)
    if len(layers) == 1:
        return document
    result: Document = {}
    origin: dict[str, int] = {}  # index of the layer by key path
    for i, (_, _, layer) in reversed([*enumerate(layers)]):
        issues.extend(_in_vain(result, layer))
        result = _merged_documents(result, layer)
        written = dict.fromkeys(_key_paths(layer), i)
        origin = {path: (origin | written)[path] for path in _key_paths(result)}
    result["merged_from"] = [
        {
            "source": name,
            "sha256": digest,
            "fields": [path for path, j in origin.items() if j == i],
        }
        for i, (name, digest, _) in reversed([*enumerate(layers)][1:])
    ]
    return result


def with_origin(issues: Iterable[ConfigIssue], layers: Sequence[Layer]) -> list[ConfigIssue]:
    """The issues, each told with the file that it comes from unless that is the sweep's own."""
    origin = {path: layer.source for layer in layers for path in layer.fields}
    return [
        _noted(issue, f"It comes from {source}.")
        if (source := next((o for p, o in origin.items() if _leads_to(p, issue.path)), None))
        else issue
        for issue in issues
    ]


def _layers(
    document: Document, folder: Path, issues: list[ConfigIssue]
) -> list[tuple[str, str, Document]]:
    """(name, checksum, document) of the sweep itself and of all it builds on, nearest first."""
    found = [("", "", document)]
    met: list[Path] = []
    chain: list[str] = []
    while isinstance(name := found[-1][2].get("extends"), str):
        path = _path_of(name, folder, chain)
        chain.append(name)
        if path in met:
            constraint = "a file that does not, in the end, extend itself"
            raise InvalidConfigError([ConfigIssue("extends", chain[0], constraint, _told(chain))])
        met.append(path)
        try:
            data, repeated = read_yaml(path)
        except InvalidConfigError as error:
            raise InvalidConfigError(_noted(f, _told(chain)) for f in error.issues) from error
        odd: list[ConfigIssue] = []
        below = plain(data, "", odd)
        if not isinstance(below, dict):
            constraint = "a file that holds a mapping of fields"
            raise InvalidConfigError([ConfigIssue("extends", name, constraint, _told(chain))])
        issues.extend(_noted(issue, f"It comes from {name}.") for issue in [*repeated, *odd])
        found.append((name, hashlib.sha256(path.read_bytes()).hexdigest(), below))
        folder = path.parent
    return found


def _path_of(name: str, folder: Path, chain: Sequence[str]) -> Path:
    studies = shipped_studies()
    if name in studies:
        return studies[name].resolve()
    path = folder / name
    if path.suffix not in {".yaml", ".yml"} or not path.is_file():
        near = [found.name for found in path.parent.glob("*.y*ml")]
        constraint = f"the path of a .yaml file that exists, or a shipped study {sorted(studies)}"
        issue = ConfigIssue("extends", name, constraint, nearest(name, [*studies, *near]))
        raise InvalidConfigError([_noted(issue, _told([*chain, name]) if chain else "")])
    return path.resolve()


def _noted(issue: ConfigIssue, note: str) -> ConfigIssue:
    return replace(issue, hint=" ".join(filter(None, [issue.hint, note])))


def _told(chain: Sequence[str]) -> str:
    return f"The chain is: this file -> {' -> '.join(chain)}."


def _merged_documents(below: Document, above: Document) -> Document:
    """Sections (`storage` too) field by field, axes by name, anything else as a whole.

    A name is not inherited.
    """
    result = {key: value for key, value in below.items() if key not in {"name", "extends"}}
    for key, value in above.items():
        under = result.get(key)
        if key == "extends" or not (isinstance(value, dict) and isinstance(under, dict)):
            result[key] = value
        elif key in SECTIONS:
            result[key] = dict(merged({key: under}, {key: value})[key])
        elif key == "storage":
            result[key] = {**under, **value}
        elif key == "search":
            dropped = {path for path, axis in value.items() if axis is None and path in under}
            result[key] = {p: axis for p, axis in {**under, **value}.items() if p not in dropped}
        else:
            result[key] = value
    result.pop("extends", None)
    return result


def _in_vain(below: Document, above: Document) -> list[ConfigIssue]:
    """Fields that a file sets in vain, because an axis of what it extends varies them."""
    axes, kept = below.get("search"), above.get("search")
    if not isinstance(axes, dict):
        return []
    varied = {*axes} - {*(kept if isinstance(kept, dict) else {})}
    constraint = "to be left out, as what is extended varies it under `search`"
    return [
        ConfigIssue(path, value, constraint, f"Drop the axis with `search: {{{path}: null}}`.")
        for section in SECTIONS
        if isinstance(fields := above.get(section), dict)
        for field, value in fields.items()
        if (path := f"{section}.{field}") in varied
    ]


def _key_paths(document: Document) -> list[str]:
    """Paths of what is merged one by one: fields of sections, axes, other keys as a whole."""
    return [
        path
        for key, value in document.items()
        for path in (
            [f"{key}.{field}" for field in value]
            if isinstance(value, dict) and key in {*SECTIONS, "search", "storage"}
            else [key]
        )
    ]


def _leads_to(path: str, issue: str) -> bool:
    return issue == path or (issue.startswith(path) and issue[len(path)] in ".[")
