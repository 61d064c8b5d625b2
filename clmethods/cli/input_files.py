"""Reading of YAML and JSON files that contain a run or another mapping."""

from __future__ import annotations

from pathlib import Path

import yaml

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.hidden_values import masked_text


def read_mapping(file: Path, name: str = "FILE") -> dict[str, object]:
    """Return the mapping in a YAML or JSON file.

    Raises `InvalidConfigError` under the path `name` if the file cannot be read or parsed.
    """
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        issue = ConfigIssue(name, str(file), "a file that can be read", f"{error.strerror}.")
        raise InvalidConfigError([issue]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = masked_text(" ".join(str(error).split()))  # it quotes the line
        raise InvalidConfigError(
            [ConfigIssue(name, str(file), f"YAML or JSON: {reason}")]
        ) from error
    if not isinstance(data, dict):
        raise InvalidConfigError([ConfigIssue(name, data, "a mapping of sections")])
    return data
