"""Accuracy matrices and metrics of a finished run, in the format of `metrics.json`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from clmethods.config import ReadoutConfig, RunConfig
from clmethods.data.streams import EVALUATED_SPLITS
from clmethods.metrics import METRICS
from clmethods.training.sequence import SequenceStep, accuracy_matrix

ReadoutMetrics = dict[str, Any]
"""Entry `accuracy`, the rows of the accuracy matrix, and a value or None by name of a metric."""

MetricsBySplit = dict[str, dict[str, ReadoutMetrics]]
"""Metrics by split and readout id, the content of a JSON document."""


@final
@dataclass(frozen=True, slots=True)
class StoredMetrics:
    """Content of `metrics.json`."""

    readouts: list[ReadoutConfig]
    splits: MetricsBySplit


def metrics_by_split(
    run: RunConfig, steps: Sequence[SequenceStep], readouts: Sequence[ReadoutConfig]
) -> MetricsBySplit:
    """Return {split: {readout id: {"accuracy": rows, metric: value, ...}}}; null where undefined.

    A split without images is omitted, such as a validation split of fraction 0.
    """
    document: MetricsBySplit = {}
    for split in EVALUATED_SPLITS:
        if not any(c.split == split for counts in steps[-1].counts.values() for c in counts):
            continue
        document[split] = {}
        for readout in readouts:
            matrix = accuracy_matrix(run, steps, readout.readout_id, split)
            rows = [[None if math.isnan(a) else a for a in row] for row in matrix]
            values = {name: metric.function(matrix) for name, metric in METRICS.items()}
            document[split][readout.readout_id] = {"accuracy": rows, **values}
    return document
