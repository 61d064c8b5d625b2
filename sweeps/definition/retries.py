"""Retries of a trial that lost its worker, per kind of cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Limits on how often a trial continues after it lost its worker, per kind of loss.

    A trial continues from its last stored stage. Errors of the run itself, such as a loss that is
    not finite, are deterministic and never retried. A storage that cannot be reached uses no
    retry.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    worker_failures: int = 3
    """Number of worker processes that died or ran out of memory."""
    node_losses: int = 30
    """Number of nodes that failed or could not be reached."""
    preemptions: int = 300
    """Number of terminated workers, and of nodes that their provider took away."""

    def __post_init__(self) -> None:
        limits = {
            "worker_failures": self.worker_failures,
            "node_losses": self.node_losses,
            "preemptions": self.preemptions,
        }
        refuse([require(most >= 0, name, most, "0 or more") for name, most in limits.items()])
