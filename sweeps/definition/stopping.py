"""Which configurations get all their tasks and replicates: early stopping and racing.

Both are rules over configurations, never over single trials. `sweeps.search` takes the decisions;
here is what a sweep file says about them, and the two schedules that follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from typing import ClassVar, Literal, TypeVar

import numpy as np

from clmethods import metrics
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig
from clmethods.errors import ConfigIssue, InvalidConfigError, finite, nearest, refuse, require
from clmethods.metrics import Direction
from sweeps.definition.orders import CHAINS, OrderDesign, task_names

A = TypeVar("A")
B = TypeVar("B")

EXACT = ("trainable_parameters",)
"""Objectives that follow from the configuration: there is no luck in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStop:
    """What a sweep file says under `early_stop`: configurations that stop after some tasks.

    At a rung all runs of all configurations stand after the same number of tasks. The best
    1 / reduction_factor of the configurations go on to the next rung, the others stop.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["asha", "non_dominated"] = "asha"
    """`asha`: successive halving by one metric, synchronously. `non_dominated`: by all
    objectives, front after front, and within the front that is cut the least crowded."""
    after_task: int = 1
    """The first rung: how many tasks have been learned by then."""
    every: int | None = None
    """Tasks between rungs; null: each rung comes reduction_factor times as late as the last."""
    reduction_factor: float = 3.0
    """Of n configurations at a rung, n / reduction_factor go on, rounded up."""
    metric: str | None = None
    """By which `asha` ranks, read from validation accuracy; null: the first objective."""
    audit: float = 0.1
    """Share of the stopped configurations that runs on all the same, drawn at random: it measures
    what stopping costs."""
    seed: int = 0
    """Which ones are drawn for the audit."""

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
        """After how many tasks is decided, in a stream of `tasks`; never after the last."""
        found: list[int] = []
        rung: float = self.after_task
        while (after := int(rung)) < tasks:
            if after not in found:
                found.append(after)
            rung = rung * self.reduction_factor if self.every is None else rung + self.every
        return tuple(found)

    def ranking(self, objectives: Mapping[str, Direction]) -> dict[str, Direction]:
        """The metrics that decide, with their directions."""
        if self.kind == "non_dominated":
            return dict(objectives)
        name = self.metric or next(iter(objectives))
        return {name: objectives.get(name) or metrics.DIRECTIONS[name]}

    def in_words(self, tasks: int, objectives: Mapping[str, Direction]) -> str:
        """The rule in a few sentences, for a plan."""
        by = " and ".join(f"{name} ({way})" for name, way in self.ranking(objectives).items())
        how = "front after front in" if self.kind == "non_dominated" else "best by"
        after = ", ".join(map(str, self.rungs(tasks)))
        return (
            f"After {after} of {tasks} tasks, 1 in {self.reduction_factor:g} configurations goes "
            f"on, {how} validation {by}, averaged over the same orders and seeds. The others "
            f"stop, but {self.audit:.0%} of them run on to measure what stopping costs."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Racing:
    """What a sweep file says under `racing`: replicates only where the front is undecided.

    A replicate is a task order with a seed. Every configuration gets the first `start` of the
    declared replicates. Then, round by round, those whose place on the Pareto front is undecided
    get `step` more, and those that they must be compared with; up to all that are declared.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["front"] = "front"
    start: int = 4
    """Replicates that every configuration gets; one alone decides nothing."""
    step: int = 2
    """Further replicates per round."""
    confidence: float = 0.95
    """With at least this probability all decisions of the race are right together."""

    def __post_init__(self) -> None:
        refuse(
            [
                require(self.start >= 2, "start", self.start, "2 or more", "One decides nothing."),
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
        """After how many replicates is decided, of those declared; the last look is at all."""
        return (*range(self.start, replicates, self.step), replicates)

    def in_words(self, replicates: int) -> str:
        """The rule in a few sentences, for a plan."""
        return (
            f"Every configuration gets {self.start} of {replicates} replicates; those whose place "
            f"on the front is still undecided, and those they must be compared with, get "
            f"{self.step} more per round. A configuration is off the front once another is better "
            f"or equal in every objective, and on it once no other can be, by paired intervals "
            f"that hold together with {self.confidence:.0%} confidence."
        )


def replicate_sequence(orders: Sequence[A], seeds: Sequence[B]) -> tuple[tuple[A, B], ...]:
    """Every (order, seed) once, in the sequence in which racing adds them.

    Replicate k has the order k mod I and the seed (k + floor(k / lcm(I, J))) mod J: along the
    diagonals of the I x J table. So at every moment each order has been used equally often, up to
    one, and so has each seed; the first min(I, J) replicates share neither an order nor a seed.
    """
    i, j = len(orders), len(seeds)
    return tuple((orders[k % i], seeds[(k + k // lcm(i, j)) % j]) for k in range(i * j))


def rule_faults(
    early_stop: EarlyStop | None,
    racing: Racing | None,
    runs: Sequence[RunConfig],
    orders: OrderDesign,
    seeds: Sequence[int],
    objectives: Mapping[str, Direction],
) -> list[ConfigIssue]:
    """What the rest of the sweep makes impossible; `runs` are those that are searched."""
    competing = [run for run in runs if not run.method.ORDER_FREE]
    lengths = sorted({run.stream.tasks for run in competing})
    found: list[ConfigIssue | None] = []
    for name, rule in (("early_stop", early_stop), ("racing", racing)):
        constraint = "to be left out where stream.tasks varies"
        hint = f"It compares configurations in the same task orders, and here are {lengths} tasks."
        if rule is not None and len(lengths) > 1:
            found.append(ConfigIssue(name, rule.kind, constraint, hint))
    if early_stop is not None and len(lengths) == 1:
        found += _stopping_faults(early_stop, lengths[0], objectives)
    if racing is not None and len(lengths) == 1:
        found += _racing_faults(racing, competing[0].stream, orders, seeds)
    return [issue for issue in found if issue is not None]


def _stopping_faults(
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
        return [late]  # the objectives' own issues say why
    ranking = list(rule.ranking(objectives))
    if rule.kind == "asha" and ranking[0] in EXACT:
        constraint = f"one of {list(metrics.OF_COUNTS)}"
        hint = f"The first objective, {ranking[0]}, does not depend on how a run goes."
        return [late, ConfigIssue("early_stop.metric", rule.metric, constraint, hint)]
    lacking = [name for name in ranking if name in _undefined_after_one_task()]
    early = require(
        rule.after_task > 1 or not lacking,
        path,
        rule.after_task,
        "2 or more",
        f"After one task there is no {' nor '.join(lacking)} yet.",
    )
    return [late, early]


def _undefined_after_one_task() -> set[str]:
    one = np.array([[1]])
    counts = metrics.Counts(n=2 * one, correct=one, correct_task_given=one, task_id_correct=one)
    values = metrics.every_metric(counts)
    return {name for name in metrics.OF_COUNTS if values[name] is None}


def _racing_faults(
    rule: Racing, stream: StreamConfig, orders: OrderDesign, seeds: Sequence[int]
) -> list[ConfigIssue | None]:
    try:
        if orders.needs_table:  # what the data says may make some of the chains equal
            rows = 1 if orders.design in CHAINS else len(CHAINS)
        else:
            rows = len(orders.orders(stream.tasks, task_names(stream)))
    except InvalidConfigError:
        return []  # the orders' own issues say why
    declared = rows * len(seeds)
    return [
        require(
            rule.start < declared,
            "racing.start",
            rule.start,
            f"below {declared}, the declared replicates: orders ({rows}) x seeds ({len(seeds)})",
            "Declare more orders or seeds, or start with fewer."
            if declared > 2
            else "Declare more orders or seeds: racing needs 3 or more replicates.",
        )
    ]
