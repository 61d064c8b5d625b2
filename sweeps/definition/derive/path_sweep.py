"""Path sweep: a sweep file for the missing configurations of an ablation path."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from clmethods.canonical import canonical_json
from sweeps.definition.space.ablation import PART
from sweeps.definition.space.axes import Axis
from sweeps.definition.sweep import Sweep

DROPPED = ("extends", "merged_from", "search", "where", "ablation", "baselines", "algorithm")
"""Keys of the original document that a path sweep replaces or omits."""


def path_document(
    sweep: Sweep,
    name: str,
    settings: Sequence[Mapping[str, object]],
    changes: Sequence[tuple[str, object, object]],
) -> dict[str, object]:
    """Return the document of a sweep over the settings of one path.

    `settings` are points of `sweep` (factors by path, choices by label, parts as `part.NAME`).
    Each of them differs from the previous one in a single factor. `changes` are these factors in
    order, with their values before and after. The document keeps sections, orders, seeds, readouts
    and objectives, so that stages on the same storage are reused.
    """
    values_by_path: dict[str, list[object]] = {}
    for setting in settings:
        for path, value in setting.items():
            values = values_by_path.setdefault(path, [])
            if value not in values:
                values.append(value)
    document = copy.deepcopy({k: v for k, v in sweep.document.items() if k not in DROPPED})
    document["name"] = name
    inner = {axis.path for choice in sweep.axes for o in choice.options for axis in o.axes}
    choices = [axis for axis in sweep.axes if axis.options and axis.path in values_by_path]
    search: dict[str, object] = {
        axis.path: _options(sweep.document["search"][axis.path], axis, values_by_path)
        for axis in choices
    }
    chosen = {axis.path for axis in choices}
    for path, values in values_by_path.items():
        if "." in path and not path.startswith(PART) and not (path in inner and chosen):
            search[path] = values
    document["search"] = search
    conditions = [
        f"{first} == {literal(reached)} or {second} == {literal(at)}"
        for (first, _, reached), (second, at, _) in pairwise(changes)
    ]
    ablation = sweep.document.get("ablation") or {}
    if any(path.startswith(PART) for path in values_by_path):
        document["ablation"] = copy.deepcopy(dict(ablation)) | {"plan": "factorial"}
        for part in ablation["parts"]:
            states = values_by_path.get(f"{PART}{part}", ["on"])
            if len(states) == 1:
                conditions.append(f"{PART}{part} == {literal(states[0])}")
    document["where"] = conditions
    plain: dict[str, object] = json.loads(json.dumps(document))
    return plain


def _options(
    written: Sequence[Mapping[str, Any]], axis: Axis, used: Mapping[str, list[object]]
) -> list[dict[str, Any]]:
    """Return the choices that occur in the settings, with their axes reduced to used values."""
    kept = []
    for option, written_option in zip(axis.options, written, strict=True):
        if option.label not in used[axis.path]:
            continue
        choice = copy.deepcopy(dict(written_option)) | {"label": option.label}
        paths = {inner.path.split(".")[-1]: inner.path for inner in option.axes}
        if paths:
            choice["search"] = {
                name: used.get(path, choice["search"].get(name, choice["search"].get(path)))
                for name, path in paths.items()
            }
        kept.append(choice)
    return kept


def literal(value: object) -> str:
    """Return a value as a condition spells it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(literal(item) for item in value)}]"
    return repr(value) if isinstance(value, str) else canonical_json(value)
