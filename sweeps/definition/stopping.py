"""Early stopping and racing: rules for the tasks and replicates that configurations get.

Both rules apply to configurations, not to single trials. This module contains the sections of the
sweep file and the schedules that they define; `sweeps.search` makes the decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from clmethods import metrics
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig
from clmethods.errors import ConfigIssue, finite, nearest, refuse, require
from clmethods.metrics import Direction
from sweeps.definition.orders import OrderDesign
from sweeps.definition.replicate_design import ReplicateDesign, declared_orders

EXACT = ("trainable_parameters",)
"""Objectives that depend on the configuration only and have no replicate noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStop:
    """Section `early_stop` of a sweep file: configurations that stop after some tasks.

    At a rung, all runs of all configurations have learned the same number of tasks. The best
    1 / reduction_factor of the configurations continue to the next rung; the others stop.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["asha", "non_dominated"] = "asha"
    """`asha`: synchronous successive halving by one metric. `non_dominated`: ranking by all
    objectives, front by front, with the least crowded configurations of the last front."""
    after_task: int = 1
    """Number of tasks learned at the first rung."""
    every: int | None = None
    """Tasks between rungs; null: each rung is reduction_factor times as late as the previous."""
    reduction_factor: float = 3.0
    """Divisor: of n configurations at a rung, n / reduction_factor continue, rounded up."""
    metric: str | None = None
    """Metric that `asha` ranks by, on validation; null: the first objective."""
    audit: float = 0.1
    """Share of the stopped configurations, selected at random, that runs to the end to measure the
    cost of stopping."""
    seed: int = 0
    """Seed of the selection for the audit."""

    def __post_init__(self) -> None:
        known, named = metrics.OF_COUNTS, self.metric is not None
        refuse(
            [
                *finite(self),
                require(self.after_task >= 1, "after_task", self.after_task, "1 or more"),
                require(self.every is None or self.every >= 1, "every", self.every, "1 or more"),
                require(
                    self.reduction_factor > 1.0,
                    "reduction_factor",
                    self.reduction_factor,
                    "greater than 1",
                ),
                require(0.0 <= self.audit <= 1.0, "audit", self.audit, "a share from 0 to 1"),
                require(
                    self.metric is None or self.metric in known,
                    "metric",
                    self.metric,
                    f"one of {list(known)}",
                    nearest(self.metric or "", known),
                ),
                require(
                    self.kind == "asha" or not named,
                    "metric",
                    self.metric,
                    "to be left out, as `non_dominated` ranks by all objectives",
                ),
            ]
        )

    def rungs(self, tasks: int) -> tuple[int, ...]:
        """Return the numbers of tasks after which decisions are made, all less than `tasks`."""
        rungs: list[int] = []
        rung: float = self.after_task
        while (after := int(rung)) < tasks:
            if after not in rungs:
                rungs.append(after)
            rung = rung * self.reduction_factor if self.every is None else rung + self.every
        return tuple(rungs)

    def ranking(self, objectives: Mapping[str, Direction]) -> dict[str, Direction]:
        """Return the metrics that decide, with their directions."""
        if self.kind == "non_dominated":
            return dict(objectives)
        name = self.metric or next(iter(objectives))
        return {name: objectives.get(name) or metrics.DIRECTIONS[name]}

    def in_words(self, tasks: int, objectives: Mapping[str, Direction]) -> str:
        """Return the rule in a few sentences, for a plan."""
        ranking = " and ".join(f"{name} ({way})" for name, way in self.ranking(objectives).items())
        criterion = "front by front in" if self.kind == "non_dominated" else "best by"
        rungs = ", ".join(map(str, self.rungs(tasks)))
        return (
            f"After {rungs} of {tasks} tasks, 1 in {self.reduction_factor:g} configurations "
            f"continues, {criterion} validation {ranking}, averaged over the same orders and "
            f"seeds. The others stop, but {self.audit:.0%} of them run to the end to measure the "
            "cost of stopping."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Racing:
    """Section `racing` of a sweep file: more replicates only where the front is undecided.

    A replicate is a task order with a seed. Each configuration gets the first `start` of the
    declared replicates. Then, round by round, `step` more are given to the configurations whose
    membership of the Pareto front is undecided and to those they must be compared with, up to all
    declared replicates.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["front"] = "front"
    start: int = 4
    """Number of replicates of each configuration at the start; one is too few for a decision."""
    step: int = 2
    """Number of additional replicates per round."""
    confidence: float = 0.95
    """Probability that all decisions of the race are correct simultaneously, at least."""

    def __post_init__(self) -> None:
        refuse(
            [
                require(self.start >= 2, "start", self.start, "2 or more", "One is too few."),
                require(self.step >= 1, "step", self.step, "1 or more"),
                require(
                    0.5 <= self.confidence < 1.0,
                    "confidence",
                    self.confidence,
                    "at least 0.5 and below 1",
                ),
            ]
        )

    def looks(self, replicates: int) -> tuple[int, ...]:
        """Return the numbers of replicates after which decisions are made, up to `replicates`."""
        return (*range(self.start, replicates, self.step), replicates)

    def in_words(self, replicates: int) -> str:
        """Return the rule in a few sentences, for a plan."""
        return (
            f"Each configuration gets {self.start} of {replicates} replicates; those whose "
            f"membership of the front is undecided, and those they must be compared with, get "
            f"{self.step} more per round. A configuration is off the front once another is better "
            f"or equal in every objective, and on it once no other can be, by paired intervals "
            f"with a simultaneous confidence of {self.confidence:.0%}."
        )


