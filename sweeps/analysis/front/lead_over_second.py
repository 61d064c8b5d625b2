"""Lead of the best configuration over the second best, run by run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from clmethods.metrics import Direction
from sweeps.analysis.trials.paired_differences import compare_samples
from sweeps.analysis.trials.replicates import Replicates, difference, sample


class Lead(NamedTuple):
    """Paired comparison of the two configurations with the best means of a metric."""

    first: str
    second: str
    metric: str
    ahead: int
    """Number of common runs in which `first` is better."""
    runs: int
    """Number of runs that both have in common."""
    difference: float
    """Mean improvement of `first` over `second` in the common runs, at least 0."""
    significant: bool

    @property
    def text(self) -> str:
        """One sentence for readers of the front."""
        verdict = "significant" if self.significant else "not significant"
        return (
            f"{self.first} is ahead of {self.second} in {self.ahead} of {self.runs} runs, by "
            f"{100 * self.difference:.1f} points of {self.metric} on average; {verdict}"
        )


def lead_of_best(
    configurations: Sequence[Replicates],
    metric: str,
    direction: Direction,
    *,
    fixed_orders: bool = False,
) -> Lead | None:
    """Return the lead of the best eligible configuration; None for fewer than two with runs.

    Differences are taken in runs with the same order and seed, so that what these add to both does
    not count. For the same reason, the best one is the one with the best mean difference to the
    other candidate, not necessarily the one with the better mean over different runs.
    """
    sign = 1.0 if direction == "max" else -1.0
    candidates = [c for c in configurations if c.eligible and c.metrics.get(metric)]
    if len(candidates) < 2:
        return None
    ranked = sorted(candidates, key=lambda c: -sign * float(sample(c, metric).values.mean()))
    first, second = ranked[:2]
    differences = difference(first, second, metric)
    if len(differences) == 0:
        return None
    if sign * float(differences.values.mean()) < 0.0:
        first, second = second, first
        differences = difference(first, second, metric)
    gains = sign * differences.values
    compared = compare_samples(differences, metric, fixed_orders=fixed_orders)
    return Lead(
        first.label,
        second.label,
        metric,
        int((gains > 0).sum()),
        len(gains),
        float(gains.mean()),
        compared is not None and compared.significant,
    )
