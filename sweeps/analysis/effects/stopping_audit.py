"""Savings and cost of early stopping, measured on an audit.

A random share of the configurations that a rung stops continues to the end. Each stopped
configuration is selected with the same probability. The audited ones are therefore an unbiased
sample of what the other stopped configurations would have reached.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.special import betaincinv, stdtrit

from clmethods.metrics import Direction
from sweeps.analysis.front.dominance import front_on_common_cells
from sweeps.analysis.trials.paired_differences import compare
from sweeps.analysis.trials.replicates import Replicates, sample
from sweeps.statistics.intervals import LEVEL, Interval


@dataclass(frozen=True, slots=True)
class ProportionInterval:
    """Share k / n with the exact interval of Clopper and Pearson 1934."""

    k: int
    n: int
    low: float
    high: float


class RungVerdicts(NamedTuple):
    """Decisions of the rungs so far, by config_id."""

    kept: frozenset[str]
    """Configurations that continued after every rung they reached."""
    stopped: frozenset[str]
    """Stopped configurations, including the audited ones."""
    audited: frozenset[str]
    """Stopped configurations that run to the end."""


def rung_verdicts(decided: Iterable[tuple[str, str]]) -> RungVerdicts:
    """Return the verdicts from pairs (config_id, verdict) in the order of the rungs.

    The last verdict of a configuration counts. A verdict is `goes on`, `stops` or `audit`.
    """
    last = dict(decided)
    audited = frozenset(c for c, verdict in last.items() if verdict == "audit")
    stopped = audited | {c for c, verdict in last.items() if verdict == "stops"}
    return RungVerdicts(frozenset(last) - stopped, stopped, audited)


@dataclass(frozen=True, slots=True)
class AuditedConfiguration:
    """Configuration that was stopped and selected for the audit, and that ran to the end."""

    config_id: str
    label: str
    difference: Interval | None
    """Paired difference from the best configuration that was not stopped, in units of the metric;
    None without common runs."""
    on_front: bool
    """True if it would be on the front of the configurations that were not stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingCost:
    """Regret of early stopping in validation accuracy after the last task."""

    metric: str
    """Objective in whose units `margin` and `regret` are given."""
    stopped: int
    """Number of stopped configurations, including the audited ones."""
    audited: int
    """Number of audited configurations that have finished."""
    on_front: ProportionInterval
    """Share of audited ones that would be on the front of those that were not stopped."""
    margin: float
    """Mean over the audited ones of the improvement over the best configuration that was not
    stopped; negative if they are worse."""
    margin_low: float | None
    """Lower end of the t interval of `margin` over the audited ones; None for a single one."""
    margin_high: float | None
    regret: float
    """Improvement of the best audited one over the best one that was not stopped, at least 0."""
    best_audited: str
    """Label of the best audited configuration."""
    best_kept: str
    difference: Interval | None
    """Paired difference between the best audited and the best kept one, in units of the metric;
    None without common runs. The pair is selected after the results are known, so that the
    interval is overconfident about a regret."""
    each: tuple[AuditedConfiguration, ...]
    """All audited configurations that have finished, the best first."""

    def in_words(self) -> str:
        """Return the regret in a few sentences."""
        share = self.on_front
        text = (
            f"Audit of early stopping: {self.audited} of {self.stopped} stopped configurations "
            f"ran to the end; {share.k} of them would be on the front "
            f"({share.low:.0%} to {share.high:.0%} of all stopped ones, 95 % interval)."
        )
        if self.regret > 0.0:
            text += (
                f" In {self.metric}, {self.best_audited} ended {self.regret:.4g} better than the "
                f"best configuration that was not stopped, {self.best_kept}."
            )
        else:
            text += (
                f" None ended better in {self.metric} than the best configuration that was not "
                "stopped."
            )
        if self.margin_low is not None and self.margin_high is not None:
            text += (
                f" Their mean improvement over it is {_signed(self.margin)} "
                f"({_signed(self.margin_low)} to {_signed(self.margin_high)}, n = {self.audited})."
            )
        return text


