"""Why a trial ended badly: by a fault of its own, of its worker, or of nobody."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

OUT_OF_MEMORY = "OutOfMemory"
"""Kind of every error that says that memory, of a machine or of a GPU, did not suffice."""

_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED|Cannot allocate memory")


def error_kind(error: BaseException) -> str:
    """The kind of a trial's own error, as the table of trials has it."""
    short = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError) and _NO_MEMORY.search(str(error)) is not None
    )
    return OUT_OF_MEMORY if short else type(error).__name__


def error_text(error: BaseException) -> str:
    """What the error says, with the mend where memory did not suffice."""
    text = str(error) or type(error).__name__
    if error_kind(error) != OUT_OF_MEMORY:
        return text
    return (
        f"out of memory: {text}. Lower train.micro_batch or train.batch_size, or let fewer trials "
        "share a machine or a GPU (resources.max_concurrent, resources.gpu)."
    )


@final
@dataclass(frozen=True, slots=True)
class Death:
    """How a worker ended in the middle of a trial."""

    kind: str
    """`Preempted`, `OutOfMemory`, `StorageFault` or `WorkerDied`."""
    sentence: str

    @property
    def counts(self) -> bool:
        """Whether it is one of the few deaths that a trial may have; preemption is not."""
        return self.kind != "Preempted"

    @property
    def mend(self) -> str:
        """What to do if it was the last one that the trial may have."""
        if self.kind == "StorageFault":
            return "See that every worker reaches the storage, then run again with --retry-failed."
        return (
            "Memory may not suffice: lower train.micro_batch or train.batch_size, or let fewer "
            "trials share a machine (resources.max_concurrent), and run with --retry-failed."
        )


TERMINATED = Death("Preempted", "a worker was asked to end (SIGTERM)")
NODE_LOST = Death("Preempted", "a worker lost its machine")
NO_MEMORY = Death(OUT_OF_MEMORY, "a worker was ended, as its machine ran out of memory")
DIED = Death("WorkerDied", "a worker died")


def death_of(trial: Trial) -> Death:
    """The last death among what Tune wrote down about the trial."""
    try:
        error = pickle.loads(Path(trial.pickled_error_file).read_bytes())
    except (OSError, TypeError, pickle.UnpicklingError):
        return DIED
    return death_by(error)


def death_by(error: BaseException) -> Death:
    """What an error of Ray says of the worker whose task it ended."""
    from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError

    text = str(error)
    if isinstance(error, RayActorError) and error.preempted:
        return NODE_LOST
    if isinstance(error, OutOfMemoryError) or "running low on memory" in text:
        return NO_MEMORY
    if isinstance(error, RayTaskError):  # the one error that a step lets out
        cause = str(error.cause).splitlines()[0]
        return Death("StorageFault", f"a worker could not use the storage: {cause}")
    if "receives a SIGTERM" in text:
        return TERMINATED
    return NODE_LOST if "node has died" in text else DIED
