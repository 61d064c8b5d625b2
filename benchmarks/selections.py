"""Statements of `sweeps select`, `sweeps effects` and plans, compared with simulated truth.

    python benchmarks/selections.py --draws 300

Every draw makes the runs of a sweep with known truth and calls the functions of the commands. The
tables show

* the regret of the default and of the best mean, for accuracies near 0.9;
* how often a limit that counts as kept is broken in truth by any admitted configuration;
* how often the corrected interval of the selected accuracy contains its true mean;
* the bias of the selected configuration on the runs of the choice and on held-out runs;
* how often at least one of 18 effects of zero is shown, with and without adjustment;
* the true power of designs that were planned for differences that were not significant;
* the importance of a logarithmic axis that is responsible for a known share of the variance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.decisions import OBJECTIVES, Noise
from sweeps.analysis.effects.axis_effects import axis_effects, varied_axes
from sweeps.analysis.effects.axis_importance import axis_importance
from sweeps.analysis.selection.holdout import holdout
from sweeps.analysis.selection.selection import select
from sweeps.analysis.selection.selection_candidates import MetricLimit
from sweeps.analysis.trials.paired_differences import compare_samples
from sweeps.analysis.trials.planned_design import smallest_design
from sweeps.analysis.trials.power import estimate_variance
from sweeps.analysis.trials.replicates import Replicates, Sample
from sweeps.statistics.t_quantiles import of_mean, t_quantile, variance_terms

Values = npt.NDArray[np.float64]


NOISE = {  # on the logit scale
    "residual": Noise(0.0, 0.0, 0.3, 0.0),
    "orders": Noise(0.3, 0.06, 0.1, 0.0),
    "unequal orders": Noise(0.3, 0.06, 0.1, 0.8),
}


def accuracies(
    rng: np.random.Generator,
    count: int,
    design: tuple[int, int],
    noise: Noise,
    spread: float = 0.2,
) -> tuple[Values, Values]:
    """Return the true mean accuracies (C,) and accuracies (C, I, J).

    `spread` is the standard deviation of the levels of the configurations on the logit scale.
    """
    i, j = design
    scale = np.exp(noise.unequal * rng.standard_normal((count, 1, 1)) - noise.unequal**2 / 2)
    sizes = np.array(noise[:3])
    own = (
        sizes[0] * rng.standard_normal((count, i, 1))
        + sizes[1] * rng.standard_normal((count, 1, j))
        + sizes[2] * rng.standard_normal((count, i, j))
    )
    shared = 0.2 * rng.standard_normal((1, i, 1)) + 0.1 * rng.standard_normal((1, 1, j))
    level = 2.2 + spread * rng.standard_normal(count)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    total = np.sqrt(scale[:, 0, 0] ** 2 * (sizes**2).sum() + 0.05)
    truth = expit(level[:, None] + total[:, None] * nodes) @ weights / weights.sum()
    return truth, expit(level[:, None, None] + scale * own + shared)


def configurations(accuracy: Values, forgetting: Values) -> list[Replicates]:
    """Return the replicates of grids (C, I, J)."""
    return [
        Replicates(
            str(c),
            str(c),
            "search",
            "lora",
            "last",
            "validation",
            {
                name: {(f"o{i}", j): float(v) for (i, j), v in np.ndenumerate(grid[c])}
                for name, grid in (("average_accuracy", accuracy), ("forgetting", forgetting))
            },
            {},
        )
        for c in range(len(accuracy))
    ]


def choices(count: int, design: tuple[int, int], noise: Noise, draws: int) -> list[float]:
    """Return regrets of default and mean, bias and coverage of mean and of corrected estimate."""
    rng = np.random.default_rng([0, count, *design])
    rows = []
    for _ in range(draws):
        truth, values = accuracies(rng, count, design, noise)
        found = configurations(values, np.zeros_like(values))
        chosen, by_mean = (
            select(found, OBJECTIVES, (), "average_accuracy", basis=basis).chosen
            for basis in ("bound", "mean")
        )
        assert chosen is not None
        assert by_mean is not None
        picks = [int(c.replicates.label) for c in (chosen, by_mean)]
        estimate = chosen.estimates["average_accuracy"]
        assert estimate.interval.low is not None
        assert estimate.interval.high is not None
        assert estimate.selected is not None
        true = truth[picks[0]]
        rows.append(
            [
                *(100 * (truth.max() - truth[pick]) for pick in picks),
                100 * (estimate.interval.mean - true),
                estimate.interval.low <= true <= estimate.interval.high,
                100 * (estimate.selected.mean - true),
                estimate.selected.low <= true <= estimate.selected.high,
            ]
        )
    return np.mean(rows, axis=0).tolist()


def broken_limits(count: int, design: tuple[int, int], noise: Noise, draws: int) -> list[float]:
    """Return how often something is chosen, and how often a limit is broken, by bound and mean."""
    rng = np.random.default_rng([1, count, *design])
    rows = []
    for _ in range(draws):
        truth, values = accuracies(rng, count, design, noise, spread=0.8)
        limit = MetricLimit("average_accuracy", "min", float(np.quantile(truth, 0.5)))
        found = configurations(values, np.broadcast_to(truth[:, None, None], values.shape))
        row = []
        for basis in ("bound", "mean"):
            kept = select(found, OBJECTIVES, (limit,), "forgetting", basis=basis).admissible
            broken = any(truth[int(c.replicates.label)] < limit.bound for c in kept)
            row += [bool(kept), broken]
        rows.append(row)
    return np.mean(rows, axis=0).tolist()


def broken_upper_limits(
    count: int, design: tuple[int, int], limit: float | None, draws: int
) -> list[float]:
    """Return how often something is chosen, and how often a limit of forgetting is broken.

    The effects of a configuration grow with its forgetting, which is between 0 and 0.4. `limit`:
    the highest forgetting that is allowed; None for the median of the true values.
    """
    rng = np.random.default_rng([6, count, *design])
    (i, j), rows = design, []
    for _ in range(draws):
        truth = rng.uniform(0.0, 0.4, count)
        scale = 0.01 + 0.25 * truth * np.exp(0.8 * rng.standard_normal(count))
        own = (
            rng.standard_normal((count, i, 1))
            + 0.2 * rng.standard_normal((count, 1, j))
            + 0.3 * rng.standard_normal((count, i, j))
        )
        values = truth[:, None, None] + scale[:, None, None] * own
        bound = float(np.quantile(truth, 0.5)) if limit is None else limit
        found = configurations(np.full_like(values, 0.5), values)
        limits = (MetricLimit("forgetting", "max", bound),)
        kept = select(found, OBJECTIVES, limits, "average_accuracy").admissible
        broken = any(truth[int(c.replicates.label)] > bound for c in kept)
        rows.append([bool(kept), broken])
    return np.mean(rows, axis=0).tolist()


def held_out_bias(noise: Noise, draws: int) -> list[float]:
    """Return the bias in points of the best of 30 on its runs, runs that share, held-out runs."""
    rng = np.random.default_rng(2)
    used = [(f"o{i}", j) for i in range(2) for j in range(2)]
    rows = []
    for _ in range(draws):
        truth, values = accuracies(rng, 30, (4, 4), noise)
        found = configurations(values, np.zeros_like(values))
        pick = select(found, OBJECTIVES, (), "average_accuracy", cells=used).chosen
        assert pick is not None
        chosen = pick.replicates
        # Effects that all configurations share are removed: they are no bias of the choice.
        gain = values - values.mean(axis=0) + truth.mean()
        held = set(holdout(chosen.cells, used).cells)
        place = int(chosen.label)
        sets = (used, [c for c in chosen.cells if c not in held and c not in set(used)], held)
        rows.append(
            [
                100 * (np.mean([gain[place][int(o[1:]), s] for o, s in cells]) - truth[place])
                for cells in sets
            ]
        )
    return np.mean(rows, axis=0).tolist()


def effects_of_zero(order: float, draws: int) -> list[float]:
    """Return how often at least one of 18 effects is shown, without and with adjustment."""
    rng = np.random.default_rng(3)
    points = [{"a": 0, "b": 0, "c": 0}]
    points += [points[0] | {axis: value} for axis, value in product("abc", range(1, 7))]
    by_id = {str(k): point for k, point in enumerate(points)}
    rows = []
    for _ in range(draws):
        values = order * rng.standard_normal((19, 3, 1)) + 0.3 * rng.standard_normal((19, 3, 3))
        found = configurations(values, values)
        effects = axis_effects(found, by_id, varied_axes(by_id), "forgetting")
        known = [e.comparison for e in effects if e.comparison is not None]
        rows.append(
            [any(c.interval.significant for c in known), any(c.significant for c in known)]
        )
    return np.mean(rows, axis=0).tolist()


def plans(design: tuple[int, int], sizes: tuple[float, ...], draws: int) -> list[float]:
    """Return the share of plans that name a design, their true power, and the median runs."""
    rng = np.random.default_rng([4, *design])
    (i, j), components = design, np.square(sizes)
    error = float(np.sqrt(components @ (1 / i, 1 / j, 1 / (i * j))))
    labels = tuple(f"o{k}" for k in range(i) for _ in range(j)), tuple(range(j)) * i
    powers, runs, asked = [], [], 0
    while len(powers) < draws:
        truth = 2.5 * error * rng.standard_normal()
        parts = (rng.standard_normal(shape) for shape in ((i, 1), (1, j), (i, j)))
        grid = truth + sum(size * part for size, part in zip(sizes, parts, strict=True))
        sample = Sample(np.asarray(grid).ravel(), *labels)
        found = compare_samples(sample, "forgetting")
        spread = estimate_variance(sample)
        if found is None or spread is None or found.significant:
            continue
        asked += 1
        plan = smallest_design(spread, found.interval.mean)
        if plan is not None:
            powers.append(_power(rng, components, truth, plan))
            runs.append(plan[0] * plan[1])
    return [len(powers) / asked, float(np.mean(powers)), float(np.median(runs))]


def _power(
    rng: np.random.Generator, components: Values, difference: float, design: tuple[int, int]
) -> float:
    (i, j), target = design, of_mean(*design)
    order, seed, residual = components
    parts = (
        (j * order + residual, i - 1),
        (i * seed + residual, j - 1),
        (residual, (i - 1) * (j - 1)),
    )
    order, seed, residual = (mean * rng.chisquare(f, 1000) / f for mean, f in parts)
    terms = variance_terms((order, seed, residual), design, target)
    half = t_quantile(terms, design, target, 0.95) * np.sqrt(terms.sum(axis=0))
    error = float(np.sqrt(components @ target[:3]))
    return float((np.abs(difference + error * rng.standard_normal(1000)) > half).mean())


def log_axis(draws: int) -> Iterator[tuple[float, float]]:
    """Yield the importance by fANOVA and PED-ANOVA of an axis with 1 / 1.1 of the variance."""
    for number in range(draws):
        rng = np.random.default_rng([5, number])
        rate, other = rng.uniform(-5, -1, 128), rng.uniform(0, 1, 128)
        value = (rate - rate.mean()) / rate.std() + 0.1**0.5 * (other - 0.5) / other.std()
        found = configurations(value[:, None, None], value[:, None, None])
        points = {
            str(k): {"rate": float(10.0**r), "other": float(o)}
            for k, (r, o) in enumerate(zip(rate, other, strict=True))
        }
        shares = axis_importance(found, points, varied_axes(points), "forgetting", "max")
        assert not isinstance(shares, str)
        yield shares["fanova"]["rate"], shares["ped_anova"]["rate"]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=300)
    draws = parser.parse_args().draws
    print("Choice of the best accuracy; regret and bias in points, coverage in percent\n")
    print(
        "| noise | configurations | orders x seeds | regret | of the best mean | bias of the mean "
        "| its interval covers | corrected: bias | covers |"
    )
    print("|---|---:|---|" + "---:|" * 6)
    for (name, noise), (count, design) in product(
        NOISE.items(), [(5, (3, 3)), (20, (2, 2)), (20, (3, 3)), (20, (5, 3)), (100, (3, 3))]
    ):
        own, mean, bias, covers, left, held = choices(count, design, noise, draws)
        print(
            f"| {name} | {count} | {design[0]} x {design[1]} | {own:.2f} | {mean:.2f} "
            f"| {bias:+.2f} | {100 * covers:.1f} | {left:+.2f} | {100 * held:.1f} |",
            flush=True,
        )
    print(
        "\nLimits, percent of sweeps: something is chosen, a limit is broken by an admitted one\n"
    )
    print("| noise | configurations | orders x seeds | chosen | broken | mean: chosen | broken |")
    print("|---|---:|---|" + "---:|" * 4)
    for (name, noise), (count, design) in product(
        NOISE.items(), [(2, (3, 3)), (5, (3, 3)), (20, (2, 2)), (20, (3, 3)), (100, (3, 3))]
    ):
        rates = " | ".join(f"{100 * r:.1f}" for r in broken_limits(count, design, noise, draws))
        print(f"| {name} | {count} | {design[0]} x {design[1]} | {rates} |", flush=True)
    print("\nLimits of forgetting, whose effects grow with it\n")
    print("| configurations | orders x seeds | limit | chosen | broken |")
    print("|---:|---|---|---:|---:|")
    for (count, design), limit in product(
        [(5, (3, 3)), (8, (3, 3)), (8, (5, 5)), (20, (3, 3)), (20, (10, 3))], [None, 0.05]
    ):
        rates = " | ".join(
            f"{100 * r:.1f}" for r in broken_upper_limits(count, design, limit, draws)
        )
        name = "median" if limit is None else f"{limit:g}"
        print(f"| {count} | {design[0]} x {design[1]} | {name} | {rates} |", flush=True)
    print("\nBias of the best of 30, in points\n")
    print("| noise | runs of the choice | others that share an order or a seed | held out |")
    print("|---|---:|---:|---:|")
    for name, noise in NOISE.items():
        biases = " | ".join(f"{b:+.2f}" for b in held_out_bias(noise, draws))
        print(f"| {name} | {biases} |", flush=True)
    print("\nAt least one of 18 effects of zero is shown, percent of sweeps\n")
    print("| effects of orders | unadjusted | adjusted |\n|---:|---:|---:|")
    for order in (0.0, 1.0):
        rates = " | ".join(f"{100 * rate:.1f}" for rate in effects_of_zero(order, draws))
        print(f"| {order:g} | {rates} |", flush=True)
    print("\nPlans for differences that were not significant\n")
    print("| orders x seeds | order, seed, residual | design named | true power | median runs |")
    print("|---|---|---:|---:|---:|")
    for design, sizes in product([(3, 3), (5, 3)], [(1, 1, 1), (1, 0.2, 0.3), (0, 0, 1)]):
        named, power, runs = plans(design, sizes, draws)
        print(
            f"| {design[0]} x {design[1]} | {sizes} | {100 * named:.0f} | {power:.2f} "
            f"| {runs:.0f} |",
            flush=True,
        )
    shares = np.array(list(log_axis(min(draws, 20))))
    low, high = shares.min(axis=0), shares.max(axis=0)
    print(
        "\nImportance of a logarithmic axis with 0.91 of the variance: "
        f"fANOVA {low[0]:.2f} to {high[0]:.2f}, PED-ANOVA {low[1]:.2f} to {high[1]:.2f}"
    )


if __name__ == "__main__":
    main()
