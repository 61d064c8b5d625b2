"""Observations of runs, the input of all decisions: objectives after each task of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import final

import numpy as np

from clmethods.metrics import Counts, every_metric
from sweeps.analysis.trials.summary import missing_evaluations
from sweeps.stages.stage_documents import CountRow

SPLIT = "validation"
"""Split that decisions use; they never use the test split."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Metrics of one run after each of its stages."""

    values: tuple[Mapping[str, float | None], ...]
    """Objectives as if the sequence ended after the first, second, ... stage. None for undefined
    values, such as forgetting after the first task."""
    failed: bool = False
    """True if the run failed because of its own error before the requested stage."""

    def until(self, stages: int) -> Observation:
        """Return the observation as it was after `stages` stages, before any later failure."""
        if len(self.values) < stages:
            return self
        return Observation(values=self.values[:stages])


def objectives_of(
    stages: Sequence[Sequence[CountRow]],
    order: Sequence[int],
    objectives: Sequence[str],
) -> dict[str, float | None]:
    """Return the objectives of a run that ends after the last of `stages`.

    `stages` are the counts of the evaluations of one readout: one list of `EvalCount` rows per
    stage. `order` lists the task groups in the order of learning: one per stage, or all of them
    for a run with a single stage. All values are None if an evaluation is missing. The metrics are
    defined as in `sweeps.analysis.trials.summary`.
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
    if missing_evaluations(n).any():
        return dict.fromkeys(objectives)
    counts = Counts(
        n=n, correct=correct, correct_task_given=given, task_id_correct=routed if infers else None
    )
    metrics = every_metric(counts)
    return {name: metrics.get(name) for name in objectives}


def mean_objectives(
    observations: Sequence[Observation], stages: int, objectives: Sequence[str]
) -> tuple[float, ...] | None:
    """Return the mean of each objective after `stages` stages; None unless all runs have all."""
    if not observations or any(
        observation.failed or len(observation.values) < stages for observation in observations
    ):
        return None
    columns = [
        [observation.values[stages - 1][name] for observation in observations]
        for name in objectives
    ]
    if any(value is None for column in columns for value in column):
        return None
    return tuple(fmean(value for value in column if value is not None) for column in columns)
