"""Reading of YAML and JSON files that contain a run or another mapping."""

from __future__ import annotations

from pathlib import Path

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.errors import refuse
from clmethods.strict_yaml import FileKind, parse_yaml, read_bytes

_KIND = FileKind(noun="a file in YAML or JSON", if_empty="It needs a mapping of sections.")


def read_mapping(file: Path, name: str = "FILE") -> dict[str, object]:
    """Return the mapping in a YAML or JSON file.

    Raises `InvalidConfigError` with all issues if the file cannot be read or parsed. `name` is the
    argument of the command that names the file.
    """
    try:
        data = read_bytes(file)
    except OSError as error:
        issue = ConfigIssue(name, str(file), "a file that can be read", f"{error.strerror}.")
        raise InvalidConfigError([issue]) from error
    content, issues = parse_yaml(data, str(file), _KIND)
    refuse(issues)
    if not isinstance(content, dict):
        raise InvalidConfigError([ConfigIssue(name, content, "a mapping of sections")])
    return content
