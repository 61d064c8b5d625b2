"""Ablation plans: named parts of a method, each on or off, and which combinations are trained."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar, Literal

from clmethods.errors import ConfigIssue, refuse, require

PART = "part."
"""Prefix of a part's name among the factors of a configuration."""
MAX_PARTS = 10
"""2^10 configurations are the most that a factorial plan may ask for."""

Side = Literal["on", "off"]
State = dict[str, Side]
"""One combination: which parts are on, by `part.NAME`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One thing that can be taken away: fields by dotted path, with it and without it."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    on: dict[str, Any] = field(default_factory=dict)
    """What the part sets; empty leaves everything as the sections say."""
    off: dict[str, Any] = field(default_factory=dict)
    """What is set without the part."""

    def __post_init__(self) -> None:
        refuse([require(len(self.off) > 0, "off", self.off, "one or more fields")])


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationPlan:
    """What a sweep file says under `ablation`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    plan: Literal["leave_one_out", "add_one_in", "factorial"] | None = None
    """All parts on, and each one off; all off, and each one on; or every combination."""
    parts: dict[str, Part] = field(default_factory=dict)
    """The parts by name."""

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
        """Laws between the plan and its parts, for when each of them is sound."""
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
        """The combinations that are trained, in a fixed order; one empty state without a plan."""
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
        """A state in words, over the parts that act in it; nothing where there are none."""
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
