"""Features of images under stored stages, computed once for all readouts and all chains."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import final

from torch import Tensor

FeatureKey = tuple[str, str, str, tuple[int, ...]]
"""Key of the stage whose network it was, split, domain and classes of the task."""


@final
class FeatureCache:
    """Features by stage, split and task; the least recently used go when there are too many.

    A stage's network never changes, so its features serve every readout, every later stage and
    every other chain that begins with it. They are kept in main memory, whatever computed them.
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
        found = self._found[key] = compute().cpu()
        self._bytes += found.nbytes
        while self._bytes > self.max_bytes and len(self._found) > 1:
            _, oldest = self._found.popitem(last=False)
            self._bytes -= oldest.nbytes
        return found

    def forget(self, stage: str) -> None:
        """Drop what is known under a stage."""
        for key in [key for key in self._found if key[0] == stage]:
            self._bytes -= self._found.pop(key).nbytes
