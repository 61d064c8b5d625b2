"""Conditions under `where`, written in a small and safe subset of Python expressions."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from clmethods.errors import ConfigIssue, InvalidConfigError, refuse
from sweeps.definition.space.condition_kinds import KindChecker
from sweeps.definition.space.condition_values import Lookup, UndecidedError, value_of
from sweeps.definition.space.run_fields import FieldFacts

MAX_LENGTH = 1000
"""Maximum length of a condition in characters, which bounds the cost of parsing."""
MAX_DEPTH = 100
"""Maximum depth of the tree of a condition; a sum of n terms has depth n."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Valid condition of `where`."""

    place: str
    """Key path, such as `where[0]`."""
    text: str
    tree: ast.expr

    def holds(self, lookup: Lookup) -> bool:
        """Return True if a configuration meets the condition or lacks a field of it.

        Raises:
            InvalidConfigError: If values do not allow an answer, such as a comparison with null.
        """
        try:
            return bool(value_of(self.tree, lookup))
        except KeyError:
            return True
        except UndecidedError as error:
            constraint = "a condition that every configuration can decide"
            raise InvalidConfigError(
                [ConfigIssue(self.place, self.text, constraint, str(error))]
            ) from error


def parse_condition(text: str, place: str, fields: Mapping[str, FieldFacts]) -> Condition:
    """Return the condition that `text` defines.

    Names, operators and kinds of values are checked without a configuration. A comparison with a
    text that the field can never have is rejected too.

    Raises:
        InvalidConfigError: With all issues of the condition.
    """
    if len(text) > MAX_LENGTH:
        constraint = f"at most {MAX_LENGTH} characters in a condition"
        hint = f"It has {len(text)}. Write several conditions: all of them must be met."
        raise InvalidConfigError([ConfigIssue(place, text, constraint, hint)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = getattr(error, "msg", None) or "it is nested too deeply"
        constraint = "a condition such as `method.rank <= 16`"
        raise InvalidConfigError(
            [ConfigIssue(place, text, constraint, f"Python reports: {reason}.")]
        ) from error
    if _depth(tree) > MAX_DEPTH:
        constraint = f"at most {MAX_DEPTH} terms or operators inside each other"
        hint = "Write several conditions: all of them must be met."
        raise InvalidConfigError([ConfigIssue(place, text, constraint, hint)])
    checker = KindChecker(place, text, fields)
    if "flag" not in checker.kinds(tree):
        checker.issue("a condition, which is true or false", "It is a value: compare it.")
    refuse(dict.fromkeys(checker.issues))
    return Condition(place, text, tree)


def _depth(tree: ast.expr) -> int:
    """Return the depth of a tree, without recursion."""
    depth = 0
    level: list[ast.AST] = [tree]
    while level:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return depth
