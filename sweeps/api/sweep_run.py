"""`sweeps.run`: run a sweep from Python, as the command `sweeps run` does."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from sweeps.api.sweep_object import Sweep

if TYPE_CHECKING:
    from sweeps.api.loaded_sweeps import LoadedSweeps


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Result of a run of a sweep; `load` returns the stored results."""

    directory: str
    """STORAGE/sweeps/NAME."""
    trials: int
    """Number of trials that the sweep requests."""
    finished: int
    """Number of them that are finished now."""
    trained: int
    """Number of stages that this run trained; the others were found in the storage."""
    failed: tuple[tuple[str, str], ...]
    """(label with order and seed, cause) of the trials whose last attempt failed."""
    ended_early: str
    """Reason why the run ended before its last stage: a signal, the budget, or a lost cluster;
    empty if it is complete. The same call continues."""

    def load(self) -> LoadedSweeps:
        """Return the stored tables and analyses of this sweep; see `sweeps.load`."""
        from sweeps.api.loaded_sweeps import load

        return load(self.directory)

    def __repr__(self) -> str:
        lines = [
            f"{self.finished} of {self.trials} trials finished, {len(self.failed)} failed; "
            f"trained {self.trained} stages",
            f"  results  {self.directory}; .load() returns them",
        ]
        lines += [f"  failed   {name}: {cause}" for name, cause in self.failed]
        if self.ended_early:
            lines.append(f"  ended    {self.ended_early}; the same call continues")
        return "\n".join(lines)


def run(
    sweep: Sweep | str | Path | Mapping[str, object],
    storage: str | Path = "runs",
    *,
    address: str | None = None,
    only: Sequence[str] = (),
    retry_failed: bool = False,
) -> RunResult:
    """Train the stages of a sweep that are not in the storage yet, and write the results.

    Args:
        sweep: A `Sweep`, or what `Sweep.read` accepts: a file, a shipped study or a dict.
        storage: Directory or URL that holds stages and results; a directory is created.
        address: HOST:PORT of a Ray cluster, or `auto`; None starts Ray on this machine.
        only: Run only these trials: labels, globs over labels, or beginnings of ids.
        retry_failed: Also run trials that failed before.

    Returns:
        What was done. A first Ctrl-C (in a notebook: interrupting the kernel) finishes the
        running stages, a second one stops at once. Progress is written to stderr.

    Raises:
        InvalidConfigError: If the sweep or the storage is refused; nothing was started.
        ClmethodsError: If the run ended because of the storage or the cluster. Stored stages
            stay, and the same call continues.
    """
    from sweeps.definition.readiness import ready_sweep
    from sweeps.execution.driver import RunOptions, run_sweep
    from sweeps.stages.stage_store import StageStore
    from sweeps.storage import open_storage, require_storage

    requested = sweep if isinstance(sweep, Sweep) else Sweep.read(sweep)
    definition = ready_sweep(requested.definition, on_cluster=address is not None)
    location = str(storage)
    objects = open_storage(location, definition.storage, notify=_to_stderr)
    require_storage(objects, write=True)
    file = str(sweep) if isinstance(sweep, str | Path) else ""
    outcome = run_sweep(
        definition,
        StageStore(objects, _to_stderr),
        RunOptions(address=address, only=tuple(only), retry_failed=retry_failed, file=file),
    )
    interrupted = "interrupted by a signal" if outcome.interrupted else ""
    used = f"the budget is used up ({outcome.budget_used})" if outcome.budget_used else ""
    return RunResult(
        directory=f"{location.rstrip('/')}/sweeps/{definition.name}",
        trials=outcome.plan.tree.trials,
        finished=outcome.finished,
        trained=outcome.trained,
        failed=outcome.failed,
        ended_early=outcome.halted or used or interrupted,
    )


def _to_stderr(message: str) -> None:
    sys.stderr.write(f"{message}\n")
