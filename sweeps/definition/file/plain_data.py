"""Strict conversion of YAML text and Python values to plain data, with an issue for the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from clmethods.errors import ConfigIssue, InvalidConfigError, nearest
from clmethods.hidden_values import HIDDEN, masked_text

MAX_DEPTH = 32
"""Maximum depth of nesting; an alias that contains itself would be nested infinitely."""
_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")


class _Loader(yaml.SafeLoader):
    """Safe YAML loader without dates, sets and binaries, which no field uses."""

    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: build
        for tag, build in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in _TAGS
    }


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if not tag.endswith((":timestamp", ":bool"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 also reads `on`, `off`, `yes` and `no` as booleans, but parts use `on` and `off`.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
# YAML 1.1 reads `5e-3` as text, because it has no decimal point. It is meant as a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(path: Path) -> tuple[Any, list[ConfigIssue]]:
    """Return the content of a file, and an issue for each repeated key.

    Raises:
        InvalidConfigError: If the file does not exist, is empty or is not valid YAML.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        near = [entry.name for entry in path.parent.glob("*.y*ml")]
        reason = error.strerror or str(error)
        raise _unreadable(path, reason, nearest(path.name, near)) from error
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise _unreadable(path, "an empty file", "It needs a `name` at least.")
        return loader.construct_document(node), _repeated_keys(node)
    except yaml.MarkedYAMLError as error:
        raise InvalidConfigError([_syntax_issue(path, text, error)]) from error
    except yaml.YAMLError as error:  # bytes that are not text
        raise _unreadable(path, "bytes that are not text", f"{error}".splitlines()[0]) from error
    except RecursionError as error:
        raise _unreadable(path, "nesting without end", "") from error
    finally:
        if loader is not None:
            loader.dispose()


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
            if isinstance(key, str):
                items[key] = plain(item, here, issues, depth + 1)
            else:
                hint = "Quote the key if it is a name."
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
    if value is None or isinstance(value, bool | int | float | str):
        return value
    issues.append(
        ConfigIssue(path, value, "text, a number, true, false, null, a list or a mapping")
    )
    return None


def _unreadable(path: Path, got: str, hint: str) -> InvalidConfigError:
    return InvalidConfigError([ConfigIssue(str(path), got, "a sweep file in YAML", hint)])


def _syntax_issue(path: Path, text: bytes, error: yaml.MarkedYAMLError) -> ConfigIssue:
    """Return the position and the line of a syntax error, with the message of the parser."""
    mark = error.problem_mark or error.context_mark
    lines = text.decode("utf-8", "replace").splitlines()
    line, column = (mark.line, mark.column) if mark else (0, 0)
    written = lines[line].strip() if line < len(lines) else ""
    reason = " ".join(part for part in (error.context, error.problem) if part)
    before = lines[line - 1] if 0 < line <= len(lines) else ""
    if HIDDEN in masked_text(written) or HIDDEN in masked_text(f"{before} {written}"):
        written = HIDDEN  # the parser quotes parts of the line too
        reason = re.sub(r"'.*'|\".*\"", HIDDEN, reason)
    where = f"{path}, line {line + 1}, column {column + 1}"
    return ConfigIssue(where, written, "well-formed YAML", f"{reason[:1].upper()}{reason[1:]}.")


def _repeated_keys(root: yaml.Node) -> list[ConfigIssue]:
    """Return an issue per repeated key; YAML forbids them, but PyYAML uses the last one."""
    issues: list[ConfigIssue] = []
    seen: set[int] = set()  # aliases make the nodes a graph

    def visit(node: yaml.Node, path: str) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for i, item in enumerate(node.value):
                visit(item, f"{path}[{i}]")
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, item in node.value:
                name = str(key.value)
                here = f"{path}.{name}" if path else name
                line = key.start_mark.line + 1
                if name in lines and isinstance(key, yaml.ScalarNode):
                    given = item.value if isinstance(item, yaml.ScalarNode) else "..."
                    first = lines[name]
                    hint = f"Line {line} repeats {'itself' if line == first else f'line {first}'}."
                    issues.append(ConfigIssue(here, given, "each key once", hint))
                lines.setdefault(name, line)
                visit(item, here)

    visit(root, "")
    return issues