def rule_issues(
    early_stop: EarlyStop | None,
    racing: Racing | None,
    runs: Sequence[RunConfig],
    orders: OrderDesign,
    seeds: Sequence[int],
    replicates: ReplicateDesign,
    objectives: Mapping[str, Direction],
) -> list[ConfigIssue]:
    """Return issues between the rules and the rest of the sweep; `runs` are the searched ones."""
    competing = [run for run in runs if not run.method.ORDER_FREE]
    lengths = sorted({run.stream.tasks for run in competing})
    issues: list[ConfigIssue | None] = []
    for name, rule in (("early_stop", early_stop), ("racing", racing)):
        constraint = "to be left out where stream.tasks varies"
        hint = f"It compares configurations with equal task orders, but T is one of {lengths}."
        if rule is not None and len(lengths) > 1:
            issues.append(ConfigIssue(name, rule.kind, constraint, hint))
    if early_stop is not None and len(lengths) == 1:
        issues += _stopping_issues(early_stop, lengths[0], objectives)
    if racing is not None and len(lengths) == 1:
        issues += _racing_issues(racing, competing[0].stream, orders, seeds, replicates)
    return [issue for issue in issues if issue is not None]


def _stopping_issues(
    rule: EarlyStop, tasks: int, objectives: Mapping[str, Direction]
) -> list[ConfigIssue | None]:
    if tasks == 1:
        return [ConfigIssue("early_stop", rule.kind, "to be left out, as the stream has one task")]
    path = "early_stop.after_task"
    late = require(
        rule.after_task < tasks,
        path,
        rule.after_task,
        f"1 to {tasks - 1}: it comes before the last of {tasks} tasks",
    )
    if rule.metric is None and (not objectives or {*objectives} - {*metrics.OF_COUNTS, *EXACT}):
        return [late]  # the issues of the objectives explain the rest
    ranking = list(rule.ranking(objectives))
    if rule.kind == "asha" and ranking[0] in EXACT:
        constraint = f"one of {list(metrics.OF_COUNTS)}"
        hint = f"The first objective, {ranking[0]}, is the same for all runs of a configuration."
        return [late, ConfigIssue("early_stop.metric", rule.metric, constraint, hint)]
    lacking = [name for name in ranking if name in _undefined_after_one_task()]
    early = require(
        rule.after_task > 1 or not lacking,
        path,
        rule.after_task,
        "2 or more",
        f"Undefined after one task: {', '.join(lacking)}.",
    )
    return [late, early]


def _undefined_after_one_task() -> set[str]:
    one = np.array([[1]])
    counts = metrics.Counts(n=2 * one, correct=one, correct_task_given=one, task_id_correct=one)
    values = metrics.every_metric(counts)
    return {name for name in metrics.OF_COUNTS if values[name] is None}


def _racing_issues(
    rule: Racing,
    stream: StreamConfig,
    orders: OrderDesign,
    seeds: Sequence[int],
    replicates: ReplicateDesign,
) -> list[ConfigIssue | None]:
    rows = declared_orders(orders, stream)
    if rows is None:
        return []  # the issues of the orders explain the rest
    possible = rows * len(seeds)
    declared = min(replicates.runs or possible, possible)
    origin, more = f"orders ({rows}) x seeds ({len(seeds)})", "more orders or seeds"
    if replicates.runs is not None:
        origin, more = f"replicates.runs ({replicates.runs})", "more replicates.runs"
    return [
        require(
            rule.start < declared,
            "racing.start",
            rule.start,
            f"below {declared}, the declared replicates: {origin}",
            f"Declare {more}, or start with fewer."
            if declared > 2
            else f"Declare {more}: racing needs 3 or more replicates.",
        )
    ]
