"""The stage store: finished stages under their content-addressed keys, shared by all sweeps.

    stages/KK/KEY/state-SHA.safetensors     the tensors that the stage changed
                  result-SHA.json           its figures: losses, norms, matrices
                  cost.json                 seconds, host, versions: the first writer's stay
                  evaluation_cost.json      the same of its first evaluation
                  stage.json                written last, put-if-absent: the stage exists
                  evals/EVAL_ID.json        counts of one readout
    damaged/KEY/N/...                       what was moved aside because its bits had changed

Payloads are named by their content, so a late writer with other bits cannot harm a committed
stage. A stage names its parent and holds only its own delta; states are folded from the chain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, final

from clmethods.checksummed_json import sealed, sha256, unsealed
from clmethods.config import StageSpec, canonical_json
from sweeps.storage import MissingObjectError, ObjectStore
from sweeps.storage.layout import evaluation_name, stage_and_file, stage_folder

if TYPE_CHECKING:
    from clmethods.evaluate import EvalCount
    from clmethods.methods import State
    from clmethods.training.stage import StageOutcome

Report = Callable[[str], None]
folder = stage_folder


@final
@dataclass(frozen=True, slots=True)
class StageRecord:
    """What is known of a finished stage without reading its tensors."""

    marker: dict[str, Any]
    """`stage.json`: key, parent, position, task_key, classes, effect, payloads."""
    result: dict[str, Any]
    """Training and method reports, the same on every recomputation."""
    cost: dict[str, Any]
    """Seconds and provenance of whoever computed it first."""


@final
@dataclass(frozen=True, slots=True)
class Committed:
    """A stage that this very process has just committed, as a reader would find it."""

    record: StageRecord
    delta: State


class StageReader(Protocol):
    """Where figures, costs and counts of finished stages are read."""

    def record(self, key: str) -> StageRecord | None: ...

    def evaluation(self, key: str, eval_id: str) -> list[dict[str, Any]] | None: ...


@final
class StageStore:
    """Stages in an object store. Damaged ones are reported, moved aside and count as absent."""

    def __init__(self, objects: ObjectStore, report: Report = lambda message: None) -> None:
        self.objects = objects
        self.report = report

    def has(self, key: str) -> bool:
        """Whether the stage is finished. Contents are checked when they are read."""
        return self.objects.exists(f"{folder(key)}/stage.json")

    def contents(self, key: str) -> frozenset[str]:
        """Names in the folder of a stage, such as `stage.json` and `evals/ID.json`."""
        where = f"{folder(key)}/"
        return frozenset(name.removeprefix(where) for name in self.objects.list(folder(key)))

    def finished(self) -> dict[str, set[str]]:
        """Every finished stage with the ids of its evaluations, by one listing of the storage.

        A plan asks for many thousands of stages; on a bucket each question is a round trip.
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

    def marker(self, key: str) -> dict[str, Any] | None:
        """What says that a stage is finished; None if it is absent or was damaged."""
        try:
            marker: dict[str, Any] | None = unsealed(self.objects.get(f"{folder(key)}/stage.json"))
        except MissingObjectError:
            return None
        if marker is None or marker.get("key") != key:
            self.set_aside(key, "stage.json is not what was written")
            return None
        return marker

    def load_delta(self, key: str) -> State | None:
        """The tensors of a finished stage, checked; None if it is absent or was damaged."""
        marker = self.marker(key)
        return None if marker is None else self.delta_of(marker)

    def record(self, key: str) -> StageRecord | None:
        """Figures and cost of a finished stage; None if it is absent or was damaged."""
        marker = self.marker(key)
        result = None if marker is None else self.result_of(marker)
        if marker is None or result is None:
            return None
        return StageRecord(marker, result, self.cost(key))

    def delta_of(self, marker: Mapping[str, Any]) -> State | None:
        """The tensors of the stage that a marker is of, checked; None if they were damaged."""
        from clmethods.checkpoint import DamagedStateError, state_from_bytes

        data = self._payload(marker["key"], marker["state"])
        if data is None:
            return None
        try:
            return state_from_bytes(data)
        except DamagedStateError as error:
            self.set_aside(marker["key"], str(error))
            return None

    def result_of(self, marker: Mapping[str, Any]) -> dict[str, Any] | None:
        """The figures of the stage that a marker is of, checked; None if they were damaged."""
        data = self._payload(marker["key"], marker["result"])
        return None if data is None else json.loads(data)

    def cost(self, key: str) -> dict[str, Any]:
        """What training a stage took; empty if that is lost, which is no reason to do it again."""
        return self._figures(f"{folder(key)}/cost.json")

    def evaluation_cost(self, key: str) -> dict[str, Any]:
        """What its first evaluation took; empty if that is not known."""
        return self._figures(f"{folder(key)}/evaluation_cost.json")

    def stage_seconds(self, key: str, clock: str) -> float:
        """Seconds of training and first evaluation by a clock, as far as they are known."""
        costs = self.cost(key), self.evaluation_cost(key)
        return sum(float(cost.get(clock, 0.0)) for cost in costs)

    def save_evaluation_cost(self, key: str, cost: dict[str, object]) -> None:
        """Keep what evaluating a stage took; the first writer's stay."""
        name = f"{folder(key)}/evaluation_cost.json"
        self.objects.put_if_absent(name, canonical_json(cost).encode())

    def _figures(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads(self.objects.get(name))
        except (MissingObjectError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def save(
        self, stage: StageSpec, outcome: StageOutcome, cost: dict[str, object]
    ) -> Committed | None:
        """Commit a finished stage: payloads first, the marker last. A present stage stays.

        Returns what was committed, so that it need not be read again; None if the marker was there
        already, and with it perhaps other bits. Raises `DivergedError` for figures that are not
        finite.
        """
        from clmethods.archive import stage_files
        from clmethods.checkpoint import state_from_bytes

        files, where = stage_files(stage, outcome), folder(stage.key)
        marker, paid = sealed(files.marker), canonical_json(cost).encode()
        self.objects.put(f"{where}/{files.marker['state']}", files.state)
        self.objects.put(f"{where}/{files.marker['result']}", files.result)
        first = self.objects.put_if_absent(f"{where}/cost.json", paid)
        if not self.objects.put_if_absent(f"{where}/stage.json", marker):
            return None
        kept = json.loads(paid) if first else self.cost(stage.key)
        record = StageRecord(unsealed(marker), json.loads(files.result), kept)  # type: ignore[arg-type]
        return Committed(record, state_from_bytes(files.state))

    def evaluation(self, key: str, eval_id: str) -> list[dict[str, Any]] | None:
        """Counts of one readout of a stage; None if they are absent or were damaged."""
        name = evaluation_name(key, eval_id)
        try:
            rows: list[dict[str, Any]] | None = unsealed(self.objects.get(name))
        except MissingObjectError:
            return None
        if rows is None:
            self._move(key, [name], f"evaluation {eval_id} of stage", "evaluated again")
        return rows

    def has_evaluation(self, key: str, eval_id: str) -> bool:
        """Whether the counts of one readout of a stage are there."""
        return self.objects.exists(evaluation_name(key, eval_id))

    def save_evaluation(
        self, key: str, eval_id: str, counts: Iterable[EvalCount]
    ) -> list[dict[str, Any]] | None:
        """Keep the counts of one readout of a stage; counts that are there stay.

        Returns the counts as a reader would find them, or None if there were some already.
        """
        data = sealed([asdict(count) for count in counts])
        if not self.objects.put_if_absent(evaluation_name(key, eval_id), data):
            return None
        rows: list[dict[str, Any]] | None = unsealed(data)
        return rows

    def set_aside(self, key: str, reason: str) -> None:
        """Move a damaged stage out of the way, so that it is computed again; nothing is deleted.

        The marker goes first: without it the stage does not exist.
        """
        names = [name for name in self.objects.list(folder(key)) if "/evals/" not in name]
        names.sort(key=lambda name: not name.endswith("/stage.json"))
        self._move(key, names, "stage", f"trained again ({reason})")

    def _move(self, key: str, names: Iterable[str], what: str, then: str) -> None:
        prefix = f"damaged/{key}"
        number = len({name.split("/")[2] for name in self.objects.list(prefix)}) + 1
        for name in names:
            try:
                self.objects.move(name, f"{prefix}/{number}/{name.rsplit('/', 1)[1]}")
            except MissingObjectError:
                continue  # another process moved it first
        self.report(f"{what} {key[:12]} is damaged: moved to {prefix}/{number}, {then}")

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
