"""Bytes of objects that this process has read or written, so that it need not fetch them again."""

from __future__ import annotations

import threading
from typing import final

LIMIT = 256 * 1024 * 1024
"""Bytes that are kept at most; what comes later is fetched when it is needed."""


@final
class RecentObjects:
    """Objects whose keys determine their content, as many as fit."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._objects: dict[str, bytes] = {}
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The bytes, if they are here."""
        return self._objects.get(key)

    def keep(self, key: str, data: bytes) -> None:
        """Remember an object that was just written or read."""
        with self._lock:
            if key not in self._objects and self._size + len(data) <= self._limit:
                self._objects[key] = data
                self._size += len(data)

    def drop(self, key: str) -> None:
        """Forget an object that was changed or removed, or that turned out to be damaged."""
        with self._lock:
            self._size -= len(self._objects.pop(key, b""))
