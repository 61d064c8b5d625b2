"""Check that a node sees the storage of the driver and has the same software."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TypedDict, final

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.execution.cluster.software_versions import Versions, installed_versions
from sweeps.storage import (
    MissingObjectError,
    ObjectStore,
    StorageOptions,
    is_storage_fault,
    open_storage,
)


class StorageProof(TypedDict):
    """Object that the driver has put into the storage. Sent through Ray."""

    location: str
    options: str
    """`StorageOptions` as JSON."""
    key: str
    secret: str
    """Random content of the object, so that no copy of another run's storage contains it."""
    versions: dict[str, str]
    """`Versions` of the driver."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """Result of a node's check. Sent through Ray as a dict of plain values."""

    host: str
    versions: dict[str, str]
    shared: bool
    """True if the node read the driver's object."""
    writable: bool
    error: str
    """Reason why the node could not read or write; empty if it could."""


@contextmanager
def storage_proof(objects: ObjectStore, sweep: str) -> Iterator[StorageProof]:
    """Put the object that every node must read, and delete it at the end of the block."""
    run = secrets.token_hex(8)
    proof = StorageProof(
        location=objects.location,
        options=objects.options.to_json(),
        key=f"sweeps/{sweep}/proofs/{run}",
        secret=secrets.token_hex(16),
        versions=asdict(installed_versions()),
    )
    objects.put(proof["key"], proof["secret"].encode())
    try:
        yield proof
    finally:
        # the object has a few bytes, and another error may be in progress
        with suppress(Exception):
            objects.delete(proof["key"])


def sees(objects: ObjectStore, proof: StorageProof) -> bool:
    """Return True if a storage is the one that the driver uses."""
    try:
        return objects.get(proof["key"]).decode(errors="replace") == proof["secret"]
    except MissingObjectError:
        return False


def version_issue(node: str, there: Versions, driver: Versions) -> ConfigIssue | None:
    """Return the issue of a node whose versions differ from those of the driver."""
    differing = driver.differences(there)
    if not differing:
        return None
    expected = "; ".join(f"{name} {mine}" for name, mine, _ in differing)
    actual = "; ".join(f"{name} {theirs}" for name, _, theirs in differing)
    return ConfigIssue(
        "node",
        node,
        f"the versions of the driver: {expected}",
        f"The node has {actual}. Install the same on all nodes (`ray up` does).",
    )


def check_node(proof: StorageProof) -> dict[str, object]:
    """Return the fields of a `NodeReport`. Runs on the node that is checked."""
    shared = writable = False
    error = ""
    try:
        options = StorageOptions.from_json(proof["options"])
        objects = open_storage(proof["location"], options, create=False)
        shared = sees(objects, proof)
        if shared:
            answer = f"{proof['key']}.{socket.gethostname()}"
            objects.put(answer, b"")
            objects.delete(answer)
            writable = True
    except InvalidConfigError as refused:
        error = "; ".join(f"{issue.value} is not {issue.allowed}" for issue in refused.issues)
    except Exception as failed:  # reported with its type, for all errors
        if not is_storage_fault(failed) and not isinstance(failed, OSError):
            raise
        error = f"{type(failed).__name__}: {str(failed).splitlines()[0]}"
    report = NodeReport(
        host=socket.gethostname(),
        versions=asdict(installed_versions()),
        shared=shared,
        writable=writable,
        error=error,
    )
    return asdict(report)
