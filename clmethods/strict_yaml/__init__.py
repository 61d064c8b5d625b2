"""YAML files of the user and of the program: one strict reader, and a writer that fits it.

The reader is stricter than PyYAML. `docs/data.md` lists the differences under "YAML files".
"""

from clmethods.strict_yaml.document_builder import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_KEYS,
    MAX_NODES,
    FileKind,
)
from clmethods.strict_yaml.parsing import MAX_BYTES, parse_yaml, read_bytes
from clmethods.strict_yaml.writing import yaml_text

__all__ = [
    "MAX_BYTES",
    "MAX_CHARACTERS",
    "MAX_DEPTH",
    "MAX_KEYS",
    "MAX_NODES",
    "FileKind",
    "parse_yaml",
    "read_bytes",
    "yaml_text",
]
