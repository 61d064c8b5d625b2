"""Base class of all errors, and those of a configuration: field, value, constraint and hint."""

from __future__ import annotations

import difflib
import errno
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from clmethods.hidden_values import printable

SHORTEST_PART = 3
"""Smallest length of a name that is suggested as a part of a longer one."""
NEARLY_EQUAL = 0.85
"""Similarity, as defined by `difflib`, above which a name is a misspelling of a choice."""


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """A field of a configuration with an invalid value."""

    path: str
    """Key path of the field, such as `method.rank`."""
    value: object
    """Value that was given. Messages replace what may be a secret; see `hidden_values`."""
    allowed: str
    """Constraint on the value, or the list of choices."""
    hint: str = ""
    """Advice on how to fix the issue; empty if the constraint is enough."""

    def __str__(self) -> str:
        given = _shortened_repr(printable(self.path, self.value))
        line = f"{self.path}: got {given}, allowed: {self.allowed}"
        return escaped(f"{line}. {self.hint}" if self.hint else line)

    def under(self, prefix: str) -> ConfigIssue:
        """Return the same issue with `prefix`, an enclosing section, before its path."""
        return replace(self, path=f"{prefix}.{self.path}" if self.path else prefix)


def _shortened_repr(value: object) -> str:
    try:
        given = repr(value)
    except ValueError:  # an integer with more digits than Python converts
        given = f"a {type(value).__name__}"
    return given if len(given) <= 90 else given[:87] + "..."


def escaped(text: str) -> str:
    """Return a text without characters that control a terminal; line breaks remain."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


class ClmethodsError(Exception):
    """Base class of the exceptions of `clmethods`, and of those of `sweeps`.

    The text of each is a message for users. A subclass has a built-in exception as a second base
    where callers may expect one.
    """


OWN_PACKAGES = frozenset({"clmethods", "sweeps"})

MACHINE_ERRNOS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENAMETOOLONG, errno.ESTALE),
    }
)
"""Error numbers of the operating system that no code of a program causes."""


def machine_error_text(error: BaseException) -> str | None:
    """Return one sentence about an error that the machine or its installation caused.

    None for all other errors, which may be faults of the program.
    """
    if isinstance(error, MemoryError):
        return "the machine has not enough memory for this; use a larger machine"
    if isinstance(error, ImportError):
        package = (error.name or "").split(".")[0]
        if not package or package in OWN_PACKAGES:
            return None
        if isinstance(error, ModuleNotFoundError):
            return f"the package {package!r} is not installed: pip install {package}"
        first = str(error).partition("\n")[0]
        return f"the package {package!r} cannot be imported: {first}; install it again"
    if isinstance(error, OSError) and error.errno in MACHINE_ERRNOS:
        place = f" ({escaped(str(error.filename))})" if error.filename is not None else ""
        return f"the operating system refuses a file: {error.strerror}{place}"
    return None


class InvalidConfigError(ClmethodsError, ValueError):
    """Exception for an invalid configuration; `issues` holds all of its issues."""

    def __init__(self, issues: Iterable[ConfigIssue]) -> None:
        self.issues: tuple[ConfigIssue, ...] = tuple(issues)
        super().__init__("\n".join(str(issue) for issue in self.issues))


def refuse(issues: Iterable[ConfigIssue | None]) -> None:
    """Raise one `InvalidConfigError` with all issues; an entry None is a check that passed."""
    failed = [issue for issue in issues if issue is not None]
    if failed:
        raise InvalidConfigError(failed)


def require(
    holds: bool, path: str, value: object, allowed: str, hint: str = ""
) -> ConfigIssue | None:
    """Return None if the constraint holds, else its issue."""
    return None if holds else ConfigIssue(path, value, allowed, hint)


def finite(config: object) -> list[ConfigIssue | None]:
    """Return the issues of float fields of a dataclass that are infinite or not a number."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}  # type: ignore[arg-type]
    return [
        require(math.isfinite(value), name, value, "a finite number")
        for name, value in values.items()
        if isinstance(value, float)
    ]


def nearest(name: str, choices: Sequence[str], cutoff: float = 0.6) -> str:
    """Return a sentence that suggests the closest choice, or an empty string.

    Preferred are choices that begin with the name, then choices that are nearly equal, then the
    first choice that contains it, and then the most similar choice.
    """
    if name in choices:  # callers build the hint before they check the constraint
        return ""
    lower = name.lower()
    longer = [choice for choice in choices if len(lower) >= SHORTEST_PART]
    found = [
        *(choice for choice in choices if choice.lower() == lower),
        *(choice for choice in longer if choice.lower().startswith(lower)),
        *difflib.get_close_matches(name, choices, n=1, cutoff=max(cutoff, NEARLY_EQUAL)),
        *(choice for choice in longer if lower in choice.lower()),
        *difflib.get_close_matches(name, choices, n=1, cutoff=cutoff),
    ]
    return f"Did you mean {found[0]!r}?" if found else ""
