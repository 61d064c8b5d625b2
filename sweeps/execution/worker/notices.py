"""Messages from workers to the driver during a step.

A step that waits for its storage cannot return a result. Therefore a worker puts its message into
the key-value store of Ray's control service, and the driver collects it.
"""

from __future__ import annotations

import math
import socket
import time
import uuid
from collections.abc import Callable
from typing import final

NAMESPACE = b"lorac-sweeps"
EVERY_S = 1.0
"""Seconds between two reads by the driver."""


def post_notice(run_id: str, text: str) -> None:
    """Post a message for the driver of a run. A lost message does not fail a stage."""
    from ray.exceptions import RayError
    from ray.experimental.internal_kv import _internal_kv_put

    key = f"{run_id}/{time.time():017.6f}-{uuid.uuid4().hex[:8]}"
    sentence = f"{socket.gethostname()}: {text}"
    try:
        _internal_kv_put(key.encode(), sentence.encode(), namespace=NAMESPACE)
    except (RayError, RuntimeError, OSError):
        return


@final
class Notices:
    """Collects the messages of workers in the driver of their run."""

    def __init__(self, run_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._prefix, self._clock = f"{run_id}/".encode(), clock
        self._next = -math.inf

    def collect(self) -> list[str]:
        """Return new messages in the order of their posting, at most every `EVERY_S`."""
        from ray.experimental.internal_kv import (
            _internal_kv_del,
            _internal_kv_get,
            _internal_kv_list,
        )

        if self._clock() < self._next:
            return []
        self._next = self._clock() + EVERY_S
        found: list[str] = []
        for key in sorted(_internal_kv_list(self._prefix, namespace=NAMESPACE) or []):
            text = _internal_kv_get(key, namespace=NAMESPACE)
            _internal_kv_del(key, namespace=NAMESPACE)
            if text is not None:
                found.append(text.decode(errors="replace"))
        return found
