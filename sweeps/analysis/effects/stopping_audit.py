"""What early stopping has saved, and what it has cost: measured on the audit.

Of the configurations that a rung stops, a share drawn at random runs on to the end. Every stopped
one is drawn with the same probability, so what the audited ones became tells, without bias, what
the others would have become.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.special import betaincinv, stdtrit

from clmethods.metrics import Direction
from sweeps.analysis.front.pareto import front_on_common_cells
from sweeps.analysis.runs.paired_differences import compare
from sweeps.analysis.runs.replicates import Replicates, sample
from sweeps.statistics.intervals import LEVEL, Interval


@dataclass(frozen=True, slots=True)
class Share:
    """k of n, with the exact interval of Clopper and Pearson 1934."""

    k: int
    n: int
    low: float
    high: float


class Verdicts(NamedTuple):
    """What the rungs have decided by now, by config_id."""

    kept: frozenset[str]
    """They went on from every rung at which they stood."""
    stopped: frozenset[str]
    """Those of the audit included."""
    audited: frozenset[str]
    """Stopped ones that run on to the end."""


def verdicts_of(decided: Iterable[tuple[str, str]]) -> Verdicts:
    """From (config_id, verdict) by the rungs in their order: what was said last counts.

    A verdict is `goes on`, `stops` or `audit`.
    """
    last = dict(decided)
    audited = frozenset(c for c, verdict in last.items() if verdict == "audit")
    stopped = audited | {c for c, verdict in last.items() if verdict == "stops"}
    return Verdicts(frozenset(last) - stopped, stopped, audited)


@dataclass(frozen=True, slots=True)
class Audited:
    """A configuration that was stopped and ran on all the same."""

    config_id: str
    label: str
    difference: Interval | None
    """It less the best that went on, in the metric's own direction, paired run by run; None
    without runs in common."""
    on_front: bool
    """Whether it would stand on the front of those that went on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingCost:
    """The regret of early stopping, by validation accuracy, after the last task."""

    metric: str
    """The objective that `margin` and `regret` are in."""
    stopped: int
    """Configurations that were stopped, audited ones included."""
    audited: int
    """Those of them that ran on and have finished."""
    on_front: Share
    """Audited ones that would stand on the front of those that went on."""
    margin: float
    """Mean over the audited ones: by how much each is better than the best that went on; below 0
    if they are worse."""
    margin_low: float | None
    """Ends of its t interval over the audited configurations; None for one."""
    margin_high: float | None
    regret: float
    """By how much the best audited one is better than the best that went on, 0 if it is not."""
    best_audited: str
    """Label of that one."""
    best_kept: str
    difference: Interval | None
    """Best audited less best kept, in the metric's own direction, paired run by run; None without
    runs in common. It is a pair chosen after the fact: the interval is too sure of a regret."""
    each: tuple[Audited, ...]
    """All audited ones that have finished, the best first."""

    def in_words(self) -> str:
        """The regret in a few sentences."""
        share = self.on_front
        told = (
            f"Audit of early stopping: {self.audited} of {self.stopped} stopped configurations "
            f"ran to the end; {share.k} of them would be on the front "
            f"({share.low:.0%} to {share.high:.0%} of all stopped ones, 95 % interval)."
        )
        if self.regret > 0.0:
            told += (
                f" In {self.metric}, {self.best_audited} ended {self.regret:.4g} better than the "
                f"best that went on, {self.best_kept}."
            )
        else:
            told += f" None ended better in {self.metric} than the best that went on."
        if self.margin_low is not None and self.margin_high is not None:
            told += (
                f" On average they ended {_signed(self.margin)} against it "
                f"({_signed(self.margin_low)} to {_signed(self.margin_high)}, n = {self.audited})."
            )
        return told


