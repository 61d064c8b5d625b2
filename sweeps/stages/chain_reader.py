"""The stage store as one walk along a chain sees it: nothing is read twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, final

from sweeps.stages.stage_store import Committed, StageRecord, StageStore

if TYPE_CHECKING:
    from clmethods.methods import State


@final
class WalkMemory:
    """Markers, figures and counts that a walk has read or written, in front of the store.

    It lives as long as a `TrialRunner`. Damage that comes after the reading is found by the next
    one, as it is by every other process.
    """

    def __init__(self, store: StageStore) -> None:
        self._store = store
        self._markers: dict[str, dict[str, Any]] = {}
        self._results: dict[str, dict[str, Any]] = {}
        self._costs: dict[str, dict[str, Any]] = {}
        self._counts: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def record(self, key: str) -> StageRecord | None:
        """Figures and cost of a finished stage; None if it is absent or was damaged."""
        marker, result = self._marker(key), self._result(key)
        if marker is None or result is None:
            return None
        if key not in self._costs:
            self._costs[key] = self._store.cost(key)
        return StageRecord(marker, result, self._costs[key])

    def evaluation(self, key: str, eval_id: str) -> list[dict[str, Any]] | None:
        """Counts of one readout of a stage; None if they are absent or were damaged."""
        if (key, eval_id) not in self._counts:
            found = self._store.evaluation(key, eval_id)
            if found is None:
                return None
            self._counts[key, eval_id] = found
        return self._counts[key, eval_id]

    def load_delta(self, key: str) -> State | None:
        """The tensors of a finished stage, checked; None if it is absent or was damaged."""
        marker = self._marker(key)
        return None if marker is None else self._store.delta_of(marker)

    def is_sound(self, key: str, eval_ids: Iterable[str]) -> bool:
        """Whether figures and counts of a complete stage are what was written."""
        counts = [self.evaluation(key, identity) is not None for identity in eval_ids]
        return self._result(key) is not None and all(counts)

    def committed(self, key: str, stage: Committed) -> None:
        """Remember a stage that the walk has committed."""
        record = stage.record
        self._markers[key], self._results[key] = record.marker, record.result
        self._costs[key] = record.cost

    def evaluated(self, key: str, eval_id: str, rows: list[dict[str, Any]]) -> None:
        """Remember counts that the walk has stored."""
        self._counts[key, eval_id] = rows

    def forget(self) -> None:
        """Forget everything: something turned out to be damaged."""
        for known in (self._markers, self._results, self._costs, self._counts):
            known.clear()

    def _marker(self, key: str) -> dict[str, Any] | None:
        if key not in self._markers:
            found = self._store.marker(key)
            if found is None:
                return None
            self._markers[key] = found
        return self._markers[key]

    def _result(self, key: str) -> dict[str, Any] | None:
        if key not in self._results:
            marker = self._marker(key)
            found = None if marker is None else self._store.result_of(marker)
            if found is None:
                return None
            self._results[key] = found
        return self._results[key]
