"""Coverage of `mean_interval` for bounded, skewed, missing and collapsed values.

Used by `coverage.py`. Each case draws values with a known mean, asks for the interval of the mean
over orders and seeds as the commands do, and counts on which side it misses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from sweeps.statistics.intervals import iqm_interval, mean_interval

Values = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Values]


class Rates(NamedTuple):
    """Shares of draws."""

    covers: float
    too_high: float
    """Lower end above the truth."""
    too_low: float
    """Upper end below the truth."""
    none: float
    """No interval; the other shares are of the draws with one."""


@dataclass(frozen=True)
class Case:
    """Distribution of the values of one configuration."""

    name: str
    designs: tuple[tuple[int, int], ...]
    draw: Draw
    truth: float
    assumed: bool
    """True if the interval is claimed to hold for such values."""
    fractions: bool = False
    missing: int = 0
    """Runs removed at random."""
    robust: bool = False
    """True for the interquartile mean in place of the mean."""


def effects(order: float, seed: float, residual: float, skewed: bool = False) -> Draw:
    """Return a draw of crossed effects with the given standard deviations, of mean 0."""

    def draw(rng: np.random.Generator, i: int, j: int) -> Values:
        def part(*shape: int) -> Values:
            raw = 1.0 - rng.standard_exponential(shape) if skewed else rng.standard_normal(shape)
            return np.asarray(raw)

        return np.asarray(order * part(i, 1) + seed * part(1, j) + residual * part(i, j))

    return draw


def accuracies(median_logit: float, order: float, seed: float, residual: float) -> Draw:
    """Return a draw of accuracies whose logits have crossed normal effects."""
    crossed = effects(order, seed, residual)
    return lambda rng, i, j: np.asarray(expit(median_logit + crossed(rng, i, j)))


def mean_accuracy(median_logit: float, *sizes: float) -> float:
    """Return the mean of `accuracies`."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    size = float(np.sqrt(sum(s**2 for s in sizes)))
    return float((weights * expit(median_logit + size * nodes)).sum() / weights.sum())


def collapsing(rng: np.random.Generator, i: int, j: int) -> Values:
    """Draw values of which one order in ten loses three standard deviations."""
    return np.asarray(0.3 - 3.0 * (rng.random((i, 1)) < 0.1) + effects(0.3, 0.3, 1.0)(rng, i, j))


def cases() -> Iterator[Case]:
    """Yield the cases of the table, those within the assumptions first."""
    crossed = ((3, 3), (5, 3), (10, 3), (5, 5))
    for sizes in ((0.5, 0.2, 0.2), (0.2, 0.8, 0.3), (0.2, 0.2, 0.6)):
        for level in (2.3, 3.2):
            truth = mean_accuracy(level, *sizes)
            name = f"accuracy of {truth:.2f}, logits vary by {sizes}"
            yield Case(name, crossed, accuracies(level, *sizes), truth, True, fractions=True)
    for missing in (1, 2):
        sizes = (1.0, 1.0, 1.0)
        yield Case(f"{missing} missing", crossed, effects(*sizes), 0.0, True, missing=missing)
    yield Case("1 missing", ((2, 2),), effects(1.0, 1.0, 1.0), 0.0, True, missing=1)
    for name, sizes in (("order", (1.0, 0.1, 0.3)), ("residual", (0.0, 0.0, 1.0))):
        draw = effects(*sizes, skewed=True)
        yield Case(f"exponential effects of {name}", crossed, draw, 0.0, False)
    yield Case("one order in ten collapses", crossed, collapsing, 0.0, False)
    yield Case("the same, interquartile mean", crossed, collapsing, 0.3, False, robust=True)
    yield Case("only one factor varied", ((5, 1), (1, 5)), effects(1.0, 1.0, 1.0), 0.0, False)


def rates(case: Case, design: tuple[int, int], draws: int, seed: int = 0) -> Rates:
    """Return the rates of one case and design."""
    rng = np.random.default_rng([seed, *design])
    i, j = design
    orders = [o for o, _ in product(range(i), range(j))]
    seeds = [s for _, s in product(range(i), range(j))]
    high = low = none = 0
    for _ in range(draws):
        values = case.draw(rng, i, j).ravel()
        kept = np.sort(rng.permutation(i * j)[case.missing :])
        runs = values[kept], [orders[k] for k in kept], [seeds[k] for k in kept]
        found = (
            iqm_interval(*runs) if case.robust else mean_interval(*runs, fractions=case.fractions)
        )
        if found.low is None or found.high is None:
            none += 1
            continue
        high += found.low > case.truth
        low += found.high < case.truth
    offered = draws - none
    if offered == 0:
        return Rates(1.0, 0.0, 0.0, 1.0)
    return Rates(1.0 - (high + low) / offered, high / offered, low / offered, none / draws)


def print_cases(draws: int) -> float:
    """Print the table and return the lowest coverage among the cases that are claimed to hold."""
    worst = 1.0
    print("\n| values | orders x seeds | covers | lower end too high | upper end too low | none |")
    print("|---|---|---:|---:|---:|---:|")
    for case in cases():
        for design in case.designs:
            found = rates(case, design, draws)
            if case.assumed:
                worst = min(worst, found.covers)
            shares = " | ".join(f"{100 * share:.1f}" for share in found)
            name = case.name if case.assumed else f"*{case.name}*"
            print(f"| {name} | {design[0]} x {design[1]} | {shares} |", flush=True)
    print("\nRows in italics are outside the assumptions of the intervals.")
    return worst
