"""The points of the search space that an algorithm picks."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Literal

from clmethods.canonical import derive_seed
from clmethods.errors import refuse, require
from sweeps.definition.space.axes import Axis, every_axis

Point = dict[str, Any]
"""One value per axis, by dotted path."""

MAX_POINTS = 100_000
"""More configurations than that are a slip in the file; they would only be slow to refuse."""

MAX_PROPOSALS = 10_000
"""A search by a model looks at all that it knows for every proposal, so it stays small."""

BATCH = 8
"""How many proposals are trained before the model learns of any, unless the file says."""

LEARNING = ("tpe", "nsga2", "gp")
"""Algorithms that propose in batches; `sweeps.search` runs them."""

FAIR_DRAWS = 100
"""No share of rejected draws is judged by fewer, unless none may be rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """What a sweep file says under `algorithm`: how configurations are picked."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["grid", "random", "sobol", "tpe", "nsga2", "gp"] = "grid"
    """`grid`: every combination; `random`: independent draws; `sobol`: a scrambled net; `tpe`,
    `nsga2`, `gp`: Optuna's samplers, which learn from the batches before."""
    trials: int | None = None
    """Number of draws, for all but `grid`. Draws that coincide are trained once."""
    batch: int | None = None
    """For `tpe`, `nsga2` and `gp`: draws that are trained together before the next ones are
    proposed; for `nsga2` a generation. None is 8, or `trials` if that is less."""
    seed: int = 0
    """Which draws; a grid has none."""
    max_rejected: float = 0.9
    """Largest share of the draws that `where` may reject; each is replaced by a further one."""

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
                    "to be left out: a grid has as many as its values make",
                ),
                require(
                    not samples or (self.trials is not None and 1 <= self.trials <= most),
                    "trials",
                    self.trials,
                    f"1 to {most}",
                    f"Say how many configurations `{self.kind}` should draw."
                    if self.trials is None
                    else "",
                ),
                require(
                    self.learns or self.batch is None,
                    "batch",
                    self.batch,
                    f"to be left out: `{self.kind}` learns nothing between its draws",
                ),
                require(
                    not batches or self.least_batch <= (self.batch or 0) <= (self.trials or 0),
                    "batch",
                    self.batch,
                    f"{self.least_batch} to {self.trials}, the number of trials",
                    "A batch of `nsga2` is a generation, so it has parents to cross."
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
        """Whether later draws depend on what came of earlier ones."""
        return self.kind in LEARNING

    @property
    def least_batch(self) -> int:
        """The smallest batch that the algorithm can do with."""
        return 2 if self.kind == "nsga2" else 1

    @property
    def batch_size(self) -> int:
        """Draws per batch; the last one may have fewer."""
        return self.batch or min(BATCH, self.trials or BATCH)

    @property
    def most_draws(self) -> int:
        """How often may be drawn to find `trials` points that `where` accepts."""
        trials = self.trials or 0
        if self.max_rejected == 0.0:
            return trials
        return max(FAIR_DRAWS, math.ceil(round(trials / (1.0 - self.max_rejected), 6)))


def grid(axes: Sequence[Axis], trials: int, seed: int) -> list[Point]:
    """Every combination of the listed values; the last axis varies fastest."""
    size = _combinations(axes)
    constraint = f"at most {MAX_POINTS} combinations"
    refuse([require(size <= MAX_POINTS, "search", size, constraint, "Use `random` or `sobol`.")])
    return _grid(axes)


def random_search(axes: Sequence[Axis], trials: int, seed: int) -> list[Point]:
    """Independent uniform draws.

    Each draw has a seed of its own: more trials keep the first ones, and a further axis leaves
    the values on the others as they were.
    """

    def draw(index: int) -> Point:
        def fraction(path: str) -> float:
            return random.Random(derive_seed(seed, "space", "random", index, path)).random()

        return _assigned(axes, fraction)

    return [draw(index) for index in range(trials)]


def sobol(axes: Sequence[Axis], trials: int, seed: int) -> list[Point]:
    """The first points of a scrambled Sobol' net (Owen 1998): even in every axis and jointly.

    It is most even when `trials` is a power of 2. More trials keep the first ones.
    """
    if not axes:
        return [{}]
    import numpy as np
    from scipy.stats import qmc

    # Axes take their dimension by name, so that moving a line in the file changes nothing.
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
            {axis.path: value} | below
            for value in axis.values
            for below in (_grid(axis.option(value).axes) if axis.options else [{}])
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
    """The point at the given fractions of the axes, those below the options it picks included."""
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
"""(axes, trials, seed) to points, by the `kind` of the algorithm."""


def points(
    axes: Sequence[Axis], algorithm: Algorithm, accepts: Callable[[Point], bool]
) -> tuple[list[Point], int]:
    """(the points that the sweep trains, in a fixed order; how many were looked at for them).

    A draw that is not accepted is replaced by a further one, until `algorithm.most_draws`; fewer
    than `algorithm.trials` points mean that this bound was reached.
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