def stopping_cost(
    found: Sequence[Replicates],
    objectives: Mapping[str, Direction],
    *,
    kept: Collection[str],
    stopped: Collection[str],
    audited: Collection[str],
    fixed_orders: bool = False,
) -> StoppingCost | None:
    """The cost of stopping, by config_id: who went on from every rung, who did not, and which of
    these ran on.

    `found` holds the replicates under one readout and split. Configurations that have not finished
    are left out. None as long as no audited one, or none that went on, has finished. The front
    counts every audited configuration by itself against those that went on. `fixed_orders`: see
    `mean_interval`.
    """
    names = list(objectives)
    finished = [one for one in found if all(one.metrics[name] for name in names)]
    going = [one for one in finished if one.config_id in kept]
    ended = [one for one in finished if one.config_id in audited]
    if not going or not ended:
        return None
    metric, direction = next(iter(objectives.items()))
    sign = 1.0 if direction == "max" else -1.0

    def value(one: Replicates) -> tuple[float, str]:
        return sign * float(sample(one, metric).values.mean()), one.label

    best = max(going, key=value)
    ended.sort(key=value, reverse=True)
    margins = np.array([value(one)[0] - value(best)[0] for one in ended])
    half = None
    if len(ended) > 1:
        error = float(margins.std(ddof=1)) / len(ended) ** 0.5
        half = float(stdtrit(len(ended) - 1, 0.5 + LEVEL / 2)) * error
    mean = float(margins.mean())
    ways = list(objectives.values())
    standing = [_cells(one, names) for one in going]

    def placed(one: Replicates) -> Audited:
        against = compare(one, best, metric, fixed_orders=fixed_orders)
        beside = front_on_common_cells([*standing, _cells(one, names)], ways)
        difference = None if against is None else against.interval
        return Audited(one.config_id, one.label, difference, bool(beside[-1]))

    each = tuple(placed(one) for one in ended)
    return StoppingCost(
        metric=metric,
        stopped=len(set(stopped)),
        audited=len(ended),
        on_front=share_of(sum(one.on_front for one in each), len(ended)),
        margin=mean,
        margin_low=None if half is None else mean - half,
        margin_high=None if half is None else mean + half,
        regret=max(0.0, value(ended[0])[0] - value(best)[0]),
        best_audited=ended[0].label,
        best_kept=best.label,
        difference=each[0].difference,
        each=each,
    )


def _cells(one: Replicates, names: Sequence[str]) -> dict[Hashable, list[float]]:
    """Objectives by cell, where all of them exist."""
    whole = [cell for cell in one.cells if all(cell in one.metrics[name] for name in names)]
    return {cell: [one.metrics[name][cell] for name in names] for cell in whole}


def share_of(k: int, n: int, level: float = LEVEL) -> Share:
    """k of n, n at least 1, and the exact interval of the share that they were drawn from."""
    tail = (1.0 - level) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1.0 - tail))
    return Share(k, n, low, high)


@dataclass(frozen=True, slots=True)
class Saving:
    """Stages that stopping has spared."""

    spared: int
    """Distinct stages that stopped trials would have trained and nobody else did."""
    whole: int
    """Distinct stages with them."""
    trials: int
    """Trials that were stopped."""

    def in_words(self) -> str:
        """The saving in a sentence."""
        share = self.spared / self.whole if self.whole else 0.0
        return (
            f"Early stopping spared {self.spared} of {self.whole} stages ({share:.0%}) in "
            f"{self.trials} stopped trials."
        )


def saving(trials: pa.Table) -> Saving:
    """What the last attempts of trials, rows of the table `trials`, did not train."""
    done: set[str] = set()
    asked: set[str] = set()
    stopped = 0
    for row in trials.select(["status", "stages_done", "stage_keys"]).to_pylist():
        asked.update(row["stage_keys"])
        is_stopped = row["status"] == "stopped"
        done.update(row["stage_keys"][: row["stages_done"] if is_stopped else None])
        stopped += is_stopped
    return Saving(len(asked - done), len(asked), stopped)


def _signed(value: float) -> str:
    return f"{value:+.4g}"
