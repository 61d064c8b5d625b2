"""How bad input is refused: every fault at once, each naming field, value, law and mend."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with what a user wrote."""

    path: str
    """Key path of the field, such as `method.rank`."""
    value: object
    """What was given."""
    allowed: str
    """What must hold, or the choices."""
    mend: str = ""
    """What to do about it, if the law alone does not say it."""

    def __str__(self) -> str:
        given = value if len(value := repr(self.value)) <= 90 else value[:87] + "..."
        line = f"{self.path}: got {given}, allowed: {self.allowed}"
        return f"{line}. {self.mend}" if self.mend else line

    def under(self, prefix: str) -> Fault:
        """The same fault seen from an enclosing section."""
        return replace(self, path=f"{prefix}.{self.path}" if self.path else prefix)


class InvalidConfigError(ValueError):
    """A configuration that breaks its own laws; `faults` holds all of them."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def refuse(faults: Iterable[Fault | None]) -> None:
    """Raise one `InvalidConfigError` over the faults that are there; None entries are passes."""
    found = [fault for fault in faults if fault is not None]
    if found:
        raise InvalidConfigError(found)


def require(holds: bool, path: str, value: object, allowed: str, mend: str = "") -> Fault | None:
    """None if the law holds, else its fault."""
    return None if holds else Fault(path, value, allowed, mend)


def finite(config: object) -> list[Fault | None]:
    """Faults of the float fields of a dataclass that are infinite or not a number."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}  # type: ignore[arg-type]
    return [
        require(math.isfinite(value), name, value, "a finite number")
        for name, value in values.items()
        if isinstance(value, float)
    ]


def nearest(name: str, choices: Sequence[str], cutoff: float = 0.6) -> str:
    """A sentence that offers the closest choice, or nothing."""
    if name in choices:  # laws ask before they know that they hold
        return ""
    close = difflib.get_close_matches(name, choices, n=1, cutoff=cutoff)
    return f"Did you mean {close[0]!r}?" if close else ""
