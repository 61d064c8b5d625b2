"""Cache of image features under stored stages, shared by all readouts and all chains."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import final

from torch import Tensor

FeatureKey = tuple[str, str, str, tuple[int, ...]]
"""Key of the stage whose network computed the features, split, domain and classes of the task."""


@final
class FeatureCache:
    """Least-recently-used cache of features by stage, split and task.

    The network of a stage never changes, so its features serve every readout, every later stage
    and every other chain that begins with the stage. They are kept in main memory, also if a GPU
    computed them.
    """

    def __init__(self, max_bytes: int = 2**29) -> None:
        self.max_bytes = max_bytes
        self._stored: OrderedDict[FeatureKey, Tensor] = OrderedDict()
        self._bytes = 0

    def get(self, key: FeatureKey, compute: Callable[[], Tensor]) -> Tensor:
        """Return features (n, D) from the cache, or compute and store them."""
        if key in self._stored:
            self._stored.move_to_end(key)
            return self._stored[key]
        features = self._stored[key] = compute().cpu()
        self._bytes += features.nbytes
        while self._bytes > self.max_bytes and len(self._stored) > 1:
            _, oldest = self._stored.popitem(last=False)
            self._bytes -= oldest.nbytes
        return features

    def forget(self, stage: str) -> None:
        """Remove all features of a stage."""
        for key in [key for key in self._stored if key[0] == stage]:
            self._bytes -= self._stored.pop(key).nbytes
