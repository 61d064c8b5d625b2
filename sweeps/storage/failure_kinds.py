"""Conversion of exceptions of `obstore` and of the file system to a `Failure`.

All such decisions are made in this module. The class of the exception decides if it is specific
enough. `obstore` has one class, `GenericError`, for most other failures. For that class, the HTTP
status and the error code of the server's answer are read, and for connections the kind that the
HTTP client reports. Those parts have a fixed form. The text of a message decides only for
certificates and for names that cannot be resolved.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from sweeps.errors import SweepsError
from sweeps.storage.errors import Kind

_HEAD = re.compile(r"\n\s*Debug source:")
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_CLIENT = re.compile(r"HttpError \{\s*kind: (\w+)")
_PROVIDER = re.compile(r"External \w+ credential provider: (?:\w+\.)*(\w+)")

_CONFLICT_CODES = frozenset({"ConditionalRequestConflict", "OperationAborted"})
"""Codes for two simultaneous writes of one key: neither is done; the server asks for a retry."""

_OUTAGE_CODES = _CONFLICT_CODES | {
    "SlowDown",
    "RequestTimeout",
    "InternalError",
    "ServiceUnavailable",
}
"""Error codes that also occur in answers with another status, for example after a bulk deletion
that failed in part."""

_CODES = {
    "SignatureDoesNotMatch": Kind.WRONG_KEYS,
    "InvalidAccessKeyId": Kind.WRONG_KEYS,
    "ExpiredToken": Kind.WRONG_KEYS,
    "InvalidToken": Kind.WRONG_KEYS,
    "TokenRefreshRequired": Kind.WRONG_KEYS,
    "AuthenticationFailed": Kind.WRONG_KEYS,  # Azure
    "InvalidAuthenticationInfo": Kind.WRONG_KEYS,
    "AccessDenied": Kind.DENIED,
    "AllAccessDisabled": Kind.DENIED,
    "AccountProblem": Kind.DENIED,
    "AuthorizationFailure": Kind.DENIED,
    "AuthorizationPermissionMismatch": Kind.DENIED,
    "InsufficientAccountPermissions": Kind.DENIED,
    "NoSuchBucket": Kind.NO_BUCKET,
    "ContainerNotFound": Kind.NO_BUCKET,
    "InvalidBucketName": Kind.NO_BUCKET,
    "RequestTimeTooSkewed": Kind.CLOCK,
    "AuthorizationHeaderMalformed": Kind.REGION,
    "PermanentRedirect": Kind.REGION,
    "IllegalLocationConstraintException": Kind.REGION,
    "NotImplemented": Kind.UNSUPPORTED,
    "QuotaExceeded": Kind.FULL,
    "XMinioStorageFull": Kind.FULL,
    "InsufficientStorage": Kind.FULL,
}

_MEANINGS = {
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "InvalidAccessKeyId": "it does not know the access key",
    "ExpiredToken": "the keys have expired",
    "AccessDenied": "the keys do not have the right to do this",
    "NoSuchBucket": "there is no such bucket",
    "ContainerNotFound": "there is no such container",
    "InvalidBucketName": "no bucket can have this name",
    "RequestTimeTooSkewed": "the clocks differ too much",
    "AuthenticationFailed": "the keys are wrong, or the clocks differ too much",
}
"""Codes of the servers in words."""

_STATUSES = {
    401: Kind.WRONG_KEYS,
    403: Kind.DENIED,
    408: Kind.UNREACHABLE,
    425: Kind.UNREACHABLE,
    429: Kind.UNREACHABLE,
    501: Kind.UNSUPPORTED,
    507: Kind.FULL,
}

_ERRNOS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), Kind.FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), Kind.DENIED),
    **dict.fromkeys(
        (
            errno.ESTALE,
            errno.EIO,
            errno.ENOTCONN,
            errno.ETIMEDOUT,
            errno.EHOSTDOWN,
            errno.EHOSTUNREACH,
            errno.ENETDOWN,
            errno.ENETUNREACH,
            errno.ECONNRESET,
            errno.ECONNREFUSED,
            errno.ECONNABORTED,
            errno.EREMOTEIO,
            errno.EAGAIN,
            errno.EINTR,
        ),
        Kind.UNREACHABLE,
    ),
}
"""Errors of network file systems during an outage of their server, and errors of disks."""

TRANSIENT = frozenset({Kind.UNREACHABLE, Kind.UNKNOWN_HOST, Kind.NO_KEYS})
"""Kinds of failures that may disappear by waiting, once a storage has worked."""


class KeysUnavailableError(SweepsError, RuntimeError):
    """Raised if no keys were found. A service that issues temporary keys may answer later."""


class KeysInvalidError(SweepsError, RuntimeError):
    """Raised if the configuration of the keys is wrong, or if their login session has ended."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Meaning of an exception."""

    kind: Kind
    reason: str
    """Description in one line without secrets."""

    @property
    def transient(self) -> bool:
        """True if a later attempt may succeed."""
        return self.kind in TRANSIENT


