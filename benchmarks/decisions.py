"""Decisions on simulated sweeps with known truth: fronts, selections, the best of many.

    python benchmarks/decisions.py --draws 1000

Every draw makes the runs of a sweep: true means of configurations, effects of orders and seeds
that all configurations share, and noise with one of four structures. It then asks the functions
that `sweeps pareto` and `sweeps select` use, and prints

* how often a configuration is on the true front, by the front probability that was said;
* the regret of selection rules with the same runs: how much worse the selected configuration is in
  truth than the best one, in the same units as the noise;
* how often the interval of the selected configuration contains its true mean;
* the regret of designs with the same number of runs: a grid, and pairs of more orders and seeds.

The last line is the regret of the default rule over that of the best mean, where it is largest.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sweeps.analysis.front.dominance import front
from sweeps.analysis.front.membership_probability import front_probability
from sweeps.analysis.trials.replicates import Replicates
from sweeps.definition import ReplicateDesign
from sweeps.statistics.configuration_means import configuration_means, shrunken
from sweeps.statistics.intervals import mean_interval

Values = npt.NDArray[np.float64]
OBJECTIVES = {"average_accuracy": "max", "forgetting": "min"}


class Noise(NamedTuple):
    """Standard deviations of what configurations do not share, and how much these differ."""

    order: float
    seed: float
    residual: float
    unequal: float
    """Standard deviation of the logarithm of the noise of a configuration."""


STRUCTURES = {
    "residual": Noise(0.0, 0.0, 1.0, 0.0),
    "orders": Noise(1.0, 0.2, 0.3, 0.0),
    "unequal residual": Noise(0.0, 0.0, 1.0, 0.8),
    "unequal orders": Noise(1.0, 0.2, 0.3, 0.8),
}
DESIGNS = ((2, 2), (3, 3), (5, 3))
TRUTHS = 0.6
"""Standard deviation of the true means of the configurations."""


def sweep(
    rng: np.random.Generator, count: int, design: tuple[int, int], noise: Noise
) -> tuple[Values, Values]:
    """Return the true means (C,) and the values (C, I, J) of one metric."""
    i, j = design
    truth = TRUTHS * rng.standard_normal(count)
    shared = rng.standard_normal((1, i, 1)) + 0.5 * rng.standard_normal((1, 1, j))
    return truth, truth[:, None, None] + shared + _errors(rng, count, design, noise)


def _errors(rng: np.random.Generator, count: int, design: tuple[int, int], noise: Noise) -> Values:
    i, j = design
    scale = np.exp(noise.unequal * rng.standard_normal((count, 1, 1)) - noise.unequal**2 / 2)
    return np.asarray(
        scale
        * (
            noise.order * rng.standard_normal((count, i, 1))
            + noise.seed * rng.standard_normal((count, 1, j))
            + noise.residual * rng.standard_normal((count, i, j))
        )
    )


def regrets(noise: Noise, design: tuple[int, int], draws: int) -> dict[str, tuple[float, float]]:
    """Return the mean regret of each rule and its standard error, for 20 configurations."""
    rng = np.random.default_rng([0, *design])
    cells = list(product(range(design[0]), range(design[1])))
    orders, seeds = ([cell[k] for cell in cells] for k in (0, 1))
    found: dict[str, list[float]] = {}
    for _ in range(draws):
        truth, values = sweep(rng, 20, design, noise)
        rows = values.reshape(len(truth), -1)
        result = configuration_means(rows, cells)
        assert result is not None
        own = [mean_interval(row, orders, seeds) for row in rows]
        worst_order = values.mean(axis=2).min(axis=1)
        pessimistic = np.minimum([one.low or -np.inf for one in own], worst_order)
        rules = {
            "best mean": result.means,
            "worse of interval and worst order": pessimistic,
            "lower bound": result.bounds(1.0),
            "shrunken mean": shrunken(result).estimates,
        }
        for rule, score in rules.items():
            found.setdefault(rule, []).append(float(truth.max() - truth[np.argmax(score)]))
    return {
        rule: (float(np.mean(lost)), float(np.std(lost) / len(lost) ** 0.5))
        for rule, lost in found.items()
    }


REPLICATES = {
    "grid, 3 x 3": (ReplicateDesign(), 3, 3),
    "spread, 3 x 9": (ReplicateDesign(kind="spread", runs=9), 3, 9),
    "spread, 5 x 9": (ReplicateDesign(kind="spread", runs=9), 5, 9),
    "spread, 9 x 9": (ReplicateDesign(kind="spread", runs=9), 9, 9),
}
"""Designs of nine runs per configuration, with their numbers of orders and seeds."""


class DesignResult(NamedTuple):
    """Simulated quality of a design, for 20 configurations."""

    regret: float
    """Mean regret of the default rule."""
    error: float
    """Standard error of the regret."""
    coverage: float
    """Share of the intervals of differences that contain the true difference."""
    width: float
    """Median half width of these intervals."""


def design_results(noise: Noise, draws: int) -> dict[str, DesignResult]:
    """Return the regret, and intervals of one difference, for each of `REPLICATES`."""
    found = {}
    for number, (name, (design, i, j)) in enumerate(REPLICATES.items()):
        rng = np.random.default_rng([3, number])
        cells = list(design.pairs(range(i), range(j)))
        orders, seeds = (np.array([cell[k] for cell in cells]) for k in (0, 1))
        lost, held, widths = [], 0, []
        for _ in range(draws):
            truth, values = sweep(rng, 20, (i, j), noise)
            rows = values[:, orders, seeds]
            result = configuration_means(rows, cells)
            assert result is not None
            lost.append(float(truth.max() - truth[np.argmax(result.bounds(1.0))]))
            pair = mean_interval(rows[0] - rows[1], orders.tolist(), seeds.tolist())
            assert pair.low is not None
            assert pair.high is not None
            held += pair.low <= truth[0] - truth[1] <= pair.high
            widths.append((pair.high - pair.low) / 2)
        error = float(np.std(lost) / draws**0.5)
        found[name] = DesignResult(
            float(np.mean(lost)), error, held / draws, float(np.median(widths))
        )
    return found


def winner(count: int, noise: Noise, draws: int) -> tuple[float, float, float, float]:
    """Return coverage and bias of the best of `count` means at 3 x 3: raw, then shrunken."""
    rng = np.random.default_rng([1, count])
    cells = list(product(range(3), range(3)))
    orders, seeds = ([cell[k] for cell in cells] for k in (0, 1))
    raw, held, raw_bias, bias = 0, 0, 0.0, 0.0
    for _ in range(draws):
        truth, values = sweep(rng, count, (3, 3), noise)
        rows = values.reshape(count, -1)
        result = configuration_means(rows, cells)
        assert result is not None
        best = int(np.argmax(result.means))
        own, estimate = mean_interval(rows[best], orders, seeds), shrunken(result)
        assert own.low is not None
        assert own.high is not None
        raw += own.low <= truth[best] <= own.high
        held += bool(estimate.low[best] <= truth[best] <= estimate.high[best])
        raw_bias += float(result.means[best] - truth[best])
        bias += float(estimate.estimates[best] - truth[best])
    return raw / draws, raw_bias / draws, held / draws, bias / draws


BINS = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0 + 1e-9)


def reliability(noise: Noise, design: tuple[int, int], draws: int) -> list[tuple[float, float]]:
    """Return the mean probability that was said and the share that is true, per bin."""
    rng = np.random.default_rng([2, *design])
    said, true = [], []
    for _ in range(draws):
        common = TRUTHS * rng.standard_normal((12, 1))
        truth = common + 0.5 * rng.standard_normal((12, 2))
        errors = np.stack([_errors(rng, 12, design, noise) for _ in range(2)])
        errors[1] = 0.5 * errors[0] + 0.75**0.5 * errors[1]
        shared = rng.standard_normal((2, design[0], 1))
        configurations = [
            _replicates(c, [truth[c, m] + errors[m, c] + shared[m] for m in (0, 1)])
            for c in range(12)
        ]
        said.append(front_probability(configurations, OBJECTIVES, draws=300))
        true.append(front(truth, list(OBJECTIVES.values())))
    p, on = np.concatenate(said), np.concatenate(true)
    pairs = []
    for low, high in pairwise(BINS):
        inside = (p >= low) & (p < high)
        if inside.any():
            pairs.append((float(p[inside].mean()), float(on[inside].mean())))
        else:
            pairs.append((float("nan"), float("nan")))
    return pairs


def _replicates(number: int, grids: list[Values]) -> Replicates:
    metrics = {
        name: {(f"o{i}", j): float(value) for (i, j), value in np.ndenumerate(grid)}
        for name, grid in zip(OBJECTIVES, grids, strict=True)
    }
    name = str(number)
    return Replicates(name, name, "search", "lora", "last", "validation", metrics, {})


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    ratio = 0.0
    for number, ((name, noise), design) in enumerate(product(STRUCTURES.items(), DESIGNS)):
        found = regrets(noise, design, draws)
        if number == 0:
            print("Regret of the selected of 20 configurations, +- standard error")
            print("\n| noise | orders x seeds |", " | ".join(found), "|")
            print("|---|---|" + "---:|" * len(found))
        cells = " | ".join(f"{mean:.3f} +- {error:.3f}" for mean, error in found.values())
        print(f"| {name} | {design[0]} x {design[1]} | {cells} |", flush=True)
        ratio = max(ratio, found["lower bound"][0] / found["best mean"][0])
    print(
        "\nNine runs of each of 20 configurations: regret of the default, intervals of differences"
    )
    print("\n| noise | design | regret | covers | half width |")
    print("|---|---|---:|---:|---:|")
    for name, noise in STRUCTURES.items():
        for design_name, one in design_results(noise, draws).items():
            print(
                f"| {name} | {design_name} | {one.regret:.3f} +- {one.error:.3f} "
                f"| {100 * one.coverage:.1f} | {one.width:.2f} |",
                flush=True,
            )
    print("\nThe best of many at 3 x 3: coverage of its interval and bias, raw and shrunken")
    print("\n| noise | configurations | raw covers | bias | shrunken covers | bias |")
    print("|---|---:|---:|---:|---:|---:|")
    for (name, noise), count in product(STRUCTURES.items(), (5, 30, 200)):
        raw, raw_bias, held, bias = winner(count, noise, max(draws // 4, 1))
        print(
            f"| {name} | {count} | {100 * raw:.1f} | {raw_bias:+.2f} | {100 * held:.1f} "
            f"| {bias:+.2f} |",
            flush=True,
        )
    print("\nFront probability in percent: said -> true, 12 configurations, two objectives")
    print(
        "\n| noise | orders x seeds |", " | ".join(f"from {100 * low:g}" for low in BINS[:-1]), "|"
    )
    print("|---|---|" + "---:|" * (len(BINS) - 1))
    for (name, noise), design in product(STRUCTURES.items(), ((3, 3), (5, 3), (10, 3))):
        pairs = reliability(noise, design, max(draws // 4, 1))
        cells = " | ".join(f"{100 * said:.0f} -> {100 * true:.0f}" for said, true in pairs)
        print(f"| {name} | {design[0]} x {design[1]} | {cells} |", flush=True)
    print(f"default_regret_over_best_mean: {ratio:.3f}")


if __name__ == "__main__":
    main()
