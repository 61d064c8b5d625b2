"""Retries of an operation while its storage is out of reach, and the notice of an outage.

All attempts go through `Patience.run`. One attempt is bounded by the client's time-outs; between
two attempts the pause doubles up to `LONGEST_PAUSE_S`, with jitter, so that the workers of a
cluster do not all come back at the same moment.
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
"""How long an outage lasts before it is reported."""

Notify = Callable[[str], None]

BACKEND_ERRORS = (BaseError, OSError, NotImplementedError)
"""What `obstore` and the file system raise. Anything else is a defect of a program."""

_JITTER = random.SystemRandom()  # leaves the state of the module's generator alone


@final
class OutageNotice:
    """Reports an outage once when it has lasted a while, and once when it is over.

    It is shared by all views of a storage and by all threads that use them.
    """

    def __init__(self, location: str, retry_for_s: float, notify: Notify) -> None:
        self._location, self._retry_for_s, self._listeners = location, retry_for_s, [notify]
        self._lock = threading.Lock()
        self._since: float | None = None
        self._reported = False

    @contextmanager
    def told_to(self, notify: Notify) -> Iterator[None]:
        """Report to one more listener for the length of a block."""
        self._listeners.append(notify)
        try:
            yield
        finally:
            self._listeners.remove(notify)

    def failed(self, started: float, failure: Failure) -> None:
        """An attempt that began at `started` (monotonic) met an outage."""
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
        """An attempt reached the storage."""
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
    """How long operations of one storage are tried, and what counts as an outage."""

    location: str
    retry_for_s: float
    notice: OutageNotice
    hopeless: frozenset[Kind] = field(default_factory=frozenset)
    """Transient kinds that are not retried all the same."""

    def once(self) -> Patience:
        """The same without retries."""
        return replace(self, retry_for_s=0.0)

    def except_for(self, *kinds: Kind) -> Patience:
        """The same without retries of these kinds."""
        return replace(self, hopeless=frozenset(kinds))

    def run(self, operation: str, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it returns, and return what it returned.

        `attempt` handles by itself what is an answer, such as a missing object. Raises
        `StorageRefusedError` at once for what waiting does not change, and
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
                    ) from None  # the error's own text may hold a signed URL
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
