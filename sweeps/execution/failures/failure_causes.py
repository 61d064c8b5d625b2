"""Classification of errors: of the run itself, of its worker process, of its node."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from sweeps.execution.cluster.nodes import Nodes

OUT_OF_MEMORY = "OutOfMemory"
"""Kind of every error that reports insufficient memory of a machine or of a GPU."""

_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED|Cannot allocate memory")

_SIGTERM = "receives a SIGTERM"
"""Text of the signal that ended a worker. Ray 2.60 records it only in the exit detail, which is
text."""


def error_kind(error: BaseException) -> str:
    """Return the kind of a trial's own error, as stored in the table of trials."""
    short = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError) and _NO_MEMORY.search(str(error)) is not None
    )
    return OUT_OF_MEMORY if short else type(error).__name__


def error_text(error: BaseException) -> str:
    """Return the error's text, with the remedy appended if memory did not suffice."""
    text = str(error) or type(error).__name__
    if error_kind(error) != OUT_OF_MEMORY:
        return text
    return (
        f"out of memory: {text}. Lower train.micro_batch or train.batch_size, or let fewer trials "
        "share a machine or a GPU (resources.max_concurrent, resources.gpu)."
    )


class FailureKind(StrEnum):
    """Causes of a lost worker, as stored in the column `error_kind`."""

    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    OUT_OF_MEMORY = OUT_OF_MEMORY
    WORKER_DIED = "WorkerDied"
    WORKER_NOT_STARTED = "WorkerNotStarted"
    UNKNOWN = "Unknown"


class RetryBudget(StrEnum):
    """Fields of `Retries`: the limits against which failures are counted."""

    WORKER_FAILURES = "worker_failures"
    NODE_LOSSES = "node_losses"
    PREEMPTIONS = "preemptions"


_BUDGETS = {
    FailureKind.PREEMPTED: RetryBudget.PREEMPTIONS,
    FailureKind.NODE_LOST: RetryBudget.NODE_LOSSES,
}
_HINTS = {
    FailureKind.OUT_OF_MEMORY: "Lower train.micro_batch or train.batch_size, or let fewer trials "
    "share a machine (resources.max_concurrent).",
    FailureKind.WORKER_DIED: "If the kernel ended it because memory was short (see `dmesg` on "
    "that node), lower train.micro_batch or resources.max_concurrent.",
    FailureKind.WORKER_NOT_STARTED: "Check that the package is installed on that node.",
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFailure:
    """The loss of the worker that ran a trial."""

    kind: FailureKind
    node: str
    """Host name of its node; empty if unknown."""
    detail: str
    """Description of the failure in one clause."""

    @property
    def budget(self) -> RetryBudget:
        """Return the retry limit against which the failure is counted."""
        return _BUDGETS.get(self.kind, RetryBudget.WORKER_FAILURES)

    @property
    def sentence(self) -> str:
        """Return a sentence about the failure and its node."""
        return f"{self.detail} on {self.node}" if self.node else self.detail

    @property
    def hint(self) -> str:
        """Return the remedy; empty if none is known for the cause."""
        return _HINTS.get(self.kind, "")


def worker_failure(error: BaseException | None, nodes: Nodes) -> WorkerFailure:
    """Classify the error that Tune received for a trial.

    Ray's own record of the actor decides if there is one: its death cause is an enumeration. For
    an unknown error, the type and the last line are kept.
    """
    from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError

    actor = nodes.actor(error.actor_id) if isinstance(error, RayActorError) else None
    node = nodes.name(actor.node_id) if actor is not None else ""

    def failure(kind: FailureKind, detail: str) -> WorkerFailure:
        return WorkerFailure(kind=kind, node=node, detail=detail)

    if isinstance(error, OutOfMemoryError) or (actor is not None and actor.out_of_memory):
        return failure(FailureKind.OUT_OF_MEMORY, "Ray ended a worker, as memory ran low")
    if isinstance(error, RayActorError) and error.actor_init_failed:
        return failure(FailureKind.WORKER_NOT_STARTED, f"a worker did not start ({_last(error)})")
    if isinstance(error, RayActorError) and error.preempted:
        return failure(FailureKind.PREEMPTED, "a worker lost its preempted node")
    if isinstance(error, ActorUnavailableError):
        return failure(FailureKind.NODE_LOST, "the connection to a worker was lost")
    if actor is not None and (actor.node_died or not nodes.is_alive(actor.node_id)):
        return failure(FailureKind.NODE_LOST, "a worker lost its node")
    if isinstance(error, RayActorError) and _SIGTERM in str(error):
        return failure(FailureKind.PREEMPTED, "a worker was terminated (SIGTERM)")
    if actor is not None and actor.worker_died:
        return failure(FailureKind.WORKER_DIED, "a worker died")
    return failure(FailureKind.UNKNOWN, f"a trial lost its worker ({_last(error)})")


def _last(error: BaseException | None) -> str:
    """Return the type and the last line of an unknown error."""
    if error is None:
        return "no error was reported"
    cause: object = getattr(error, "cause", None)  # the error within a RayTaskError
    shown = cause if isinstance(cause, BaseException) else error
    lines = [line.strip() for line in str(shown).splitlines() if line.strip()]
    return f"{type(shown).__name__}: {lines[-1]}" if lines else type(shown).__name__