def failure_of(error: BaseException) -> Failure:
    """Return the failure that an exception of a backend means."""
    if isinstance(error, OSError) and error.errno is not None:
        return _of_errno(error.errno, error.filename)
    text = str(error)
    head = _HEAD.split(text, maxsplit=1)[0]
    if isinstance(error, UnauthenticatedError) and (provider := _PROVIDER.search(head)):
        return _of_provider(provider[1], head)
    if (number := _OS_ERROR.search(head)) and "HTTP error" not in head:
        return _of_errno(int(number[1]))
    if (status := _STATUS.search(head)) is not None:
        return _of_answer(int(status[1]), _code_in(head), head)
    if (client := _CLIENT.search(text)) is not None:
        return _of_connection(client[1], text)
    if (code := _code_in(head)) is not None:
        kind = Kind.UNREACHABLE if code in _OUTAGE_CODES else _CODES.get(code, Kind.OTHER)
        return Failure(kind, code)
    if "Received redirect without LOCATION" in head:
        return Failure(Kind.REGION, "the server redirects to another region")
    if isinstance(error, PermissionDeniedError):
        return Failure(Kind.DENIED, "permission denied")
    if isinstance(error, NotSupportedError | NotImplementedError):
        return Failure(Kind.UNSUPPORTED, "the operation is not supported")
    if isinstance(error, BaseError):
        return Failure(Kind.OTHER, _one_line(head))
    return Failure(Kind.OTHER, f"{type(error).__name__}: {_one_line(head)}")


def says_no_bucket(error: FileNotFoundError) -> bool:
    """Return True if an object is missing because its bucket is missing.

    `obstore` raises FileNotFoundError for both; the server's answer distinguishes them.
    """
    head = _HEAD.split(str(error), maxsplit=1)[0]
    code = _code_in(head)
    if code is not None:
        return _CODES.get(code) is Kind.NO_BUCKET
    return "The specified bucket does not exist" in head  # Google's answers in JSON


def says_no_file(error: BaseException) -> bool:
    """Return True if a path of a file system leads to no file: through a file, or in a circle."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := _OS_ERROR.search(_HEAD.split(str(error), maxsplit=1)[0])):
        number = int(found[1])
    return number in {errno.ELOOP, errno.ENOTDIR}


def says_conflict(error: AlreadyExistsError) -> bool:
    """Return True if the key is free and the write only collided with another write of it."""
    return _code_in(_HEAD.split(str(error), maxsplit=1)[0]) in _CONFLICT_CODES


def _of_errno(number: int, path: str | None = None) -> Failure:
    reason = os.strerror(number) + (f" ({path})" if path else "")
    return Failure(_ERRNOS.get(number, Kind.OTHER), reason)


def _of_provider(name: str, head: str) -> Failure:
    reason = _one_line(head.split(f"{name}:", 1)[-1]) if f"{name}:" in head else name
    kind = Kind.WRONG_KEYS if name == KeysInvalidError.__name__ else Kind.NO_KEYS
    return Failure(kind, reason)


def _of_answer(status: int, code: str | None, head: str) -> Failure:
    said = f" ({code}: {_MEANINGS[code]})" if code in _MEANINGS else f" ({code})" if code else ""
    reason = f"the server answered {status}{said}"
    if "token request" in head:  # answer of the service that issues keys, not of the storage
        return Failure(Kind.NO_KEYS, f"the service that issues keys answered {status}")
    if code in _CODES:
        return Failure(_CODES[code], reason)
    if code in _OUTAGE_CODES:
        return Failure(Kind.UNREACHABLE, reason)
    if status == 404 and "The specified bucket does not exist" in head:
        return Failure(Kind.NO_BUCKET, reason)
    if status == 404 and code is None:
        # answer to a listing: only the bucket can be missing
        return Failure(Kind.NO_BUCKET, reason)
    if status in _STATUSES:
        return Failure(_STATUSES[status], reason)
    if 300 <= status < 400:
        return Failure(Kind.REGION, reason)
    return Failure(Kind.UNREACHABLE if status >= 500 else Kind.OTHER, reason)


def _of_connection(client: str, text: str) -> Failure:
    """`client`: error kind of the HTTP client: Connect, Request, Timeout, Interrupted, …"""
    if "BadScheme" in text:
        return Failure(Kind.PLAIN_HTTP, "the endpoint is plain http")
    if "token request" in text:
        return Failure(Kind.NO_KEYS, "the service that issues keys does not answer")
    if "dns error" in text:
        temporary = "Temporary failure" in text
        kind = Kind.UNREACHABLE if temporary else Kind.UNKNOWN_HOST
        return Failure(kind, "the server's name cannot be resolved")
    if "InvalidCertificate" in text:
        return Failure(Kind.CERTIFICATE, "the server's certificate is not trusted")
    if "InvalidContentType" in text or "InvalidMessage" in text:
        return Failure(Kind.CERTIFICATE, "the server does not speak TLS (https)")
    refused = re.search(r"kind: (ConnectionRefused|ConnectionReset|TimedOut)", text)
    if client == "Timeout" or (refused and refused[1] == "TimedOut"):
        return Failure(Kind.UNREACHABLE, "the server did not answer in time")
    if refused and refused[1] == "ConnectionRefused":
        return Failure(Kind.UNREACHABLE, "the server refused the connection")
    if client in {"Decode", "Unknown"} and "Builder" in text:
        return Failure(Kind.OTHER, "the request could not be built; is the endpoint a URL?")
    return Failure(Kind.UNREACHABLE, "the connection broke")


def _code_in(head: str) -> str | None:
    found = _CODE.search(head)
    return next((group for group in found.groups() if group), None) if found else None


def _one_line(text: str) -> str:
    """Return the first line without the query parts of URLs, which may hold a signature."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no message")
    return re.sub(r"\?\S+", "?…", line)[:300]
