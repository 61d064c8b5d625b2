"""Features of a chain, computed once for all readouts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import final

from torch import Tensor

FeatureKey = tuple[int, str, int]
"""Snapshot, split, index of the task group."""


@final
class FeatureCache:
    """Features by snapshot, split and task; the least recently used go when there are too many.

    A snapshot never changes, so its features serve every readout and every later stage.
    """

    def __init__(self, max_bytes: int = 2**29) -> None:
        self.max_bytes = max_bytes
        self._found: OrderedDict[FeatureKey, Tensor] = OrderedDict()
        self._bytes = 0

    def get(self, key: FeatureKey, compute: Callable[[], Tensor]) -> Tensor:
        """(n, D) features, from memory if they are there."""
        if key in self._found:
            self._found.move_to_end(key)
            return self._found[key]
        found = self._found[key] = compute()
        self._bytes += found.nbytes
        while self._bytes > self.max_bytes and len(self._found) > 1:
            _, oldest = self._found.popitem(last=False)
            self._bytes -= oldest.nbytes
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._found.clear()
        self._bytes = 0
