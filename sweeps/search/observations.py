"""What decisions are taken from: the objectives of each run after each of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, final

import numpy as np

from clmethods.metrics import Counts, every_metric

SPLIT = "validation"
"""Decisions never read the test split."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known of one run."""

    values: tuple[Mapping[str, float | None], ...]
    """Its objectives as if the sequence ended after the first, second, ... stage; None where one
    is undefined, as forgetting is after the first task."""
    failed: bool = False
    """Whether it ended there by a fault of its own, short of what was asked for."""

    def until(self, stages: int) -> Observation:
        """What was known after `stages` stages: a later failure was not."""
        if len(self.values) < stages:
            return self
        return Observation(values=self.values[:stages])


def objectives_of(
    stages: Sequence[Sequence[Mapping[str, Any]]], order: Sequence[int], objectives: Sequence[str]
) -> dict[str, float | None]:
    """The wanted metrics of a run that ends after the last of `stages`.

    `stages` are the counts of the evaluations of one readout, a list of `EvalCount` rows per
    stage; `order` gives the tasks by their groups, as many as there are stages, or all of them
    for a run of one stage. The definitions are those of `analysis.summary`.
    """
    shape = (len(stages), len(order))
    position = {task: i for i, task in enumerate(order)}
    n, correct, given, routed = (np.zeros(shape, dtype=np.int64) for _ in range(4))
    infers = False
    for s, rows in enumerate(stages):
        for row in rows:
            t = position.get(row["task"])
            if t is None or row["split"] != SPLIT:
                continue
            n[s, t] += row["n"]
            correct[s, t] += row["correct"] or 0
            given[s, t] += row["correct_task_given"]
            routed[s, t] += row["task_id_correct"] or 0
            infers |= row["task_id_correct"] is not None
    seen = np.tril(np.ones(shape, dtype=bool)) if shape[0] == shape[1] else np.True_
    if ((n == 0) & seen).any():
        return dict.fromkeys(objectives)
    counts = Counts(
        n=n, correct=correct, correct_task_given=given, task_id_correct=routed if infers else None
    )
    found = every_metric(counts)
    return {name: found.get(name) for name in objectives}


def mean_objectives(
    observations: Sequence[Observation], stages: int, objectives: Sequence[str]
) -> tuple[float, ...] | None:
    """The mean of each objective over runs after `stages` stages; None if any of them has none."""
    if not observations or any(seen.failed or len(seen.values) < stages for seen in observations):
        return None
    columns = [[seen.values[stages - 1][name] for seen in observations] for name in objectives]
    if any(value is None for column in columns for value in column):
        return None
    return tuple(fmean(value for value in column if value is not None) for column in columns)
