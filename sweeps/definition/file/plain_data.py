"""Sweep files and Python values as plain data, with an issue for each part that is not plain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from clmethods.errors import ConfigIssue, InvalidConfigError, nearest
from clmethods.strict_yaml import MAX_DEPTH, FileKind, parse_yaml, read_bytes
from clmethods.strict_yaml.scalars import ScalarError, checked_text

SWEEP_FILE = FileKind(noun="a sweep file in YAML", if_empty="It needs a `name` at least.")


def read_yaml(path: Path) -> tuple[Any, list[ConfigIssue]]:
    """Return the content of a file, and an issue for each invalid key or value in it.

    Raises:
        InvalidConfigError: If the file does not exist, is empty, too large or not valid YAML.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        near = [entry.name for entry in path.parent.glob("*.y*ml")]
        reason = error.strerror or str(error)
        issue = ConfigIssue(str(path), reason, SWEEP_FILE.noun, nearest(path.name, near))
        raise InvalidConfigError([issue]) from error
    return parse_yaml(data, str(path), SWEEP_FILE)


def plain(value: Any, path: str, issues: list[ConfigIssue], depth: int = 0) -> Any:
    """Return mappings, lists and dataclasses as dicts and lists.

    Invalid values are added to `issues` and become None, so that the rest can be checked.
    """
    if depth > MAX_DEPTH:
        issues.append(ConfigIssue(path, "...", f"nesting of at most {MAX_DEPTH} levels"))
        return None
    if is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, Mapping):
        items: dict[str, Any] = {}
        for key, item in value.items():
            here = f"{path}.{key}" if path else f"{key}"
            if isinstance(key, str) and key and key.isprintable():
                items[key] = plain(item, here, issues, depth + 1)
            else:
                hint = "" if isinstance(key, str) else "Quote the key if it is a name."
                issues.append(ConfigIssue(here, key, "a name as key", hint))
        return items
    if isinstance(value, list | tuple):
        return [plain(item, f"{path}[{i}]", issues, depth + 1) for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        issues.append(ConfigIssue(path, value, "a finite number"))
        return None
    if isinstance(value, int) and value.bit_length() > 63:
        issues.append(ConfigIssue(path, value, "a number of at most 63 bits"))
        return None
    if isinstance(value, str):
        try:
            return checked_text(value)
        except ScalarError as error:
            issues.append(ConfigIssue(path, value, error.allowed, error.hint))
            return None
    if value is None or isinstance(value, bool | int | float):
        return value
    issues.append(
        ConfigIssue(path, value, "text, a number, true, false, null, a list or a mapping")
    )
    return None
