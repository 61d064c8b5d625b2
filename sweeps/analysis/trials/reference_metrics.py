"""Metrics that compare a run with reference runs of the same sweep.

`clmethods.metrics.REFERENCES` defines the references that each metric needs. For a run, the sweep
may contain, with the same seed, split and backbone:

* `joint_final`: a joint run over all tasks, such as the baseline `joint_lora`;
* `single`: for each task a run of the same configuration that learned it first. The first stage of
  that run is a model of this task alone. Latin squares and Williams designs contain one per task;
* `untrained`: a run with `train.epochs: 0`;
* the bytes of every stage, for model size.

A metric is null if its references are missing. Joint training on the first j tasks for every j
(`joint_until`) is not a run that a sweep can contain.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.canonical import JsonValue, canonical_json
from clmethods.metrics import COUNT_METRICS, Counts, missing_evaluations
from sweeps.analysis.trials.accuracy import SequenceCounts, task_counts
from sweeps.analysis.trials.replicates import seed_of
from sweeps.analysis.trials.summary import summarize
from sweeps.results import latest_trials
from sweeps.results.rows import TrialRow

NEEDY: tuple[str, ...] = tuple(
    name for name, metric in COUNT_METRICS.items() if metric.needs is not None
)
"""Metrics that need data of other runs."""

REFERENCES_COLUMN = "references"
"""Column with the run used for each reference as JSON, by the names of `REFERENCES`."""

JOINT = ("joint_lora", "joint_full", "joint_linear")
"""Preferred methods of the joint run if there are several; ties are resolved by label."""

Accuracies = npt.NDArray[np.float64]


def full_summary(trials: pa.Table, evals: pa.Table, stages: pa.Table, split: str) -> pa.Table:
    """Return `summarize` with a column for each metric of `NEEDY`, and the reference runs used.

    Values are null if the sweep lacks the runs that a metric needs, or if the metric is undefined.
    """
    summary = summarize(trials, evals, split)
    finder = _References(trials, evals, stages, split)
    values: dict[str, list[float | None]] = {name: [] for name in NEEDY}
    used: list[str | None] = []
    columns = summary.select(["trial_id", "readout_id", "reason"]).to_pylist()
    for row in columns:
        counts, names = None, dict[str, str]()
        if row["reason"] is None:
            counts, names = finder.counts(row["trial_id"], row["readout_id"])
        for name in NEEDY:
            values[name].append(None if counts is None else COUNT_METRICS[name].function(counts))
        used.append(json.dumps(names) if names else None)
    for name in NEEDY:
        summary = summary.append_column(name, pa.array(values[name], pa.float64()))
    return summary.append_column(REFERENCES_COLUMN, pa.array(used, pa.string()))


class _Reference(NamedTuple):
    """Run with which other runs are compared."""

    name: str
    accuracy: dict[int, float]
    """Accuracies by task group, for the groups where they are known."""


@final
class _References:
    """Runs of a sweep, indexed by the properties that make them references of other runs."""

    def __init__(self, trials: pa.Table, evals: pa.Table, stages: pa.Table, split: str) -> None:
        self._counts = task_counts(evals, split)
        columns = stages.select(["stage_key", "state_bytes"])
        self._bytes: dict[str, int] = dict(
            zip(columns["stage_key"].to_pylist(), columns["state_bytes"].to_pylist(), strict=True)
        )
        self._trials = {row["trial_id"]: row for row in latest_trials(trials).to_pylist()}
        self._joint: dict[Hashable, list[TrialRow]] = {}
        self._untrained: dict[Hashable, list[TrialRow]] = {}
        self._first: dict[Hashable, dict[int, TrialRow]] = {}
        self._setting: dict[str, Hashable] = {}
        self._known: dict[Hashable, _Reference | None] = {}
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
        """Return the counts of a finished trial with its references, and the reference names."""
        trial, setting = self._trials[trial_id], self._setting[trial_id]
        order = trial["task_order"]
        references: dict[str, Accuracies] = {}
        names: dict[str, str] = {}
        for kind, reference in (
            ("joint_final", self._joint_final(trial, setting, readout)),
            ("untrained", self._of_untrained(trial, setting, readout)),
            ("single", self._single(trial, setting, readout)),
        ):
            if reference is not None and set(order) <= reference.accuracy.keys():
                references[kind] = np.array([reference.accuracy[group] for group in order])
                names[kind] = reference.name
        counts = self._of(trial, readout).counts
        return replace(counts, references=references, memory=self._memory(trial)), names

    def _joint_final(self, trial: TrialRow, setting: Hashable, readout: str) -> _Reference | None:
        joint_runs = self._joint.get(setting, [])
        if not joint_runs or trial["stages_total"] == 1:
            return None
        best = min(
            joint_runs, key=lambda joint_run: (_rank(joint_run["method"]), joint_run["label"])
        )
        return self._read(best, readout, "accuracy", -1)

    def _of_untrained(self, trial: TrialRow, setting: Hashable, readout: str) -> _Reference | None:
        untrained_runs = self._untrained.get(setting, [])
        if not untrained_runs:
            return None

        def distance(untrained_run: TrialRow) -> tuple[bool, bool, str]:
            method, order = untrained_run["method"], untrained_run["order_id"]
            return method != trial["method"], order != trial["order_id"], untrained_run["label"]

        return self._read(min(untrained_runs, key=distance), readout, "given", 0)

    def _single(self, trial: TrialRow, setting: Hashable, readout: str) -> _Reference | None:
        first = self._first.get((trial["config_id"], setting), {})
        if trial["stages_total"] == 1 or not set(trial["task_order"]) <= first.keys():
            return None
        accuracy: dict[int, float] = {}
        for group in trial["task_order"]:
            reference = self._read(first[group], readout, "accuracy", 0)
            if reference is not None and group in reference.accuracy:
                accuracy[group] = reference.accuracy[group]
        return _Reference(f"{trial['label']}, first task of each order", accuracy)

    def _read(
        self, other: TrialRow, readout: str, table_name: Literal["accuracy", "given"], stage: int
    ) -> _Reference | None:
        """Return the accuracies of another run after one of its stages; None if incomplete.

        The same readout is used, or `last` if the other run does not have it.
        """
        key = (other["trial_id"], readout, table_name, stage)
        if key not in self._known:
            self._known[key] = None
            names = [name for name in (readout, "last") if name in other["readout_ids"]]
            run_counts = self._of(other, names[0]) if names else None
            if run_counts is not None and _complete(run_counts):
                table = (
                    run_counts.accuracy
                    if table_name == "accuracy"
                    else run_counts.counts.task_incremental
                )
                values = dict(zip(other["task_order"], table[stage].tolist(), strict=True))
                known = {group: value for group, value in values.items() if value == value}
                suffix = "" if names[0] == readout else f", readout `{names[0]}`"
                self._known[key] = _Reference(f"{other['label']}{suffix}", known)
        return self._known[key]

    def _of(self, trial: TrialRow, readout: str) -> SequenceCounts:
        keys, partition = trial["stage_keys"], trial["partition_id"]
        return self._counts.of(keys, partition, readout, trial["task_order"])

    def _memory(self, trial: TrialRow) -> Accuracies | None:
        """Return the cumulative bytes (S,) after each stage; None if a stage is not stored."""
        sizes = [self._bytes.get(key) for key in trial["stage_keys"]]
        if any(size is None for size in sizes):
            return None
        return np.cumsum(np.array(sizes, dtype=np.float64))


def _complete(run_counts: SequenceCounts) -> bool:
    """Return True if the accuracy matrix has all of its values."""
    return not bool(missing_evaluations(run_counts.n).any())


def _rank(method: str) -> int:
    return JOINT.index(method) if method in JOINT else len(JOINT)


def _setting(trial: TrialRow, run: Mapping[str, Mapping[str, JsonValue]]) -> Hashable:
    """Return what a reference must share: data, partition and split, backbone, and seeds."""
    stream = {k: v for k, v in run.get("stream", {}).items() if k != "task_order"}
    shared = canonical_json([stream, run.get("backbone", {})])
    return trial["partition_id"], seed_of(trial), shared
