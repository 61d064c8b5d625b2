"""Filter of the messages that Ray prints on a driver's terminal.

Ray reports every lost worker and node there, with the last lines of its logs. The driver
itself reports them in one sentence each. A failed autoscaler is the only event that the driver
does not detect itself.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

AUTOSCALER_FAILED = "monitor_died"
"""Type of Ray's message about a failed autoscaler."""


@contextmanager
def filtered_messages() -> Iterator[None]:
    """Filter the messages of a Ray connection that is opened in the block."""
    from ray._private import worker

    plain = worker.listen_error_messages
    worker.listen_error_messages = _listen
    try:
        yield
    finally:
        worker.listen_error_messages = plain


def needed_message(message: Mapping[str, Any] | None) -> str | None:
    """Return the sentence to print for a message of Ray; None if it is not printed."""
    if message is None or message.get("type") != AUTOSCALER_FAILED:
        return None
    lines = [line.strip() for line in str(message.get("error_message")).splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return f"Ray's autoscaler has failed, so no nodes are added or removed: {last}"


def _listen(worker: Any, threads_stopped: threading.Event) -> None:
    """Replace Ray's own listener, which runs in a thread."""
    worker.gcs_error_subscriber.subscribe()
    try:
        while not threads_stopped.is_set():
            _, message = worker.gcs_error_subscriber.poll()
            sentence = needed_message(message)
            if sentence is not None:
                sys.stderr.write(f"{sentence}\n")
                sys.stderr.flush()
    except (OSError, ConnectionError):
        return  # the connection is closed; `HeadWatch` detects a lost head
