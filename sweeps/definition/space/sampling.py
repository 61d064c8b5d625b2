"""Sampling of the search space: grid, random and Sobol' points; options of the algorithms."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Literal

from clmethods.canonical import derive_seed
from clmethods.errors import refuse, require
from sweeps.definition.space.axes import Axis, every_axis

Point = dict[str, object]
"""Values of the axes, by dotted path."""

MAX_POINTS = 100_000
"""Maximum number of configurations; a larger number is probably a mistake in the file."""

MAX_PROPOSALS = 10_000
"""Maximum number of proposals of a model, whose cost per proposal grows with the history."""

BATCH = 8
"""Default number of proposals that are trained before their results are reported to the model."""

LEARNING = ("tpe", "nsga2", "gp")
"""Algorithms with a model, which propose in batches; `sweeps.search` runs them."""

FAIR_DRAWS = 100
"""Minimum number of draws before the share of rejected draws is judged, unless none may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """Section `algorithm` of a sweep file: selection of configurations."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["grid", "random", "sobol", "tpe", "nsga2", "gp"] = "grid"
    """`grid`: all combinations. `random`: independent draws. `sobol`: a scrambled Sobol' sequence.
    `tpe`, `nsga2`, `gp`: Optuna's samplers, which use the results of previous batches."""
    trials: int | None = None
    """Number of draws, for all algorithms except `grid`. Equal draws are trained once."""
    batch: int | None = None
    """For `tpe`, `nsga2` and `gp`: number of draws that are trained before the next ones are
    proposed; for `nsga2` the size of a generation. Null: 8, or `trials` if it is smaller."""
    seed: int = 0
    """Seed of the draws; not used by a grid."""
    max_rejected: float = 0.9
    """Maximum share of draws that `where` may reject; each rejected draw is replaced."""

    def __post_init__(self) -> None:
        samples = self.kind != "grid"
        most = MAX_PROPOSALS if self.learns else MAX_POINTS
        batches = self.learns and self.trials is not None and self.batch is not None
        refuse(
            [
                require(
                    samples or self.trials is None,
                    "trials",
                    self.trials,
                    "to be left out: the values of a grid determine the number",
                ),
                require(
                    not samples or (self.trials is not None and 1 <= self.trials <= most),
                    "trials",
                    self.trials,
                    f"1 to {most}",
                    f"Set the number of configurations that `{self.kind}` draws."
                    if self.trials is None
                    else "",
                ),
                require(
                    self.learns or self.batch is None,
                    "batch",
                    self.batch,
                    f"to be left out: `{self.kind}` does not use results of earlier draws",
                ),
                require(
                    not batches or self.least_batch <= (self.batch or 0) <= (self.trials or 0),
                    "batch",
                    self.batch,
                    f"{self.least_batch} to {self.trials}, the number of trials",
                    "A batch of `nsga2` is a generation and needs two parents for crossover."
                    if self.least_batch > (self.batch or 0)
                    else "",
                ),
                require(
                    0.0 <= self.max_rejected < 1.0,
                    "max_rejected",
                    self.max_rejected,
                    "at least 0 and below 1",
                ),
            ]
        )

    @property
    def learns(self) -> bool:
        """True if later draws depend on the results of earlier ones."""
        return self.kind in LEARNING

    @property
    def least_batch(self) -> int:
        """Minimum batch size of the algorithm."""
        return 2 if self.kind == "nsga2" else 1

    @property
    def batch_size(self) -> int:
        """Number of draws per batch; the last batch can be smaller."""
        return self.batch or min(BATCH, self.trials or BATCH)

    @property
    def most_draws(self) -> int:
        """Maximum number of draws to find `trials` points that `where` accepts."""
        trials = self.trials or 0
        if self.max_rejected == 0.0:
            return trials
        return max(FAIR_DRAWS, math.ceil(round(trials / (1.0 - self.max_rejected), 6)))


