"""The search space: axes over fields of a run, and the points that an algorithm picks."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Literal

from clmethods.config.canonical import derive_seed
from clmethods.config.faults import Fault, InvalidConfigError, refuse, require

Point = dict[str, Any]
"""One value per axis, by dotted path."""

MAX_POINTS = 100_000
"""More configurations than that are a slip in the file; they would only be slow to refuse."""
SIGNIFICANT_DIGITS = 6
"""Sampled values are rounded to this, so that what a report prints can be typed again."""
_RANGES = ("uniform", "log", "integer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One field that varies: over listed values, or over a range between two ends."""

    path: str
    """Dotted path of the field, such as `method.rank`."""
    scale: Literal["list", "uniform", "log", "integer"] = "list"
    values: tuple[Any, ...] = ()
    """The listed values; for a range its two ends, both included."""

    @property
    def varies(self) -> bool:
        """Whether the axis tells configurations apart."""
        return self.scale != "list" or len(self.values) > 1

    def probes(self) -> tuple[tuple[str, Any], ...]:
        """(key path in the sweep file, value) of everything that the run must accept."""
        inside = "" if self.scale == "list" else f".{self.scale}"
        return tuple((f"search.{self.path}{inside}[{i}]", v) for i, v in enumerate(self.values))

    def at(self, fraction: float) -> Any:
        """The value at `fraction` in [0, 1) of the axis; listed values share it equally."""
        if self.scale == "list":
            return self.values[min(int(fraction * len(self.values)), len(self.values) - 1)]
        low, high = self.values
        if self.scale == "integer":
            return min(low + int(fraction * (high - low + 1)), high)
        if self.scale == "log":
            value = math.exp(math.log(low) + fraction * (math.log(high) - math.log(low)))
        else:
            value = low + fraction * (high - low)
        rounded = float(f"{value:.{SIGNIFICANT_DIGITS}g}")
        return min(max(rounded, low), high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """What a sweep file says under `algorithm`: how configurations are picked."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["grid", "random", "sobol"] = "grid"
    """`grid`: every combination; `random`: independent draws; `sobol`: a scrambled net."""
    trials: int | None = None
    """Number of draws, for `random` and `sobol`. Draws that coincide are trained once."""
    seed: int = 0
    """Which draws; a grid has none."""

    def __post_init__(self) -> None:
        samples = self.kind != "grid"
        refuse(
            [
                require(
                    samples or self.trials is None,
                    "trials",
                    self.trials,
                    "to be left out: a grid has as many as its values make",
                ),
                require(
                    not samples or (self.trials is not None and 1 <= self.trials <= MAX_POINTS),
                    "trials",
                    self.trials,
                    f"1 to {MAX_POINTS}",
                    f"Say how many configurations `{self.kind}` should draw."
                    if self.trials is None
                    else "",
                ),
            ]
        )


def parse_axis(path: str, written: Any, kind: str | None) -> Axis:
    """The axis that the sweep file declares at `search.PATH`.

    `kind` is the algorithm, None if it is not known. Raises `InvalidConfigError`.
    """
    here = f"search.{path}"
    if isinstance(written, Mapping):
        return _parse_range(path, written, kind)
    refuse(
        [
            require(
                isinstance(written, list) and len(written) > 0,
                here,
                written,
                "a list of one or more values, or a range such as {log: [0.001, 1]}",
                "Put a single value into the section of its field instead."
                if isinstance(written, bool | int | float | str)
                else "",
            )
        ]
    )
    return Axis(path=path, values=tuple(written))


def _parse_range(path: str, written: Mapping[str, Any], kind: str | None) -> Axis:
    here = f"search.{path}"
    scale, ends = next(iter(written.items()), ("", None))
    if len(written) != 1 or scale not in _RANGES:
        law = f"one of {list(_RANGES)} with its two ends, such as {{uniform: [0, 1]}}"
        raise InvalidConfigError([Fault(here, written, law)])
    here = f"{here}.{scale}"
    numbers = int if scale == "integer" else int | float
    if (
        not isinstance(ends, list)
        or len(ends) != 2
        or not all(isinstance(end, numbers) and not isinstance(end, bool) for end in ends)
    ):
        noun = "whole numbers" if scale == "integer" else "numbers"
        raise InvalidConfigError([Fault(here, ends, f"[low, high], two {noun}")])
    low, high = ends
    refuse(
        [
            require(low < high, here, ends, "[low, high] with low below high"),
            require(scale != "log" or low > 0, here, ends, "ends greater than 0 on a log scale"),
            require(
                kind != "grid",
                here,
                ends,
                "a list of values, as the algorithm is `grid`",
                "Ranges need `algorithm: {kind: sobol, trials: 32}`, or `random`.",
            ),
        ]
    )
    if scale == "integer":
        return Axis(path=path, scale="integer", values=(low, high))
    return Axis(
        path=path, scale="log" if scale == "log" else "uniform", values=(float(low), float(high))
    )


def grid(axes: Sequence[Axis], trials: int, seed: int) -> list[Point]:
    """Every combination of the listed values; the last axis varies fastest."""
    size = math.prod(len(axis.values) for axis in axes)
    law = f"at most {MAX_POINTS} combinations"
    refuse([require(size <= MAX_POINTS, "search", size, law, "Use `random` or `sobol`.")])
    paths = [axis.path for axis in axes]
    return [dict(zip(paths, values, strict=True)) for values in product(*(a.values for a in axes))]


def random_search(axes: Sequence[Axis], trials: int, seed: int) -> list[Point]:
    """Independent uniform draws.

    Each draw has a seed of its own: more trials keep the first ones, and a further axis leaves
    the values on the others as they were.
    """

    def fraction(index: int, path: str) -> float:
        return random.Random(derive_seed(seed, "space", "random", index, path)).random()

    return [{axis.path: axis.at(fraction(i, axis.path)) for axis in axes} for i in range(trials)]


def sobol(axes: Sequence[Axis], trials: int, seed: int) -> list[Point]:
    """The first points of a scrambled Sobol' net (Owen 1998): even in every axis and jointly.

    It is most even when `trials` is a power of 2. More trials keep the first ones.
    """
    if not axes:
        return [{}]
    import numpy as np
    from scipy.stats import qmc

    # Axes take their dimension by name, so that moving a line in the file changes nothing.
    paths = sorted(axis.path for axis in axes)
    generator = np.random.default_rng(derive_seed(seed, "space", "sobol", *paths))
    net = qmc.Sobol(d=len(axes), scramble=True, seed=generator)
    draws = net.random_base2((trials - 1).bit_length())[:trials]  # (trials, axes)
    column = {path: draws[:, i].tolist() for i, path in enumerate(paths)}
    return [{a.path: a.at(column[a.path][i]) for a in axes} for i in range(trials)]


ALGORITHMS: dict[str, Callable[[Sequence[Axis], int, int], list[Point]]] = {
    "grid": grid,
    "random": random_search,
    "sobol": sobol,
}
"""(axes, trials, seed) to points, by the `kind` of the algorithm."""


def points(axes: Sequence[Axis], algorithm: Algorithm) -> list[Point]:
    """The points that the sweep trains, in a fixed order."""
    return ALGORITHMS[algorithm.kind](axes, algorithm.trials or 0, algorithm.seed)
