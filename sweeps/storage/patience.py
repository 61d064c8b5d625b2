"""Retries of operations while a storage is unreachable, and notices of outages.

All attempts pass through `Patience.run`. The client's time-outs limit one attempt. The pause
between two attempts doubles up to `LONGEST_PAUSE_S`, with jitter, so that the workers of a cluster
do not retry at the same moment.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar, final

from obstore.exceptions import BaseError

from sweeps.storage.errors import Kind, StorageRefusedError, StorageUnreachableError
from sweeps.storage.failure_kinds import Failure, failure_of

T = TypeVar("T")

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
NOTICE_AFTER_S = 5.0
"""Duration in seconds after which an outage is reported."""

Notify = Callable[[str], None]

BACKEND_ERRORS = (BaseError, OSError, NotImplementedError)
"""Exceptions of `obstore` and of the file system. Any other exception is a defect of a program."""

_JITTER = random.SystemRandom()  # does not change the state of the module's generator


@final
class OutageNotice:
    """Reports an outage once when it has lasted a while, and once when it is over.

    All views of a storage, and all threads that use them, share one notice.
    """

    def __init__(self, location: str, retry_for_s: float, notify: Notify) -> None:
        self._location, self._retry_for_s, self._listeners = location, retry_for_s, [notify]
        self._lock = threading.Lock()
        self._since: float | None = None
        self._reported = False

    @contextmanager
    def reporting_to(self, notify: Notify) -> Iterator[None]:
        """Report to one more listener for the duration of the block."""
        self._listeners.append(notify)
        try:
            yield
        finally:
            self._listeners.remove(notify)

    def failed(self, started: float, failure: Failure) -> None:
        """Record an attempt that began at `started` (monotonic) and failed by an outage."""
        with self._lock:
            if self._since is None:
                self._since = started
            lasted = time.monotonic() - self._since
            if self._reported or lasted < NOTICE_AFTER_S:
                return
            self._reported = True
            began = time.strftime("%H:%M:%S", time.localtime(time.time() - lasted))
        self._report(
            f"the storage {self._location} has been out of reach since {began} "
            f"({failure.reason}); every operation is tried again for up to "
            f"{self._retry_for_s:g} s"
        )

    def succeeded(self) -> None:
        """Record an attempt that reached the storage."""
        if self._since is None:  # read without the lock: the usual case costs nothing
            return
        with self._lock:
            since, reported = self._since, self._reported
            self._since, self._reported = None, False
        if reported and since is not None:
            lasted = time.monotonic() - since
            self._report(f"the storage {self._location} is back after {lasted:.0f} s")

    def _report(self, sentence: str) -> None:
        for notify in self._listeners:
            notify(sentence)


@final
@dataclass(frozen=True, slots=True)
class Patience:
    """Retry limits of the operations of one storage, and the failures that count as outages."""

    location: str
    retry_for_s: float
    notice: OutageNotice
    hopeless: frozenset[Kind] = field(default_factory=frozenset)
    """Transient kinds that are nevertheless not retried."""

    def once(self) -> Patience:
        """Return the same limits without retries."""
        return replace(self, retry_for_s=0.0)

    def except_for(self, *kinds: Kind) -> Patience:
        """Return the same limits without retries of these kinds."""
        return replace(self, hopeless=frozenset(kinds))

    def run(self, operation: str, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it returns, and return its result.

        `attempt` handles regular answers, such as a missing object, itself. Raises
        `StorageRefusedError` at once for a failure that waiting does not remove, and
        `StorageUnreachableError` when `retry_for_s` has passed.
        """
        began = time.monotonic()
        pause = FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            try:
                result = attempt()
            except BACKEND_ERRORS as error:
                failure = failure_of(error)
                if not failure.transient or failure.kind in self.hopeless:
                    raise StorageRefusedError(
                        self.location, operation, failure.kind, failure.reason
                    ) from None  # the error's own text may contain a signed URL
            else:
                self.notice.succeeded()
                return result
            self.notice.failed(started, failure)
            lasted = time.monotonic() - began
            if lasted >= self.retry_for_s:
                raise StorageUnreachableError(self.location, operation, lasted, failure.reason)
            left = self.retry_for_s - lasted
            time.sleep(min(pause * _JITTER.uniform(0.5, 1.0), left))
            pause = min(2 * pause, LONGEST_PAUSE_S)
