"""Ablation plans: named parts of a method that are on or off, and the combinations to train."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import ClassVar, Literal

from clmethods.errors import ConfigIssue, refuse, require

PART = "part."
"""Prefix of part names among the factors of a configuration."""
MAX_PARTS = 10
"""Maximum number of parts; a factorial plan of 10 parts has 2^10 configurations."""

Side = Literal["on", "off"]
State = dict[str, Side]
"""Combination of parts: `on` or `off` by `part.NAME`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Part of a method that can be removed: fields by dotted path, with and without the part."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    on: dict[str, object] = field(default_factory=dict)
    """Fields to set with the part; empty uses the sections unchanged."""
    off: dict[str, object] = field(default_factory=dict)
    """Fields to set without the part."""

    def __post_init__(self) -> None:
        refuse([require(len(self.off) > 0, "off", self.off, "one or more fields")])


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationPlan:
    """Section `ablation` of a sweep file."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    plan: Literal["leave_one_out", "add_one_in", "factorial"] | None = None
    """`leave_one_out`: all parts on, and each one off. `add_one_in`: all parts off, and each one
    on. `factorial`: all combinations."""
    parts: dict[str, Part] = field(default_factory=dict)
    """Parts by name."""

    def __post_init__(self) -> None:
        constraint = "a name of letters, digits and _, so that `where` can use it"
        refuse(
            require(
                name.isidentifier() and name.isascii() and not keyword.iskeyword(name),
                f"parts.{name}",
                name,
                constraint,
            )
            for name in self.parts
        )

    def issues(self) -> list[ConfigIssue | None]:
        """Return issues between the plan and its parts, given that the parts are valid."""
        names, constraint = list(self.parts), "one of leave_one_out, add_one_in and factorial"
        return [
            require(self.plan is not None or not names, "plan", self.plan, constraint),
            require(
                self.plan is None or 1 <= len(names) <= MAX_PARTS,
                "parts",
                names,
                f"1 to {MAX_PARTS} named parts",
            ),
        ]

    def states(self) -> list[State]:
        """Return the combinations to train in a fixed order; one empty state without a plan."""
        names = [f"{PART}{name}" for name in self.parts]
        full: State = dict.fromkeys(names, "on")
        bare: State = dict.fromkeys(names, "off")
        match self.plan:
            case "leave_one_out":
                return [full, *({**full, name: "off"} for name in names)]
            case "add_one_in":
                return [bare, *({**bare, name: "on"} for name in names)]
            case "factorial":
                sides: tuple[Side, ...] = ("on", "off")
                every = product(sides, repeat=len(names))
                return [dict(zip(names, combination, strict=True)) for combination in every]
        return [{}]

    def label(self, state: Mapping[str, str]) -> str:
        """Return the label of a state, over the parts that act in it; empty without parts."""
        on = [name.removeprefix(PART) for name, side in state.items() if side == "on"]
        off = [name.removeprefix(PART) for name, side in state.items() if side == "off"]
        if not state:
            return ""
        if not off:
            return "full"
        if self.plan == "add_one_in":
            return f"only {'+'.join(on)}" if on else "bare"
        if len(off) == 1:
            return f"without {off[0]}"
        return f"with {'+'.join(on)}" if on else "bare"
