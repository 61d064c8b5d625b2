"""Writer of YAML that `parse_yaml` and PyYAML read alike."""

from __future__ import annotations

from typing import Any

import yaml

from clmethods.strict_yaml.scalars import ScalarError, plain_value


class _Dumper(yaml.SafeDumper):
    """Safe YAML dumper that also quotes the texts that only `parse_yaml` reads as numbers."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return True: a copy of a value is easier to read and to edit than an alias."""
        return True


def _represented_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    quotes = None
    try:
        if not isinstance(plain_value(text), str):
            quotes = "'"
    except ScalarError:
        quotes = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=quotes)


_Dumper.add_representer(str, _represented_text)


def yaml_text(document: Any, *, width: int = 80) -> str:
    """Return plain data as YAML in block style, in the order of its fields."""
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width
    )
    return text
