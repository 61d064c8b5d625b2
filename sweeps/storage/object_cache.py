"""Cache of the objects that this process has read or written, to avoid fetching them again."""

from __future__ import annotations

import threading
from typing import final

LIMIT = 256 * 1024 * 1024
"""Maximum number of bytes in the cache; further objects are fetched when they are needed."""


@final
class RecentObjects:
    """Objects whose keys determine their content, up to `LIMIT` bytes."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._objects: dict[str, bytes] = {}
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """Return the bytes of a cached object; None if it is not cached."""
        return self._objects.get(key)

    def keep(self, key: str, data: bytes) -> None:
        """Cache an object that was just written or read."""
        with self._lock:
            if key not in self._objects and self._size + len(data) <= self._limit:
                self._objects[key] = data
                self._size += len(data)

    def drop(self, key: str) -> None:
        """Remove an object that was changed, removed or found to be damaged."""
        with self._lock:
            self._size -= len(self._objects.pop(key, b""))
