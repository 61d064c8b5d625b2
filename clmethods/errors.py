"""Errors in what a user wrote: all issues at once, each with field, value, constraint and hint."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from clmethods.hidden_values import printable


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One thing that is wrong with what a user wrote."""

    path: str
    """Key path of the field, such as `method.rank`."""
    value: object
    """What was given. Messages replace what may be a secret; see `hidden_values`."""
    allowed: str
    """What must hold, or the choices."""
    hint: str = ""
    """What to do about it, if the constraint alone does not say it."""

    def __str__(self) -> str:
        given = repr(printable(self.path, self.value))
        given = given if len(given) <= 90 else given[:87] + "..."
        line = f"{self.path}: got {given}, allowed: {self.allowed}"
        return f"{line}. {self.hint}" if self.hint else line

    def under(self, prefix: str) -> ConfigIssue:
        """The same issue seen from an enclosing section."""
        return replace(self, path=f"{prefix}.{self.path}" if self.path else prefix)


class InvalidConfigError(ValueError):
    """A configuration that is not valid; `issues` holds everything that is wrong with it."""

    def __init__(self, issues: Iterable[ConfigIssue]) -> None:
        self.issues: tuple[ConfigIssue, ...] = tuple(issues)
        super().__init__("\n".join(str(issue) for issue in self.issues))


def refuse(issues: Iterable[ConfigIssue | None]) -> None:
    """Raise one `InvalidConfigError` over the issues that are there; None entries are passes."""
    found = [issue for issue in issues if issue is not None]
    if found:
        raise InvalidConfigError(found)


def require(
    holds: bool, path: str, value: object, allowed: str, hint: str = ""
) -> ConfigIssue | None:
    """None if the constraint holds, else the issue."""
    return None if holds else ConfigIssue(path, value, allowed, hint)


def finite(config: object) -> list[ConfigIssue | None]:
    """Faults of the float fields of a dataclass that are infinite or not a number."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}  # type: ignore[arg-type]
    return [
        require(math.isfinite(value), name, value, "a finite number")
        for name, value in values.items()
        if isinstance(value, float)
    ]


def nearest(name: str, choices: Sequence[str], cutoff: float = 0.6) -> str:
    """A sentence that offers the closest choice, or nothing."""
    if name in choices:  # callers ask before they know whether the constraint holds
        return ""
    close = difflib.get_close_matches(name, choices, n=1, cutoff=cutoff)
    return f"Did you mean {close[0]!r}?" if close else ""
