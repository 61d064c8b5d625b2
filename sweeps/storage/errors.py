"""Errors of a storage. None of them contains a key or the text of a server's answer."""

from __future__ import annotations

import errno
from enum import Enum
from typing import Any

from obstore.exceptions import BaseError

from sweeps.errors import SweepsError


class Kind(Enum):
    """Kind of a storage failure."""

    UNREACHABLE = "unreachable"
    """No connection, no answer in time, or an answer that asks to try again later."""
    UNKNOWN_HOST = "unknown host"
    """The name of the server cannot be resolved. It may be an outage of the name service."""
    NO_KEYS = "no keys"
    """No keys were found, or the service that issues keys returned none."""
    WRONG_KEYS = "wrong keys"
    """The server does not know the key, the secret does not match it, or both expired."""
    DENIED = "denied"
    """The keys are valid, but they do not grant the right for this operation."""
    NO_BUCKET = "no bucket"
    """The bucket or container does not exist."""
    REGION = "region"
    """The bucket is in another region."""
    CLOCK = "clock"
    """The clock of this machine and that of the server are too far apart."""
    CERTIFICATE = "certificate"
    """The server's certificate is not trusted, or it speaks no TLS."""
    PLAIN_HTTP = "plain http"
    """The endpoint is not encrypted, and plain http was not allowed."""
    FULL = "full"
    """No space or no quota is left."""
    UNSUPPORTED = "unsupported"
    """The server lacks an operation that a storage needs."""
    OTHER = "other"
    """Any other failure; waiting does not help."""


FULL = (
    "no space is left; what is stored is whole. Free some space, then the same command continues"
)
"""Sentence for a storage without free space."""


class StorageError(SweepsError, RuntimeError):
    """Base class of the errors that a failed operation of a storage raises."""

    kind: Kind
    location: str
    operation: str
    reason: str
    """Last error, in one line without secrets."""


class StorageRefusedError(StorageError):
    """Raised if the storage refuses an operation for a reason that waiting does not remove."""

    def __init__(self, location: str, operation: str, kind: Kind, reason: str) -> None:
        """`reason`: message of the server or the file system, in one line without secrets."""
        super().__init__(location, operation, kind, reason)
        self.location, self.operation, self.kind, self.reason = location, operation, kind, reason

    def __str__(self) -> str:
        what = FULL if self.kind is Kind.FULL else self.reason
        return f"the storage {self.location} refused to {self.operation}: {what}"


class StorageUnreachableError(StorageError):
    """Raised if a storage could not be used for longer than `retry_for_s`."""

    kind = Kind.UNREACHABLE

    def __init__(self, location: str, operation: str, seconds: float, reason: str) -> None:
        """`seconds`: duration of the attempts; `reason`: the last error in one line."""
        super().__init__(location, operation, seconds, reason)
        self.location, self.operation = location, operation
        self.seconds, self.reason = seconds, reason

    def __str__(self) -> str:
        tried = f"tried for {self.seconds:.0f} s" if self.seconds >= 1 else "tried once"
        return (
            f"the storage {self.location} could not be reached to {self.operation}, {tried}; "
            f"last error: {self.reason}"
        )


def is_storage_fault(error: BaseException) -> bool:
    """Return True if a storage raised the error or one of its causes."""
    return any(isinstance(each, StorageError | BaseError) for each in _chain(error))


def storage_error_in(error: BaseException) -> StorageError | None:
    """Return the storage error among an error and its causes; None if there is none."""
    return next((each for each in _chain(error) if isinstance(each, StorageError)), None)


def is_full(error: BaseException) -> bool:
    """Return True if the error or one of its causes reports that no space or quota is left."""
    return any(_says_full(each) for each in _chain(error))


def _says_full(error: Any) -> bool:
    if isinstance(error, StorageError):
        return error.kind is Kind.FULL
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found
