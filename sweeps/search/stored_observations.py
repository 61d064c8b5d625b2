"""Observations from a storage: evaluated stages, and trials that failed.

Observations are read from the stage store, not from the result tables, which are copies. Nothing
is written, moved or repaired. Damaged data is named and counts as missing; the next run repairs
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

from clmethods.checksummed_json import sha256
from clmethods.config.keys import evaluation_id, partition_id, stage_chain
from clmethods.config.stage_marker import StageMarker
from clmethods.json_parsing import parse_json
from clmethods.metrics import EvalRow
from sweeps.definition.sweep import Sweep
from sweeps.results import latest_trials, read_table
from sweeps.search.controller import is_sequential, next_step
from sweeps.search.observations import Observation, objectives_of
from sweeps.search.search_state import Request, Step
from sweeps.stages.stage_checks import checked_evaluation, checked_marker
from sweeps.storage import MissingObjectError, ObjectStore
from sweeps.storage.key_layout import evaluation_name, stage_folder

PARAMETERS = "trainable_parameters"
TRAINED_AGAIN = "`sweeps run` trains the stage again"
EVALUATED_AGAIN = "`sweeps run` evaluates the stage again"


@final
class StoredObservations:
    """Stored observations of the runs of a sweep. Everything that was read is cached."""

    def __init__(
        self, sweep: Sweep, objects: ObjectStore, retried: Mapping[str, int] | None = None
    ) -> None:
        """Ignore the failures of `retried`: number of the last attempt by trial_id."""
        self._sweep, self._objects = sweep, objects
        self._retried = retried or {}
        rule = sweep.early_stop
        self._objectives = list(
            {**sweep.objectives, **(rule.ranking(sweep.objectives) if rule else {})}
        )
        self._failed: frozenset[str] | None = None
        self._keys: dict[str, tuple[str, ...]] = {}
        self._counts: dict[str, list[list[EvalRow]]] = {}
        self._values: dict[str, list[dict[str, float | None]]] = {}
        self.left_out: dict[str, str] = {}
        """One sentence for each object that was damaged when it was read, by its key."""

    def refresh(self) -> None:
        """Read the failed trials again at the next request."""
        self._failed = None

    def __call__(self, request: Request) -> Observation | None:
        """Return the observation of the first stages of a run; None if it is not available yet."""
        values = self._read(request)
        if len(values) >= request.stages:
            return Observation(values=tuple(values[: request.stages]))
        if request.trial.trial_id in self._failures():
            return Observation(values=tuple(values), failed=True)
        return None

    def _failures(self) -> frozenset[str]:
        if self._failed is None:
            attempts = failed_attempts(self._sweep, self._objects).items()
            self._failed = frozenset(t for t, n in attempts if n > self._retried.get(t, 0))
        return self._failed

    def _read(self, request: Request) -> list[dict[str, float | None]]:
        """Return the objectives after each stage, up to the first stage that is not stored."""
        trial, run = request.trial, request.trial.run
        values = self._values.setdefault(trial.trial_id, [])
        counts = self._counts.setdefault(trial.trial_id, [])
        if len(values) >= request.stages:
            return values
        if trial.trial_id not in self._keys:
            self._keys[trial.trial_id] = tuple(stage.key for stage in stage_chain(run))
        identity = evaluation_id(trial.readouts[0], partition_id(run))
        objectives = self._objectives
        for position in range(len(values), request.stages):
            key = self._keys[trial.trial_id][position]
            rows = self._evaluation(key, identity)
            parameters = self._parameters(key) if PARAMETERS in objectives else None
            if rows is None or (PARAMETERS in objectives and parameters is None):
                break
            counts.append(rows)
            order = run.stream.order if run.method.ORDER_FREE else run.stream.order[: position + 1]
            metrics = objectives_of(counts, order, objectives)
            values.append(metrics if parameters is None else metrics | {PARAMETERS: parameters})
        return values

    def _parameters(self, key: str) -> float | None:
        """Return the number of trainable parameters at a stage; None if it cannot be read."""
        marker = self._marker(key)
        if marker is None:
            return None
        name = f"{stage_folder(key)}/{marker['result']}"
        try:
            data = self._objects.get(name)
        except MissingObjectError:
            return None
        if f"result-{sha256(data)}.json" != marker["result"]:
            self._leave_out(name, "it does not have its checksum", TRAINED_AGAIN)
            return None
        return float(parse_json(data)["method"][PARAMETERS])

    def _marker(self, key: str) -> StageMarker | None:
        name = f"{stage_folder(key)}/stage.json"
        try:
            marker = checked_marker(self._objects.get(name), key)
        except MissingObjectError:
            return None
        if marker is None:
            self._leave_out(name, "it is not what was written", TRAINED_AGAIN)
        return marker

    def _evaluation(self, key: str, eval_id: str) -> list[EvalRow] | None:
        name = evaluation_name(key, eval_id)
        try:
            data = self._objects.get(name)
        except MissingObjectError:
            return None
        found = checked_evaluation(data, key, eval_id, lambda: self._marker(key))
        if found.problem:
            self._leave_out(name, found.problem, EVALUATED_AGAIN)
            return None
        rows: list[EvalRow] = found.value
        return rows

    def _leave_out(self, name: str, problem: str, remedy: str) -> None:
        self.left_out[name] = f"{name} is left out: {problem}; {remedy}"


def failed_attempts(sweep: Sweep, objects: ObjectStore) -> dict[str, int]:
    """Return the number of the last attempt of each trial whose last attempt failed."""
    rows = latest_trials(read_table(objects, sweep.name, "trials").table)
    columns = rows.select(["trial_id", "attempt", "status"]).to_pylist()
    return {row["trial_id"]: row["attempt"] for row in columns if row["status"] == "failed"}


class StoredStep(NamedTuple):
    """Current step of a sweep, and the damaged objects without which it was determined."""

    step: Step
    left_out: Mapping[str, str]
    """One sentence for each of these objects, with the reason and the remedy, by its key."""


def read_step(sweep: Sweep, objects: ObjectStore) -> StoredStep:
    """Return the current step of a sweep; without sequential decisions, it requests all runs."""
    if not is_sequential(sweep):
        return StoredStep(next_step(sweep, lambda request: None), {})
    observed = StoredObservations(sweep, objects)
    return StoredStep(next_step(sweep, observed), observed.left_out)


def current_step(sweep: Sweep, objects: ObjectStore) -> Step:
    """Return the step of `read_step`."""
    return read_step(sweep, objects).step