def grid(axes: Sequence[Axis], trials: int, seed: int) -> list[Point]:
    """Return all combinations of the listed values; the last axis varies fastest."""
    size = _combinations(axes)
    constraint = f"at most {MAX_POINTS} combinations"
    refuse([require(size <= MAX_POINTS, "search", size, constraint, "Use `random` or `sobol`.")])
    return _grid(axes)


def random_search(axes: Sequence[Axis], trials: int, seed: int) -> list[Point]:
    """Return independent uniform draws.

    Each draw has a separate seed per axis: more trials start with the same draws, and an
    additional axis does not change the values of the others.
    """

    def draw(index: int) -> Point:
        def fraction(path: str) -> float:
            return random.Random(derive_seed(seed, "space", "random", index, path)).random()

        return _assigned(axes, fraction)

    return [draw(index) for index in range(trials)]


def sobol(axes: Sequence[Axis], trials: int, seed: int) -> list[Point]:
    """Return the first points of a scrambled Sobol' sequence (Owen 1998).

    The points are evenly distributed in each axis and jointly, most evenly if `trials` is a power
    of 2. More trials start with the same points.
    """
    if not axes:
        return [{}]
    import numpy as np
    from scipy.stats import qmc

    # Axes are assigned to dimensions by name, so that their order in the file does not matter.
    paths = sorted({axis.path for axis in every_axis(axes)})
    generator = np.random.default_rng(derive_seed(seed, "space", "sobol", *paths))
    net = qmc.Sobol(d=len(paths), scramble=True, seed=generator)
    draws = net.random_base2((trials - 1).bit_length())[:trials]  # (trials, paths)
    return [
        _assigned(axes, dict(zip(paths, row, strict=True)).__getitem__) for row in draws.tolist()
    ]


def _grid(axes: Sequence[Axis]) -> list[Point]:
    along = [
        [
            {axis.path: value} | inner_point
            for value in axis.values
            for inner_point in (_grid(axis.option(value).axes) if axis.options else [{}])
        ]
        for axis in axes
    ]
    return [{k: v for part in parts for k, v in part.items()} for parts in product(*along)]


def _combinations(axes: Sequence[Axis]) -> int:
    return math.prod(
        sum(_combinations(option.axes) for option in axis.options) or len(axis.values)
        for axis in axes
    )


def _assigned(axes: Sequence[Axis], fraction: Callable[[str], float]) -> Point:
    """Return the point at the given fractions of the axes, including those of chosen options."""
    point: Point = {}
    for axis in axes:
        value = point[axis.path] = axis.at(fraction(axis.path))
        if axis.options:
            point |= _assigned(axis.option(value).axes, fraction)
    return point


ALGORITHMS: dict[str, Callable[[Sequence[Axis], int, int], list[Point]]] = {
    "grid": grid,
    "random": random_search,
    "sobol": sobol,
}
"""Functions from (axes, trials, seed) to points, by the `kind` of the algorithm."""


def points(
    axes: Sequence[Axis], algorithm: Algorithm, accepts: Callable[[Point], bool]
) -> tuple[list[Point], int]:
    """Return the points to train in a fixed order, and the number of points that were examined.

    A point that is not accepted is replaced by a further draw, up to `algorithm.most_draws`. Fewer
    than `algorithm.trials` points mean that this limit was reached.
    """
    draw, requested = ALGORITHMS[algorithm.kind], algorithm.trials or 0
    count = requested
    while True:
        drawn = draw(axes, count, algorithm.seed)
        kept = [i for i, point in enumerate(drawn) if accepts(point)]
        if algorithm.kind != "grid" and len(kept) >= min(requested, len(drawn)):
            kept = kept[:requested]
            return [drawn[i] for i in kept], kept[-1] + 1
        if algorithm.kind == "grid" or count >= algorithm.most_draws:
            return [drawn[i] for i in kept], len(drawn)
        count = min(2 * count, algorithm.most_draws)
