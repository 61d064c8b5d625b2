"""Stage store: finished stages under their content-addressed keys, shared by all sweeps.

    stages/KK/KEY/state-SHA.safetensors     tensors that the stage changed
                  result-SHA.json           losses, norms, matrices
                  cost.json                 seconds, host, versions; the first write is kept
                  evaluation_cost.json      the same for its first evaluation
                  stage.json                marker of a finished stage, put-if-absent, written last
                  evals/EVAL_ID.json        counts of one readout
    damaged/KEY/N/...                       files moved aside because their bits had changed

Payloads are named by their content, so a late writer with other bits cannot change a committed
stage. The key is the hash of fields of the marker, the marker names the payloads, and counts and
costs contain the key and their name: each object is checked to belong to its stage.

A stage names its parent and holds only its own delta. The state after a stage is the combination
of the deltas along its chain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

from clmethods.checksummed_json import (
    add_checksum,
    add_owner,
    checked_cost,
    sha256,
    stored_cost,
    verify_checksum,
)
from clmethods.config import StageSpec, canonical_json
from clmethods.config.stage_marker import StageMarker
from clmethods.metrics import EvalRow
from sweeps.stages.stage_checks import checked_evaluation, checked_marker
from sweeps.stages.stage_documents import Cost, StageResult
from sweeps.storage import MissingObjectError, ObjectStore, StorageRefusedError
from sweeps.storage.key_layout import evaluation_name, stage_and_file, stage_folder

if TYPE_CHECKING:
    from clmethods.evaluate import EvalCount
    from clmethods.methods import State
    from clmethods.training.stage import StageOutcome

COST = "cost.json"
EVALUATION_COST = "evaluation_cost.json"

Report = Callable[[str], None]
folder = stage_folder


@final
@dataclass(frozen=True, slots=True)
class StageRecord:
    """Marker, result and cost of a finished stage, without its tensors."""

    marker: StageMarker
    result: StageResult
    """Training and method reports, the same for every recomputation."""
    cost: Cost
    """Seconds and provenance of the first computation."""


@final
@dataclass(frozen=True, slots=True)
class Committed:
    """Stage that this process has just committed, in the form in which a reader gets it."""

    record: StageRecord
    delta: State


class StageReader(Protocol):
    """Source of records and evaluation counts of finished stages."""

    def record(self, key: str) -> StageRecord | None: ...

    def evaluation(self, key: str, eval_id: str) -> list[EvalRow] | None: ...


@final
class StageStore:
    """Stages in an object store.

    A damaged stage is reported through `report`, moved aside, and counts as absent.
    """

    def __init__(self, objects: ObjectStore, report: Report = lambda message: None) -> None:
        self.objects = objects
        self.report = report
        self.unread_costs: dict[str, str] = {}
        """One sentence for each damaged cost that was read, by its key. It counts as unknown."""

    def has(self, key: str) -> bool:
        """Return True if the stage is finished. Its content is verified when it is read."""
        return self.objects.exists(f"{folder(key)}/stage.json")

    def contents(self, key: str) -> frozenset[str]:
        """Return the names in the folder of a stage, such as `stage.json` and `evals/ID.json`."""
        prefix = f"{folder(key)}/"
        return frozenset(name.removeprefix(prefix) for name in self.objects.list(folder(key)))

    def finished(self) -> dict[str, set[str]]:
        """Return the evaluation ids of every finished stage, by stage key, with one listing.

        A plan looks up many thousands of stages, and on a bucket each lookup is a round trip.
        """
        marked: set[str] = set()
        evaluated: dict[str, set[str]] = {}
        for name in self.objects.list("stages"):
            found = stage_and_file(name)
            if found is None:
                continue
            key, file = found
            if file == "stage.json":
                marked.add(key)
            elif file.startswith("evals/"):
                eval_id = file.removeprefix("evals/").removesuffix(".json")
                evaluated.setdefault(key, set()).add(eval_id)
        return {key: evaluated.get(key, set()) for key in marked}

    def marker(self, key: str) -> StageMarker | None:
        """Return the marker of a finished stage; None if it is absent or was damaged."""
        try:
            marker = checked_marker(self.objects.get(f"{folder(key)}/stage.json"), key)
        except MissingObjectError:
            return None
        if marker is None:
            self.set_aside(key, "stage.json is not what was written")
        return marker

    def load_delta(self, key: str) -> State | None:
        """Return the verified tensors of a finished stage; None if absent or damaged."""
        marker = self.marker(key)
        return None if marker is None else self.delta_of(marker)

    def record(self, key: str) -> StageRecord | None:
        """Return marker, result and cost of a finished stage; None if absent or damaged."""
        marker = self.marker(key)
        result = None if marker is None else self.result_of(marker)
        if marker is None or result is None:
            return None
        return StageRecord(marker, result, self.cost(key))

    def delta_of(self, marker: StageMarker) -> State | None:
        """Return the verified tensors of the stage of a marker; None if they were damaged."""
        from clmethods.checkpoint import DamagedStateError, state_from_bytes

        data = self._payload(marker["key"], marker["state"])
        if data is None:
            return None
        try:
            return state_from_bytes(data)
        except DamagedStateError as error:
            self.set_aside(marker["key"], str(error))
            return None

    def result_of(self, marker: StageMarker) -> StageResult | None:
        """Return the verified result of the stage of a marker; None if it was damaged."""
        data = self._payload(marker["key"], marker["result"])
        return None if data is None else json.loads(data)

    def cost(self, key: str) -> Cost:
        """Return the cost of training a stage; empty if it is lost. The stage stays valid."""
        return self._read_cost(key, COST)

    def evaluation_cost(self, key: str) -> Cost:
        """Return the cost of the first evaluation of a stage; empty if it is not known."""
        return self._read_cost(key, EVALUATION_COST)

    def stage_seconds(self, key: str, clock: str) -> float:
        """Return the known seconds of training and first evaluation of a stage.

        `clock`: field of the cost, such as `wall_s` or `cpu_s`.
        """
        costs = self.cost(key), self.evaluation_cost(key)
        return sum(float(cost.get(clock, 0.0)) for cost in costs)

    def save_evaluation_cost(self, key: str, cost: dict[str, object]) -> None:
        """Store the cost of evaluating a stage; the first write is kept."""
        name = f"{folder(key)}/{EVALUATION_COST}"
        self.objects.put_if_absent(name, add_owner(cost, key, EVALUATION_COST))

    def _read_cost(self, key: str, name: str) -> Cost:
        place = f"{folder(key)}/{name}"
        try:
            found = checked_cost(self.objects.get(place), key, name)
        except MissingObjectError:
            return {}
        if found.problem:
            self.unread_costs[place] = (
                f"{place} is left out: {found.problem}; the seconds of the stage are unknown, and "
                "the stage is intact. Restore the file from a copy or remove it"
            )
            return {}
        cost: Cost = found.value
        return cost

    def save(
        self, stage: StageSpec, outcome: StageOutcome, cost: dict[str, object]
    ) -> Committed | None:
        """Commit a finished stage: payloads first, the marker last. An existing stage is kept.

        Returns the committed stage, so that it need not be read again; None if the marker existed
        already, possibly with other bits. Raises `DivergedError` for losses or norms that are not
        finite.
        """
        from clmethods.archive import stage_files
        from clmethods.checkpoint import state_from_bytes

        files, prefix = stage_files(stage, outcome), folder(stage.key)
        marker, cost_json = add_checksum(files.marker), add_owner(cost, stage.key, COST)
        self.objects.put(f"{prefix}/{files.marker['state']}", files.state)
        self.objects.put(f"{prefix}/{files.marker['result']}", files.result)
        first = self.objects.put_if_absent(f"{prefix}/{COST}", cost_json)
        if not self.objects.put_if_absent(f"{prefix}/stage.json", marker):
            return None
        kept = stored_cost(cost_json, stage.key, COST) if first else self.cost(stage.key)
        record = StageRecord(verify_checksum(marker), json.loads(files.result), kept)  # type: ignore[arg-type]
        return Committed(record, state_from_bytes(files.state))

    def evaluation(self, key: str, eval_id: str) -> list[EvalRow] | None:
        """Return the counts of one readout of a stage; None if absent or damaged.

        Counts that belong to another stage or readout count as damaged.
        """
        name = evaluation_name(key, eval_id)
        try:
            data = self.objects.get(name)
        except MissingObjectError:
            return None
        found = checked_evaluation(data, key, eval_id, lambda: self.marker(key))
        if found.problem:
            subject = f"evaluation {eval_id} of stage"
            self._move(key, [name], subject, f"evaluated again ({found.problem})")
            return None
        rows: list[EvalRow] = found.value
        return rows

    def has_evaluation(self, key: str, eval_id: str) -> bool:
        """Return True if the counts of one readout of a stage are stored."""
        return self.objects.exists(evaluation_name(key, eval_id))

    def save_evaluation(
        self, key: str, eval_id: str, counts: Iterable[EvalCount]
    ) -> list[EvalRow] | None:
        """Store the counts of one readout of a stage; existing counts are kept.

        Returns the counts in the form in which a reader gets them, or None if counts existed.
        """
        rows = [count.row() for count in counts]
        name = evaluation_name(key, eval_id)
        data = add_owner(rows, key, name.removeprefix(f"{folder(key)}/"))
        if not self.objects.put_if_absent(name, data):
            return None
        kept: list[EvalRow] | None = json.loads(canonical_json(rows))
        return kept

    def set_aside(self, key: str, reason: str) -> None:
        """Move a damaged stage to `damaged/`, so that it is computed again; nothing is deleted.

        The marker is moved first: without it the stage does not exist.
        """
        names = [name for name in self.objects.list(folder(key)) if "/evals/" not in name]
        names.sort(key=lambda name: not name.endswith("/stage.json"))
        self._move(key, names, "stage", f"trained again ({reason})")

    def _move(self, key: str, names: Iterable[str], subject: str, consequence: str) -> None:
        prefix = f"damaged/{key}"
        number = len({name.split("/")[2] for name in self.objects.list(prefix)}) + 1
        for name in names:
            try:
                self.objects.move(name, f"{prefix}/{number}/{name.rsplit('/', 1)[1]}")
            except MissingObjectError:
                continue  # another process moved it first
            except StorageRefusedError as error:  # a command that reads may lack this right
                self.report(
                    f"{subject} {key[:12]} is damaged and cannot be moved aside "
                    f"({error.reason}): to be {consequence}"
                )
                return
        self.report(f"{subject} {key[:12]} is damaged: moved to {prefix}/{number}, {consequence}")

    def _payload(self, key: str, name: str) -> bytes | None:
        try:
            data = self.objects.get(f"{folder(key)}/{name}")
        except MissingObjectError:
            self.set_aside(key, f"{name.split('-')[0]} is missing")
            return None
        expected = name.split("-", 1)[1].split(".", 1)[0]
        if sha256(data) != expected:
            self.set_aside(key, f"{name.split('-')[0]} does not have its checksum")
            return None
        return data
