"""How predictions are read from a trained chain; training never depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.canonical import short_id
from clmethods.config.faults import refuse, require

READOUT_VERSION = 1
"""Bumped when a readout's meaning changes: its evaluations are then computed anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutConfig:
    """Routing of a test image to a snapshot (method.md section 5)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    routing: Literal["last", "instance", "oracle"] = "last"
    """`last` snapshot for all, `instance`: inferred per image, `oracle`: the true task."""
    metric: Literal["cosine", "euclid"] = "cosine"
    """Distance to the class means of first-snapshot features, for task-ID inference."""

    def __post_init__(self) -> None:
        refuse(
            [
                require(
                    self.routing == "instance" or self.metric == "cosine",
                    "metric",
                    self.metric,
                    "to be left out unless routing is `instance`",
                )
            ]
        )

    @property
    def readout_id(self) -> str:
        """Readable and unique: `last`, `instance-cosine`, `oracle`."""
        return f"instance-{self.metric}" if self.routing == "instance" else self.routing

    @property
    def fingerprint(self) -> str:
        """Part of the key under which evaluations of a stage are stored."""
        return short_id({"readout": self, "version": READOUT_VERSION})