def stopping_cost(
    configurations: Sequence[Replicates],
    objectives: Mapping[str, Direction],
    *,
    kept: Collection[str],
    stopped: Collection[str],
    audited: Collection[str],
    fixed_orders: bool = False,
) -> StoppingCost | None:
    """Return the cost of early stopping; None while it cannot be computed.

    `configurations` holds the replicates under one readout and split; `kept`, `stopped` and
    `audited` hold config_ids, as `RungVerdicts` does. Configurations that have not finished are
    left out. The result is None if no audited configuration, or no kept one, has finished. Each
    audited configuration is added to the front of the kept ones separately. For `fixed_orders` see
    `mean_interval`.
    """
    names = list(objectives)
    finished = [
        configuration
        for configuration in configurations
        if all(configuration.metrics[name] for name in names)
    ]
    finished_kept = [
        configuration for configuration in finished if configuration.config_id in kept
    ]
    finished_audited = [
        configuration for configuration in finished if configuration.config_id in audited
    ]
    if not finished_kept or not finished_audited:
        return None
    metric, direction = next(iter(objectives.items()))
    sign = 1.0 if direction == "max" else -1.0

    def value(configuration: Replicates) -> tuple[float, str]:
        return sign * float(sample(configuration, metric).values.mean()), configuration.label

    best = max(finished_kept, key=value)
    finished_audited.sort(key=value, reverse=True)
    margins = np.array(
        [value(configuration)[0] - value(best)[0] for configuration in finished_audited]
    )
    half = None
    if len(finished_audited) > 1:
        error = float(margins.std(ddof=1)) / len(finished_audited) ** 0.5
        half = float(stdtrit(len(finished_audited) - 1, 0.5 + LEVEL / 2)) * error
    mean = float(margins.mean())
    directions = list(objectives.values())
    kept_cells = [_cells(configuration, names) for configuration in finished_kept]

    def compared(configuration: Replicates) -> AuditedConfiguration:
        comparison = compare(configuration, best, metric, fixed_orders=fixed_orders)
        front = front_on_common_cells([*kept_cells, _cells(configuration, names)], directions)
        difference = None if comparison is None else comparison.interval
        return AuditedConfiguration(
            configuration.config_id, configuration.label, difference, bool(front[-1])
        )

    each = tuple(compared(configuration) for configuration in finished_audited)
    return StoppingCost(
        metric=metric,
        stopped=len(set(stopped)),
        audited=len(finished_audited),
        on_front=proportion_interval(
            sum(configuration.on_front for configuration in each), len(finished_audited)
        ),
        margin=mean,
        margin_low=None if half is None else mean - half,
        margin_high=None if half is None else mean + half,
        regret=max(0.0, value(finished_audited[0])[0] - value(best)[0]),
        best_audited=finished_audited[0].label,
        best_kept=best.label,
        difference=each[0].difference,
        each=each,
    )


def _cells(configuration: Replicates, names: Sequence[str]) -> dict[Hashable, list[float]]:
    """Return the objectives by cell, for the cells that have all of them."""
    whole = [
        cell
        for cell in configuration.cells
        if all(cell in configuration.metrics[name] for name in names)
    ]
    return {cell: [configuration.metrics[name][cell] for name in names] for cell in whole}


def proportion_interval(k: int, n: int, level: float = LEVEL) -> ProportionInterval:
    """Return k / n with the exact interval of the probability, for n of at least 1."""
    tail = (1.0 - level) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1.0 - tail))
    return ProportionInterval(k, n, low, high)


@dataclass(frozen=True, slots=True)
class StageSaving:
    """Stages that early stopping saved."""

    spared: int
    """Number of distinct stages that only stopped trials would have trained, and did not."""
    whole: int
    """Number of distinct stages without early stopping."""
    trials: int
    """Number of stopped trials."""

    def in_words(self) -> str:
        """Return the saving in one sentence."""
        share = self.spared / self.whole if self.whole else 0.0
        return (
            f"Early stopping saved {self.spared} of {self.whole} stages ({share:.0%}) in "
            f"{self.trials} stopped trials."
        )


def saved_stages(trials: pa.Table) -> StageSaving:
    """Return the stages that stopped trials did not train.

    `trials` has the columns of the table `trials`, with the last attempt of each trial.
    """
    done: set[str] = set()
    planned: set[str] = set()
    stopped = 0
    for row in trials.select(["status", "stages_done", "stage_keys"]).to_pylist():
        planned.update(row["stage_keys"])
        is_stopped = row["status"] == "stopped"
        done.update(row["stage_keys"][: row["stages_done"] if is_stopped else None])
        stopped += is_stopped
    return StageSaving(len(planned - done), len(planned), stopped)


def _signed(value: float) -> str:
    return f"{value:+.4g}"
