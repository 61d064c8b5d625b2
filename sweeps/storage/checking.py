"""A look whether a storage can be used, before anything rests on it.

`check_storage` returns plain data, so that a node of a cluster can send it to the driver;
`require_storage` turns a fault into the refusal that a command prints.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.storage.advice import allowed, remedy
from sweeps.storage.errors import Kind, StorageError, StorageRefusedError
from sweeps.storage.objects import MissingObjectError, ObjectStore

FOLDER = "leases"
"""Where a check writes, reads and deletes an object: a folder that storages have anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCheck:
    """What a check found; `dataclasses.asdict` makes it JSON."""

    location: str
    access: str
    """Endpoint, region and where the keys came from; empty for a directory."""
    kind: str = ""
    """The value of the `Kind` of the fault; empty if the storage can be used."""
    allowed: str = ""
    """What a storage must be, and this one is not."""
    hint: str = ""
    """What was tried, what the server said and what to do."""
    writable: bool = False
    """Objects can be written, read back and deleted; false too where that was not tried."""
    conditional_put: bool = False
    """The first of several objects put under one key stays; false too where it was not tried."""
    free_bytes: int | None = None
    """Space that is left on a file system; None for a bucket."""

    @property
    def usable(self) -> bool:
        """Whether no fault was found."""
        return not self.kind


def check_storage(objects: ObjectStore, *, write: bool = True) -> StorageCheck:
    """Put, read and delete a small object, or with `write=False` list and read only.

    An outage is waited for, as by every operation of `objects`; then it is an issue as well.
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
    """Check a storage. Raises `InvalidConfigError` where its settings or rights are wrong.

    Raises `StorageUnreachableError` after an outage as long as `options.retry_for_s`, and
    `StorageRefusedError` where no space is left.
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
    """Use a storage once; its free bytes, if it knows them."""
    first = objects.on_first_contact()
    if not write:
        first.folders()
        first.exists(f"{FOLDER}/probe")  # whether it is there does not matter
    elif not _keeps_the_first(first):
        raise StorageRefusedError(
            objects.location,
            "write under a condition",
            Kind.UNSUPPORTED,
            "it replaced an object that was to be written only if it was absent (If-None-Match)",
        )
    return first.free_bytes()


def _keeps_the_first(objects: ObjectStore) -> bool:
    """Write, write again, read and delete an object; whether the first write stayed."""
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
    """What must hold, and what was tried, what is wrong and how it is put right."""
    tried = f"Tried with {objects.access}: " if objects.access else ""
    what = remedy(error.kind, objects.location, sweep_file=objects.advises_sweep_file)
    return allowed(error.kind), f"{tried}{error.reason}. {what}."
