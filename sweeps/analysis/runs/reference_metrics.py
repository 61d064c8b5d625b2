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
from typing import Any, Literal, NamedTuple, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.canonical import canonical_json
from clmethods.metrics import COUNT_METRICS, Counts
from sweeps.analysis.runs.accuracy import SequenceCounts, task_counts
from sweeps.analysis.runs.replicates import seed_of
from sweeps.analysis.runs.summary import summarise
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


class _Reference(NamedTuple):
    """A run that others are held against."""

    name: str
    accuracy: dict[int, float]
    """By task group, as far as it is known."""


@final
class _References:
    """The runs of a sweep, by what makes them the reference of others."""

    def __init__(self, trials: pa.Table, evals: pa.Table, stages: pa.Table, split: str) -> None:
        self._counts = task_counts(evals, split)
        columns = stages.select(["stage_key", "state_bytes"])
        self._bytes: dict[str, int] = dict(
            zip(columns["stage_key"].to_pylist(), columns["state_bytes"].to_pylist(), strict=True)
        )
        self._trials = {row["trial_id"]: row for row in latest_trials(trials).to_pylist()}
        self._joint: dict[Hashable, list[Row]] = {}
        self._untrained: dict[Hashable, list[Row]] = {}
        self._first: dict[Hashable, dict[int, Row]] = {}
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
        """What the metrics of a finished trial read, and the names of the runs behind it."""
        trial, setting = self._trials[trial_id], self._setting[trial_id]
        order = trial["task_order"]
        references: dict[str, Accuracies] = {}
        names: dict[str, str] = {}
        for kind, one in (
            ("joint_final", self._joint_final(trial, setting, readout)),
            ("untrained", self._of_untrained(trial, setting, readout)),
            ("single", self._single(trial, setting, readout)),
        ):
            if one is not None and set(order) <= one.accuracy.keys():
                references[kind] = np.array([one.accuracy[group] for group in order])
                names[kind] = one.name
        counts = self._of(trial, readout).counts
        return replace(counts, references=references, memory=self._memory(trial)), names

    def _joint_final(self, trial: Row, setting: Hashable, readout: str) -> _Reference | None:
        found = self._joint.get(setting, [])
        if not found or trial["stages_total"] == 1:
            return None
        best = min(found, key=lambda one: (_rank(one["method"]), one["label"]))
        return self._read(best, readout, "accuracy", -1)

    def _of_untrained(self, trial: Row, setting: Hashable, readout: str) -> _Reference | None:
        found = self._untrained.get(setting, [])
        if not found:
            return None

        def distance(one: Row) -> tuple[bool, bool, str]:
            method, order = one["method"], one["order_id"]
            return method != trial["method"], order != trial["order_id"], one["label"]

        return self._read(min(found, key=distance), readout, "given", 0)

    def _single(self, trial: Row, setting: Hashable, readout: str) -> _Reference | None:
        first = self._first.get((trial["config_id"], setting), {})
        if trial["stages_total"] == 1 or not set(trial["task_order"]) <= first.keys():
            return None
        accuracy: dict[int, float] = {}
        for group in trial["task_order"]:
            one = self._read(first[group], readout, "accuracy", 0)
            if one is not None and group in one.accuracy:
                accuracy[group] = one.accuracy[group]
        return _Reference(f"{trial['label']}, its own first tasks", accuracy)

    def _read(
        self, other: Row, readout: str, which: Literal["accuracy", "given"], stage: int
    ) -> _Reference | None:
        """Accuracies of another run after one of its stages; None if they are incomplete.

        Read under the same readout, or under `last` where the other run has no such readout.
        """
        key = (other["trial_id"], readout, which, stage)
        if key not in self._known:
            self._known[key] = None
            names = [name for name in (readout, "last") if name in other["readout_ids"]]
            found = self._of(other, names[0]) if names else None
            if found is not None and _complete(found):
                table = found.accuracy if which == "accuracy" else found.counts.task_incremental
                values = dict(zip(other["task_order"], table[stage].tolist(), strict=True))
                known = {group: value for group, value in values.items() if value == value}
                by = "" if names[0] == readout else f", read by `{names[0]}`"
                self._known[key] = _Reference(f"{other['label']}{by}", known)
        return self._known[key]

    def _of(self, trial: Row, readout: str) -> SequenceCounts:
        keys, partition = trial["stage_keys"], trial["partition_id"]
        return self._counts.of(keys, partition, readout, trial["task_order"])

    def _memory(self, trial: Row) -> Accuracies | None:
        """(S,) bytes stored for the chain up to each stage; None if some stage is not known."""
        sizes = [self._bytes.get(key) for key in trial["stage_keys"]]
        if any(size is None for size in sizes):
            return None
        return np.cumsum(np.array(sizes, dtype=np.float64))


def _complete(found: SequenceCounts) -> bool:
    """Whether every task was evaluated after every stage from its own on."""
    stages, tasks = found.n.shape
    needed = np.tril(np.ones((stages, tasks), dtype=bool)) if stages == tasks else np.True_
    return not bool(((found.n == 0) & needed).any())


def _rank(method: str) -> int:
    return JOINT.index(method) if method in JOINT else len(JOINT)


def _setting(trial: Row, run: Row) -> Hashable:
    """What a reference must share: the data, how it is cut and split, the backbone, the seeds."""
    stream = {k: v for k, v in run.get("stream", {}).items() if k != "task_order"}
    shared = canonical_json([stream, run.get("backbone", {})])
    return trial["partition_id"], seed_of(trial), shared
