"""Filter of the messages that Ray prints on a driver's terminal.

Ray reports every lost worker and node there, with the last lines of its own logs. The driver
reports them itself, in one sentence each. Only a failed autoscaler is not noticed otherwise.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

AUTOSCALER_FAILED = "monitor_died"
"""Type of Ray's message about it."""


@contextmanager
def filtered_messages() -> Iterator[None]:
    """Let the Ray to which this process connects in the block print no more than is needed."""
    from ray._private import worker

    plain = worker.listen_error_messages
    worker.listen_error_messages = _listen
    try:
        yield
    finally:
        worker.listen_error_messages = plain


def needed_message(message: Mapping[str, Any] | None) -> str | None:
    """Return the sentence to print for a message of Ray; None for nothing."""
    if message is None or message.get("type") != AUTOSCALER_FAILED:
        return None
    lines = [line.strip() for line in str(message.get("error_message")).splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return f"Ray's autoscaler has failed, so no nodes are added or removed: {last}"


def _listen(worker: Any, threads_stopped: threading.Event) -> None:
    """Take the place of Ray's own listener, which runs in a thread."""
    worker.gcs_error_subscriber.subscribe()
    try:
        while not threads_stopped.is_set():
            _, message = worker.gcs_error_subscriber.poll()
            sentence = needed_message(message)
            if sentence is not None:
                sys.stderr.write(f"{sentence}\n")
                sys.stderr.flush()
    except (OSError, ConnectionError):
        return  # the connection is closed; `HeadWatch` notices a lost head
