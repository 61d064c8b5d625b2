"""The Tune trainable: one step is one stage, workers are reused with a full reset."""

from __future__ import annotations

import traceback
from typing import Any, TypedDict, final

from ray import tune

from sweeps.spec import TrialSpec
from sweeps.stages.leases import LeaseTable
from sweeps.stages.runner import TrialRunner
from sweeps.stages.store import StageStore
from sweeps.storage import open_storage


class TrialMessage(TypedDict):
    """What goes through Ray to a worker: strings and numbers only."""

    trial_id: str
    trial: str
    """Canonical JSON of the `TrialSpec`."""
    stages: int
    """How many of its stages are wanted now."""
    sweep: str
    storage: str
    owner: str
    """Under which the worker leases stages; the driver's id is part of it."""
    time_to_live_s: float
    demand: dict[str, float]
    """What Ray reserves for the trial: `CPU`, `GPU`."""


def resources_of(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray reserves for a trial. It travels with the trainable, so it knows nothing else."""
    return tune.PlacementGroupFactory([config["message"]["demand"]])


@final
class StageTrainable(tune.Trainable):  # type: ignore[misc]  # ray is untyped
    """Advances a trial by one stage per step.

    Nothing of a trial lives in the worker: a paused, moved or restarted trial finds its place in
    the store. Tune's checkpoints are therefore empty.
    """

    _runner: TrialRunner | None

    def setup(self, config: dict[str, Any]) -> None:
        """Called once per trial in a fresh worker."""
        self._take(config["message"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Called in place of `setup` when a worker takes over another trial."""
        self._take(new_config["message"])
        return True

    def step(self) -> dict[str, Any]:
        """One stage. A fault of the run itself is a result; only a dying worker is an error."""
        try:
            if self._runner is None:
                self._runner = self._open()
            report = self._runner.advance()
        except Exception as error:  # noqa: BLE001  # whatever a trial does, the sweep goes on
            return {
                "outcome": "failed",
                "position": self._runner.position if self._runner is not None else 0,
                "error_kind": type(error).__name__,
                "error": str(error) or type(error).__name__,
                "trace": traceback.format_exc(),
                "notes": self._take_notes(),
                "done": True,
            }
        return {
            "outcome": report.outcome,
            "position": report.position,
            "key": report.key,
            "seconds": report.seconds,
            "notes": self._take_notes(),
            "done": report.position == self._runner.end,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: the store knows."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: the store knows."""

    def _take(self, message: TrialMessage) -> None:
        self._message = message
        self._runner = None
        self._notes: list[str] = []

    def _take_notes(self) -> str:
        """What the store reported during the step, for the driver to say."""
        notes = "\n".join(self._notes)
        self._notes.clear()
        return notes

    def _open(self) -> TrialRunner:
        import clmethods.evaluate  # noqa: F401  # torch is loaded before the first stage is timed

        message = self._message
        objects = open_storage(message["storage"])
        return TrialRunner(
            message["sweep"],
            TrialSpec.from_json(message["trial"]),
            StageStore(objects, self._notes.append),
            LeaseTable(objects, message["time_to_live_s"]),
            message["owner"],
            message["stages"],
        )
