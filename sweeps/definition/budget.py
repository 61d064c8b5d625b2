"""What a sweep may spend before it stops by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clmethods.errors import finite, refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits on what a sweep trains itself; what it finds in the storage costs nothing.

    When one is reached no further stage is started; those that run are finished, so a limit may
    be passed by as many stages as run at once.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    gpu_hours: float | None = None
    """Hours of stages, times the GPUs that a trial reserves."""
    hours: float | None = None
    """Hours of stages, added up over all that ran at once."""
    stages: int | None = None
    """Stages that were trained."""
    trials: int | None = None
    """Trials of the sweep that finished, by whatever stages."""

    def __post_init__(self) -> None:
        limits = self.limits()
        refuse(
            [
                *finite(self),
                *(
                    require(most > 0, name, most, "greater than 0")
                    for name, most in limits.items()
                ),
            ]
        )

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        found = {
            "gpu_hours": self.gpu_hours,
            "hours": self.hours,
            "stages": self.stages,
            "trials": self.trials,
        }
        return {name: most for name, most in found.items() if most is not None}
