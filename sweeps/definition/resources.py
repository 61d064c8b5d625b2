"""Resources that each trial of a sweep reserves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.run import RunConfig
from clmethods.errors import refuse, require

UNITS_PER_GPU = 10_000
"""Ray counts amounts in ten-thousandths and cuts off further digits."""

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Resources that each trial reserves. They are not part of any stage key.

    The CPUs of a trial follow from `train.threads`, its device from `train.device`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    gpu: float | Literal["auto"] = 0.0
    """GPUs per trial: 0, a fraction (trials share a GPU), or a whole number. `auto` measures the
    GPU memory of one stage when the run starts, and sets the fraction from it."""
    gpu_type: str | tuple[str, ...] | None = None
    """Type of GPU, as the nodes are labeled (`ray.io/accelerator-type`): one value, or a list in
    order of preference. Null allows any type."""
    max_concurrent: int | None = None
    """Maximum number of trials at once. Null lets the resources decide."""

    def __post_init__(self) -> None:
        gpu, types, most = self.gpu, self.gpu_types, self.max_concurrent
        possible = isinstance(gpu, str) or 0 <= gpu <= 1 or (gpu > 1 and float(gpu).is_integer())
        countable = isinstance(gpu, str) or gpu <= 0 or gpu_units(gpu) >= 1
        refuse(
            [
                require(possible, "gpu", gpu, "0 to 1, or a whole number, or auto"),
                require(
                    countable or not possible,
                    "gpu",
                    gpu,
                    f"0, or {1 / UNITS_PER_GPU:g} or more",
                    "That is the smallest share of a GPU that Ray reserves.",
                ),
                require(self.gpu_type != (), "gpu_type", [], "null, a type, or one or more types"),
                *(
                    require(
                        _LABEL_VALUE.fullmatch(name) is not None,
                        "gpu_type",
                        name,
                        "the value of a node label, such as L4 or A100: up to 63 letters, digits, "
                        "-, _ and .",
                    )
                    for name in types
                ),
                require(
                    len(set(types)) == len(types), "gpu_type", self.gpu_type, "each type once"
                ),
                require(
                    not types or gpu != 0,
                    "gpu_type",
                    self.gpu_type,
                    "to be left out while resources.gpu is 0",
                    "Set resources.gpu, for example to 1 or auto.",
                ),
                require(most is None or most >= 1, "max_concurrent", most, "null, or 1 or more"),
            ]
        )

    @property
    def gpus(self) -> float | None:
        """GPUs per trial; None while `auto` is not decided."""
        return None if isinstance(self.gpu, str) else self.gpu

    @property
    def gpu_types(self) -> tuple[str, ...]:
        """Types of GPU in order of preference; empty allows any."""
        if self.gpu_type is None:
            return ()
        return (self.gpu_type,) if isinstance(self.gpu_type, str) else self.gpu_type


def gpu_units(amount: float) -> int:
    """Return an amount of GPUs or CPUs as Ray counts it."""
    return int(amount * UNITS_PER_GPU + 1e-6)  # 0.29 * 10000 is a little less than 2900


def trials_per_device(share: float) -> int:
    """Return how many trials fit on one GPU, for a share greater than 0 and at most 1."""
    return UNITS_PER_GPU // gpu_units(share)


def share_of(trials: int) -> float:
    """Return the largest share of a GPU with which so many trials, at most 100, fit on it."""
    return (UNITS_PER_GPU // trials) / UNITS_PER_GPU


def resource_warnings(resources: Resources, runs: Sequence[RunConfig]) -> list[str]:
    """Return sentences about resources that are valid, but probably unintended."""
    gpus, warnings = resources.gpus, list[str]()
    if gpus is not None and 0 < gpus < 1:
        fits = trials_per_device(gpus)
        unused = 1 - fits * gpus
        if unused > 0.05:  # a third is often written as 0.33 or 0.3
            warnings.append(
                f"resources.gpu {gpus:g}: {_trials(fits)} on a GPU, and {unused:.2g} of it stays "
                f"unused; {share_of(fits):g} gives each trial more memory, "
                f"{share_of(fits + 1):g} lets {fits + 1} fit"
            )
    if gpus is not None and gpus > 1:
        warnings.append(
            f"resources.gpu {gpus:g}: a trial trains on one GPU, the others stay unused"
        )
    if gpus and runs and all(run.train.device == "cpu" for run in runs):
        warnings.append(
            f"resources.gpu {gpus:g}: train.device is cpu in every run, so the reserved GPUs stay "
            "unused"
        )
    exact = sum(run.train.device == "cuda" and run.train.precision == "float32" for run in runs)
    if exact:
        warnings.append(
            f"train.precision is float32 in {exact} of {len(runs)} runs on a GPU: bfloat16 uses "
            "its faster products, with other stage keys"
        )
    return warnings


def _trials(count: int) -> str:
    return "1 trial fits" if count == 1 else f"{count} trials fit"
