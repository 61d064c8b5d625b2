"""`extends`: sweep files that define only the differences from another sweep file."""

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
    """File that a sweep extends, and the fields that come from it."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    source: str
    """Shipped study or path, as written under `extends`."""
    sha256: str
    """SHA-256 of the file, so that a later change can be detected."""
    fields: tuple[str, ...] = ()
    """Key paths of the merged document that come from this file."""


def extended(document: Document, folder: Path, issues: list[ConfigIssue]) -> Document:
    """Return the document merged into all files that it extends; nearer files take precedence.

    `extends` is replaced by `merged_from`, the layers from the farthest to the nearest. The result
    does not depend on the files. Relative paths start at `folder`. Invalid parts of the files are
    added to `issues`.

    Raises:
        InvalidConfigError: If a file is missing or the chain has a cycle. The message contains the
            chain.
    """
    layers = _layers(document, folder, issues)
    if len(layers) == 1:
        return document
    result: Document = {}
    origin: dict[str, int] = {}  # index of the layer by key path
    for i, (_, _, layer) in reversed([*enumerate(layers)]):
        issues.extend(_ineffective_fields(result, layer))
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
    """Add the file that an issue comes from to its hint, unless it is the sweep file itself."""
    origin = {path: layer.source for layer in layers for path in layer.fields}
    return [
        _with_note(issue, f"It comes from {source}.")
        if (source := next((o for p, o in origin.items() if _contains(p, issue.path)), None))
        else issue
        for issue in issues
    ]


def _layers(
    document: Document, folder: Path, issues: list[ConfigIssue]
) -> list[tuple[str, str, Document]]:
    """Return (name, checksum, document) of the sweep and the files it extends, nearest first."""
    layers = [("", "", document)]
    visited: list[Path] = []
    chain: list[str] = []
    while isinstance(name := layers[-1][2].get("extends"), str):
        path = _path_of(name, folder, chain)
        chain.append(name)
        if path in visited:
            constraint = "a file that does not extend itself, directly or through other files"
            raise InvalidConfigError(
                [ConfigIssue("extends", chain[0], constraint, _chain_note(chain))]
            )
        visited.append(path)
        try:
            data, repeated = read_yaml(path)
        except InvalidConfigError as error:
            raise InvalidConfigError(
                _with_note(f, _chain_note(chain)) for f in error.issues
            ) from error
        value_issues: list[ConfigIssue] = []
        extended_document = plain(data, "", value_issues)
        if not isinstance(extended_document, dict):
            constraint = "a file that contains a mapping of fields"
            raise InvalidConfigError(
                [ConfigIssue("extends", name, constraint, _chain_note(chain))]
            )
        issues.extend(
            _with_note(issue, f"It comes from {name}.") for issue in [*repeated, *value_issues]
        )
        layers.append((name, hashlib.sha256(path.read_bytes()).hexdigest(), extended_document))
        folder = path.parent
    return layers


def _path_of(name: str, folder: Path, chain: Sequence[str]) -> Path:
    studies = shipped_studies()
    if name in studies:
        return studies[name].resolve()
    path = folder / name
    if path.suffix not in {".yaml", ".yml"} or not path.is_file():
        near = [entry.name for entry in path.parent.glob("*.y*ml")]
        constraint = f"the path of a .yaml file that exists, or a shipped study {sorted(studies)}"
        issue = ConfigIssue("extends", name, constraint, nearest(name, [*studies, *near]))
        raise InvalidConfigError([_with_note(issue, _chain_note([*chain, name]) if chain else "")])
    return path.resolve()


def _with_note(issue: ConfigIssue, note: str) -> ConfigIssue:
    return replace(issue, hint=" ".join(filter(None, [issue.hint, note])))


def _chain_note(chain: Sequence[str]) -> str:
    return f"The chain is: this file -> {' -> '.join(chain)}."


def _merged_documents(below: Document, above: Document) -> Document:
    """Merge sections and `storage` field by field, axes by path, and replace all other keys.

    The name is not inherited.
    """
    result = {key: value for key, value in below.items() if key not in {"name", "extends"}}
    for key, value in above.items():
        inherited = result.get(key)
        if key == "extends" or not (isinstance(value, dict) and isinstance(inherited, dict)):
            result[key] = value
        elif key in SECTIONS:
            result[key] = dict(merged({key: inherited}, {key: value})[key])
        elif key == "storage":
            result[key] = {**inherited, **value}
        elif key == "search":
            dropped = {path for path, axis in value.items() if axis is None and path in inherited}
            result[key] = {
                p: axis for p, axis in {**inherited, **value}.items() if p not in dropped
            }
        else:
            result[key] = value
    result.pop("extends", None)
    return result


def _ineffective_fields(below: Document, above: Document) -> list[ConfigIssue]:
    """Return issues for fields that have no effect because an extended axis varies them."""
    axes, kept = below.get("search"), above.get("search")
    if not isinstance(axes, dict):
        return []
    varied = {*axes} - {*(kept if isinstance(kept, dict) else {})}
    constraint = "to be left out, as the extended file varies it under `search`"
    return [
        ConfigIssue(path, value, constraint, f"Drop the axis with `search: {{{path}: null}}`.")
        for section in SECTIONS
        if isinstance(fields := above.get(section), dict)
        for field, value in fields.items()
        if (path := f"{section}.{field}") in varied
    ]


def _key_paths(document: Document) -> list[str]:
    """Return the paths that are merged separately: fields of sections, axes, and other keys."""
    return [
        path
        for key, value in document.items()
        for path in (
            [f"{key}.{field}" for field in value]
            if isinstance(value, dict) and key in {*SECTIONS, "search", "storage"}
            else [key]
        )
    ]


def _contains(path: str, issue: str) -> bool:
    return issue == path or (issue.startswith(path) and issue[len(path)] in ".[")
