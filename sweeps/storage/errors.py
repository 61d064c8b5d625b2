"""Errors of a storage. None of them contains a key or the text of a server's answer."""

from __future__ import annotations

import errno
from enum import Enum
from typing import Any

from obstore.exceptions import BaseError


class Kind(Enum):
    """What went wrong with a storage."""

    UNREACHABLE = "unreachable"
    """No connection, no answer in time, or an answer that asks to come again later."""
    UNKNOWN_HOST = "unknown host"
    """The name of the server cannot be resolved. It may be an outage of the name service."""
    NO_KEYS = "no keys"
    """No keys were found, or the service that issues them gave none."""
    WRONG_KEYS = "wrong keys"
    """The server does not know the key, or the secret does not belong to it, or both expired."""
    DENIED = "denied"
    """The keys are valid, but do not have the right to do this."""
    NO_BUCKET = "no bucket"
    """The bucket or container does not exist."""
    REGION = "region"
    """The bucket is in another region."""
    CLOCK = "clock"
    """The clock of this machine and that of the server are too far apart."""
    CERTIFICATE = "certificate"
    """The server's certificate is not trusted, or it speaks no TLS."""
    PLAIN_HTTP = "plain http"
    """The endpoint is not encrypted, and that was not allowed."""
    FULL = "full"
    """No space or no quota is left."""
    UNSUPPORTED = "unsupported"
    """The server lacks an operation that a storage needs."""
    OTHER = "other"
    """Anything else; waiting does not help."""


FULL = (
    "no space is left; what is stored is whole. Free some space, then the same command continues"
)
"""Sentence for a storage without space."""


class StorageError(RuntimeError):
    """An operation of a storage failed. Base class of the two that follow."""

    kind: Kind
    location: str
    operation: str
    reason: str
    """The last error, in one line without secrets."""


class StorageRefusedError(StorageError):
    """The storage refused an operation for a reason that waiting does not remove."""

    def __init__(self, location: str, operation: str, kind: Kind, reason: str) -> None:
        """`reason`: what the server or the file system said, in one line without secrets."""
        super().__init__(location, operation, kind, reason)
        self.location, self.operation, self.kind, self.reason = location, operation, kind, reason

    def __str__(self) -> str:
        what = FULL if self.kind is Kind.FULL else self.reason
        return f"the storage {self.location} refused to {self.operation}: {what}"


class StorageUnreachableError(StorageError):
    """A storage could not be used for longer than `retry_for_s`."""

    kind = Kind.UNREACHABLE

    def __init__(self, location: str, operation: str, seconds: float, reason: str) -> None:
        """`seconds`: how long it was tried; `reason`: the last error in one line."""
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
    """Whether the error, or one that it came from, was raised by a storage."""
    return any(isinstance(each, StorageError | BaseError) for each in _chain(error))


def storage_error_in(error: BaseException) -> StorageError | None:
    """The error of a storage that an error is or came from."""
    return next((each for each in _chain(error) if isinstance(each, StorageError)), None)


def is_full(error: BaseException) -> bool:
    """Whether the error, or one that it came from, says that there is no space or quota left."""
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
