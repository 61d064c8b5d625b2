"""Metrics that compare a run with others: the reference runs that the sweep itself holds.

`clmethods.metrics.REFERENCES` says what each metric needs. Of a run with its seed, its split and
its backbone, the sweep may hold

* `joint_final`: a joint run over all tasks, such as the baseline `joint_lora`;
* `single`: for every task a run of the same configuration that learned it first, whose first stage
  is a model of that task alone (Latin squares and Williams designs have one for each);
* `untrained`: a run with `train.epochs: 0`;
* the bytes of every stage, for model size.

What is not there leaves its metrics null. Joint training on the first j tasks for every j
(`joint_until`) is no run that a sweep can hold.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.config.canonical import canonical_json
from clmethods.metrics import COUNT_METRICS, Counts
from sweeps.analysis.accuracy import SequenceCounts, TaskCounts
from sweeps.analysis.replicates import seed_of
from sweeps.analysis.summary import missing, summarise, trial_counts
from sweeps.results import latest_trials

NEEDY: tuple[str, ...] = tuple(
    name for name, metric in COUNT_METRICS.items() if metric.needs is not None
)
"""Metrics that a run has not by itself."""

REFERENCES_COLUMN = "references"
"""JSON: which run stood in for each reference, by the names of `REFERENCES`."""

JOINT = ("joint_lora", "joint_full", "joint_linear")
"""Which joint run is taken where there are several; then the first label."""

Row = Mapping[str, Any]
Accuracies = npt.NDArray[np.float64]


def full_summary(trials: pa.Table, evals: pa.Table, stages: pa.Table, split: str) -> pa.Table:
    """`summarise` with a column for every metric of `NEEDY`, and the reference runs that it used.

    Null where the sweep does not hold the runs that a metric needs, and where it is undefined.
    """
    summary = summarise(trials, evals, split)
    finder = _References(trials, evals, stages, split)
    found: dict[str, list[float | None]] = {name: [] for name in NEEDY}
    used: list[str | None] = []
    columns = summary.select(["trial_id", "readout_id", "reason"]).to_pylist()
    for row in columns:
        counts, names = None, dict[str, str]()
        if row["reason"] is None:
            counts, names = finder.counts(row["trial_id"], row["readout_id"])
        for name in NEEDY:
            found[name].append(None if counts is None else COUNT_METRICS[name].function(counts))
        used.append(json.dumps(names) if names else None)
    for name in NEEDY:
        summary = summary.append_column(name, pa.array(found[name], pa.float64()))
    return summary.append_column(REFERENCES_COLUMN, pa.array(used, pa.string()))


@final
class _References:
    """The runs of a sweep, by what makes them the reference of others."""

    def __init__(self, trials: pa.Table, evals: pa.Table, stages: pa.Table, split: str) -> None:
        self._counts = TaskCounts(evals, split)
        columns = stages.select(["stage_key", "state_bytes"])
        self._bytes: dict[str, int] = dict(
            zip(columns["stage_key"].to_pylist(), columns["state_bytes"].to_pylist(), strict=True)
        )
        self._trials = {row["trial_id"]: row for row in latest_trials(trials).to_pylist()}
        self._joint: dict[Hashable, list[Row]] = {}
        self._untrained: dict[Hashable, list[Row]] = {}
        self._first: dict[Hashable, dict[int, Row]] = {}
        self._setting: dict[str, Hashable] = {}
        for name, trial in self._trials.items():
            run = json.loads(trial["run"])
            setting = self._setting[name] = _setting(trial, run)
            if trial["status"] != "finished":
                continue
            if trial["stages_total"] == 1 and len(trial["task_order"]) > 1:
                if trial["role"] == "reference":
                    self._joint.setdefault(setting, []).append(trial)
                continue
            if run.get("train", {}).get("epochs") == 0:
                self._untrained.setdefault(setting, []).append(trial)
            of_configuration = self._first.setdefault((trial["config_id"], setting), {})
            of_configuration.setdefault(trial["task_order"][0], trial)

    def counts(self, trial_id: str, readout: str) -> tuple[Counts, dict[str, str]]:
        """What the metrics of a finished trial read, and the names of the runs behind it."""
        trial = self._trials[trial_id]
        setting = self._setting[trial_id]
        references: dict[str, Accuracies] = {}
        names: dict[str, str] = {}
        for name, one in (
            ("joint_final", self._joint_final(trial, setting, readout)),
            ("untrained", self._of_untrained(trial, setting, readout)),
            ("single", self._single(trial, setting, readout)),
        ):
            if one is not None and np.isfinite(one[0]).all():
                references[name], names[name] = one
        counts = trial_counts(dict(trial), readout, self._counts).counts
        return replace(counts, references=references, memory=self._memory(trial)), names

    def _joint_final(
        self, trial: Row, setting: Hashable, readout: str
    ) -> tuple[Accuracies, str] | None:
        found = [
            one for one in self._joint.get(setting, []) if one["trial_id"] != trial["trial_id"]
        ]
        if not found:
            return None
        best = min(found, key=lambda one: (_rank(one["method"]), one["label"]))
        counts = self._of(best, readout, trial)
        return None if counts is None else (counts.accuracy[-1], best["label"])

    def _of_untrained(
        self, trial: Row, setting: Hashable, readout: str
    ) -> tuple[Accuracies, str] | None:
        found = self._untrained.get(setting, [])
        if not found:
            return None
        best = min(
            found,
            key=lambda one: (
                one["method"] != trial["method"],
                one["order_id"] != trial["order_id"],
                one["label"],
            ),
        )
        counts = self._of(best, readout, trial)
        return None if counts is None else (counts.counts.task_incremental[0], best["label"])

    def _single(
        self, trial: Row, setting: Hashable, readout: str
    ) -> tuple[Accuracies, str] | None:
        first = self._first.get((trial["config_id"], setting), {})
        order = trial["task_order"]
        if trial["stages_total"] == 1 or not set(order) <= first.keys():
            return None
        values = []
        for place, group in enumerate(order):
            counts = self._of(first[group], readout, trial)
            if counts is None:
                return None
            values.append(counts.accuracy[0, place])
        return np.array(values), f"{trial['label']}, its own first tasks"

    def _of(self, other: Row, readout: str, trial: Row) -> SequenceCounts | None:
        """Counts of another run over the tasks of `trial`, in its order; None if incomplete."""
        names = [name for name in (readout, "last") if name in other["readout_ids"]]
        if not names or missing(dict(other), trial_counts(dict(other), names[0], self._counts)):
            return None
        return self._counts.of(
            other["stage_keys"], other["partition_id"], names[0], trial["task_order"]
        )

    def _memory(self, trial: Row) -> Accuracies | None:
        """(S,) bytes stored for the chain up to each stage; None if some stage is not known."""
        sizes = [self._bytes.get(key) for key in trial["stage_keys"]]
        if any(size is None for size in sizes):
            return None
        return np.cumsum(np.array(sizes, dtype=np.float64))


def _rank(method: str) -> int:
    return JOINT.index(method) if method in JOINT else len(JOINT)


def _setting(trial: Row, run: Row) -> Hashable:
    """What a reference must share: the data, how it is cut and split, the backbone, the seeds."""
    stream = {k: v for k, v in run.get("stream", {}).items() if k != "task_order"}
    shared = canonical_json([stream, run.get("backbone", {})])
    return trial["partition_id"], seed_of(trial), shared
