"""Reader of the stages of one chain, which caches what it reads from the stage store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from clmethods.config.stage_marker import StageMarker
from clmethods.metrics import EvalRow
from sweeps.stages.stage_documents import Cost, StageResult
from sweeps.stages.stage_store import Committed, StageRecord, StageStore

if TYPE_CHECKING:
    from clmethods.methods import State


@final
class ChainReader:
    """Cache of the markers, results, costs and counts that one `TrialRunner` read or wrote.

    The cache lives as long as the runner. It does not detect damage that occurs after a read; the
    next runner, or any other process, detects it.
    """

    def __init__(self, store: StageStore) -> None:
        self._store = store
        self._markers: dict[str, StageMarker] = {}
        self._results: dict[str, StageResult] = {}
        self._costs: dict[str, Cost] = {}
        self._counts: dict[tuple[str, str], list[EvalRow]] = {}

    def record(self, key: str) -> StageRecord | None:
        """Return result and cost of a finished stage; None if it is absent or was damaged."""
        marker, result = self._marker(key), self._result(key)
        if marker is None or result is None:
            return None
        if key not in self._costs:
            self._costs[key] = self._store.cost(key)
        return StageRecord(marker, result, self._costs[key])

    def evaluation(self, key: str, eval_id: str) -> list[EvalRow] | None:
        """Return the counts of one readout of a stage; None if absent or damaged."""
        if (key, eval_id) not in self._counts:
            counts = self._store.evaluation(key, eval_id)
            if counts is None:
                return None
            self._counts[key, eval_id] = counts
        return self._counts[key, eval_id]

    def load_delta(self, key: str) -> State | None:
        """Return the verified tensors of a finished stage; None if absent or damaged."""
        marker = self._marker(key)
        return None if marker is None else self._store.delta_of(marker)

    def is_intact(self, key: str, eval_ids: Iterable[str]) -> bool:
        """Return True if result and counts of a complete stage have their checksums."""
        counts = [self.evaluation(key, identity) is not None for identity in eval_ids]
        return self._result(key) is not None and all(counts)

    def committed(self, key: str, stage: Committed) -> None:
        """Cache a stage that this process has committed."""
        record = stage.record
        self._markers[key], self._results[key] = record.marker, record.result
        self._costs[key] = record.cost

    def evaluated(self, key: str, eval_id: str, rows: list[EvalRow]) -> None:
        """Cache counts that this process has stored."""
        self._counts[key, eval_id] = rows

    def forget(self) -> None:
        """Clear the cache, because a stage turned out to be damaged."""
        for cache in (self._markers, self._results, self._costs, self._counts):
            cache.clear()

    def _marker(self, key: str) -> StageMarker | None:
        if key not in self._markers:
            marker = self._store.marker(key)
            if marker is None:
                return None
            self._markers[key] = marker
        return self._markers[key]

    def _result(self, key: str) -> StageResult | None:
        if key not in self._results:
            marker = self._marker(key)
            result = None if marker is None else self._store.result_of(marker)
            if result is None:
                return None
            self._results[key] = result
        return self._results[key]
