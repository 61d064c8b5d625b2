"""Operators, functions and words of conditions under `where`, and their parts in messages."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

_MAX_SHOWN = 60
"""Maximum length of a part of a condition in a message."""

ORDERINGS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
CALLS: Mapping[str, Callable[..., Any]] = {"len": len, "min": min, "max": max, "abs": abs}
WORDS: Mapping[str, bool | None] = {
    "null": None,
    "true": True,
    "false": False,
}
"""Constants, as YAML spells them."""
ALLOWED = (
    "fields, values, ==, !=, <, <=, >, >=, in, not in, and, or, not, +, -, *, /, //, %, "
    + ", ".join(CALLS)
)
KIND_NOUNS: Mapping[str, str] = {
    "number": "a number",
    "list": "a list",
    "flag": "true or false",
    "mapping": "a mapping",
}
SIGNS: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}


def shown(node: ast.AST) -> str:
    """Return a part of a condition for messages."""
    text = ast.unparse(node)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def described(kinds: frozenset[str]) -> str:
    """Return kinds of values in words, such as `a list or a number`."""
    return " or ".join(KIND_NOUNS.get(kind, kind) for kind in sorted(kinds))
