"""Budget of a sweep: limits after which it starts no further stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clmethods.errors import finite, refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits on what a sweep trains; stages that are already stored cost nothing.

    When a limit is reached, no further stage is started. Running stages are completed, so that a
    limit can be exceeded by the number of stages that run at the same time.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    gpu_hours: float | None = None
    """Hours of stages multiplied by the GPUs that a trial reserves."""
    hours: float | None = None
    """Hours of stages, summed over stages that run at the same time."""
    stages: int | None = None
    """Number of stages trained."""
    trials: int | None = None
    """Number of trials of the sweep that finished, with trained or stored stages."""

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
        """Return the limits that are set, by name."""
        limits = {
            "gpu_hours": self.gpu_hours,
            "hours": self.hours,
            "stages": self.stages,
            "trials": self.trials,
        }
        return {name: most for name, most in limits.items() if most is not None}
