"""Metrics of a running trial, for progress displays. No decision uses them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from clmethods.config import StageSpec, evaluation_id, partition_id
from clmethods.metrics import Counts, counts_from_rows, some_metrics
from sweeps.definition import TrialSpec
from sweeps.stages.stage_store import StageReader

WATCHED = ("average_accuracy", "forgetting")
"""Metrics that are reported in addition to the objectives."""


def metrics_so_far(
    store: StageReader,
    trial: TrialSpec,
    chain: Sequence[StageSpec],
    objectives: Collection[str] = (),
) -> dict[str, float]:
    """Return the last loss, and metrics over the tasks learned in the stages of `chain`.

    The metrics use validation images and the first readout, as objectives do. A metric that is
    undefined (forgetting after one task, a validation split without images) or whose counts were
    damaged is left out. Accuracies are fractions in [0, 1].
    """
    record = store.record(chain[-1].key) if chain else None
    if record is None:
        return {}
    counts = _counts(store, trial, chain)
    names = dict.fromkeys([*WATCHED, *objectives])
    values = some_metrics(counts, names) if counts is not None else {}
    values["cross_entropy"] = record.result["training"]["cross_entropy"]
    values["trainable_parameters"] = record.result["method"]["trainable_parameters"]
    return {
        name: float(value)
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    }


def _counts(store: StageReader, trial: TrialSpec, chain: Sequence[StageSpec]) -> Counts | None:
    """Return counts of shape (stages, tasks learned so far); None if an evaluation is missing."""
    stages = len(chain)
    tasks = [group.index for stage in chain for group in stage.groups]
    if stages not in {1, len(tasks)}:
        return None
    identity = evaluation_id(trial.readouts[0], partition_id(trial.run))
    rows = [store.evaluation(stage.key, identity) for stage in chain]
    counts = counts_from_rows(rows, tasks, "validation")
    return None if any(r is None for r in rows) else counts
