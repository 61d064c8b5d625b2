"""Checks that a storage can be used, before a command depends on it.

`check_storage` returns plain data, so that a node of a cluster can send it to the driver.
`require_storage` converts an issue into the error that a command prints.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.storage.advice import allowed, remedy
from sweeps.storage.errors import Kind, StorageError, StorageRefusedError
from sweeps.storage.objects import MissingObjectError, ObjectStore

FOLDER = "leases"
"""Folder in which a check writes, reads and deletes an object. Every storage has this folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCheck:
    """Result of a check; `dataclasses.asdict` makes it JSON."""

    location: str
    access: str
    """Endpoint, region and source of the keys; empty for a directory."""
    kind: str = ""
    """Value of the `Kind` of the failure; empty if the storage can be used."""
    allowed: str = ""
    """Requirement that this storage does not satisfy."""
    hint: str = ""
    """Attempted operation, answer of the server, and remedy."""
    writable: bool = False
    """True if objects can be written, read back and deleted; False if that was not tried."""
    conditional_put: bool = False
    """True if a second conditional put of a key changes nothing; False if that was not tried."""
    free_bytes: int | None = None
    """Free bytes of the file system; None for a bucket."""

    @property
    def usable(self) -> bool:
        """True if the check found no failure."""
        return not self.kind


def check_storage(objects: ObjectStore, *, write: bool = True) -> StorageCheck:
    """Put, read and delete a small object, or with `write=False` list and read only.

    The check waits during an outage, as every operation of `objects` does. An outage that lasts
    too long is reported as an issue.
    """
    try:
        free = _look(objects, write)
    except StorageError as error:
        constraint, hint = _advice(objects, error)
        return StorageCheck(
            location=objects.location,
            access=objects.access,
            kind=error.kind.value,
            allowed=constraint,
            hint=hint,
        )
    return StorageCheck(
        location=objects.location,
        access=objects.access,
        writable=write,
        conditional_put=write,
        free_bytes=free,
    )


def require_storage(objects: ObjectStore, *, write: bool = True) -> None:
    """Check a storage. Raises `InvalidConfigError` if its settings or rights are wrong.

    Raises `StorageUnreachableError` after an outage as long as `options.retry_for_s`, and
    `StorageRefusedError` if no space is left.
    """
    try:
        _look(objects, write)
    except StorageRefusedError as error:
        if error.kind is Kind.FULL:
            raise
        constraint, hint = _advice(objects, error)
        raise InvalidConfigError(
            [ConfigIssue("storage", objects.location, constraint, hint)]
        ) from None


def _look(objects: ObjectStore, write: bool) -> int | None:
    """Use a storage once; return its free bytes, or None if they are not known."""
    first = objects.on_first_contact()
    if not write:
        first.folders()
        first.exists(f"{FOLDER}/probe")  # the answer does not matter, only that the call succeeds
    elif not _keeps_the_first(first):
        raise StorageRefusedError(
            objects.location,
            "write under a condition",
            Kind.UNSUPPORTED,
            "it replaced an object that was to be written only if it was absent (If-None-Match)",
        )
    return first.free_bytes()


def _keeps_the_first(objects: ObjectStore) -> bool:
    """Write an object twice, read and delete it; return True if the first write stayed."""
    key = f"{FOLDER}/probe-{uuid.uuid4().hex}"
    objects.put_if_absent(key, b"first")
    objects.put_if_absent(key, b"second")
    try:
        found = objects.get(key)
    except MissingObjectError:
        found = b""
    objects.delete(key)
    return found == b"first"


def _advice(objects: ObjectStore, error: StorageError) -> tuple[str, str]:
    """Return the violated requirement, and a hint with the attempt, the reason and the remedy."""
    tried = f"Tried with {objects.access}: " if objects.access else ""
    what = remedy(error.kind, objects.location, sweep_file=objects.advises_sweep_file)
    return allowed(error.kind), f"{tried}{error.reason}. {what}."
