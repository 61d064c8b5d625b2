"""The Tune trainable: one step is one stage, workers are reused with a full reset."""

from __future__ import annotations

import ctypes
import gc
import socket
import sys
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, final

import ray
from ray import tune

from sweeps.definition import TrialSpec
from sweeps.execution.cluster.node_check import StorageProof, sees, version_issue
from sweeps.execution.cluster.software_versions import Versions, installed_versions
from sweeps.execution.failures.failure_causes import error_kind, error_text
from sweeps.execution.resources.gpu_memory import DeviceTooSmallError, limit_memory, torch_cuda
from sweeps.execution.resources.gpu_placement import placement_of
from sweeps.execution.resources.trial_resources import Demand
from sweeps.execution.worker.notices import post_notice
from sweeps.execution.worker.worker_startup import load_torch
from sweeps.stages.leases import LeaseTable
from sweeps.stages.live_metrics import figures_so_far
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_runner import StepReport, TrialRunner
from sweeps.storage import FULL, StorageOptions, is_full, is_storage_fault, open_storage

if TYPE_CHECKING:
    from clmethods.readout.features import FeatureCache


class TrialMessage(TypedDict):
    """What goes through Ray to a worker: strings and numbers only."""

    trial: str
    """Canonical JSON of the `TrialSpec`."""
    stages: int
    """How many of its stages are wanted now."""
    sweep: str
    storage: str
    options: NotRequired[str]
    """`ObjectStore.options` of the driver as JSON; without it the worker's environment decides."""
    proof: StorageProof | None
    """An object of the driver that must be there; None where all run on one machine."""
    run_id: str
    """Of the driver's run, under which it collects notices."""
    owner: str
    """Under which the worker leases stages; the driver's id is part of it."""
    time_to_live_s: float
    objectives: list[str]
    """Metrics that people want to see, beside the usual ones."""
    demand: dict[str, float]
    """What Ray reserves for the trial: `CPU`, `GPU`."""
    gpu_types: list[str]
    """Types of GPU that it may run on, in order of preference; empty allows any."""
    gpu_bytes: int
    """GPU memory that a trial was measured to need; 0 if nothing was measured."""


def resources_of(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray reserves for a trial. It travels with the trainable, so it knows nothing else."""
    message: TrialMessage = config["message"]
    return placement_of(
        Demand(
            cpu=message["demand"]["CPU"],
            gpu=message["demand"].get("GPU", 0.0),
            gpu_types=tuple(message["gpu_types"]),
        )
    )


class UnsharedStorageError(Exception):
    """Raised where the storage of this node is not the one that the driver uses."""


class OtherVersionsError(Exception):
    """Raised on a node whose software differs from that of the driver."""


@final
class StageTrainable(tune.Trainable):  # type: ignore[misc]  # ray is untyped
    """Advances a trial by one stage per step.

    Nothing of a trial lives in the worker: a paused, moved or restarted trial finds its place in
    the store. Tune's checkpoints are therefore empty. Features stay for trials that begin alike;
    they would be computed to the same bits again.
    """

    _runner: TrialRunner | None
    _features: FeatureCache | None = None

    def setup(self, config: dict[str, Any]) -> None:
        """Called once per trial in a fresh worker."""
        self._take(config["message"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Called in place of `setup` when a worker takes over another trial."""
        self._take(new_config["message"])
        return True

    def step(self) -> dict[str, Any]:
        """Compute one stage. An error of the run itself is a result: Tune repeats what it raises.

        A storage that this node cannot use is a result of its own kind, so that the trial may go
        on elsewhere; a full one ends the sweep.
        """
        try:
            if self._runner is None:
                self._runner = self._open()
            self._check_storage(self._runner)
            report = self._runner.advance()
            self._check_storage(self._runner)  # else the stage may be lost with what replaced it
        except UnsharedStorageError:
            self._runner = None
            return self._result("unshared", done=False)
        except OtherVersionsError as error:
            return self._result("other_versions", error=str(error), done=False)
        except DeviceTooSmallError as error:
            return self._result("gpu_too_small", error=str(error), done=False)
        except Exception as error:  # noqa: BLE001  # whatever a trial does, the sweep goes on
            return self._failure(error)
        return self._result(
            report.outcome,
            key=report.key,
            seconds=report.seconds,
            figures=self._figures(self._runner, report),
            done=report.position == self._runner.end,
        )

    def _failure(self, error: Exception) -> dict[str, Any]:
        if is_full(error):
            result = self._result("halted", error=FULL, done=True)
        elif is_storage_fault(error):
            result = self._result("unreachable", error=f"{error}", done=False)
        else:
            kind, text = error_kind(error), error_text(error)
            result = self._result("failed", error_kind=kind, error=text, done=True)
        self._runner = self._features = None  # and with them what may fill the memory
        return result

    def _result(self, outcome: str, **fields: Any) -> dict[str, Any]:
        notes = "\n".join(self._notes)  # what the store reported, for the driver to say
        self._notes.clear()
        return {
            "outcome": outcome,
            "position": self._runner.position if self._runner is not None else 0,
            "host": socket.gethostname(),
            "node_id": _node_id(),
            "gpus": _gpus(),
            "notes": notes,
            **fields,
        }

    def require_leasable(self, key: str) -> None:
        """Raise `BlockedLeaseError` where waiting for the lease of a stage would never end."""
        if self._runner is not None:
            self._runner.leases.require_no_obstacle(key)

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: the store knows."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: the store knows."""

    def _figures(self, runner: TrialRunner, report: StepReport) -> dict[str, float]:
        """What is told of the trial after the step; few numbers, because they go through Ray."""
        if report.outcome == "waiting":
            return {}
        chain, objectives = runner.chain[: report.position], self._message["objectives"]
        try:
            return figures_so_far(runner.store, runner.trial, chain, objectives)
        except Exception as error:  # noqa: BLE001  # nobody decides by them: a stage is worth more
            self._notes.append(f"no figures of {runner.trial.name}: {error}")
            return {}

    def _take(self, message: TrialMessage) -> None:
        self._message = message
        self._runner = None
        _free_memory()
        self._notes: list[str] = []

    def _notify(self, sentence: str) -> None:
        """Tell the driver of an outage while the step waits for its end."""
        post_notice(self._message["run_id"], sentence)

    def _check_storage(self, runner: TrialRunner) -> None:
        """Raise `UnsharedStorageError` if another directory is mounted over the storage by now.

        A bucket cannot be replaced in this way, and each look would be a request.
        """
        proof, objects = self._message["proof"], runner.objects
        if proof is not None and objects.is_directory and not sees(objects, proof):
            raise UnsharedStorageError(self._message["storage"])

    def _open(self) -> TrialRunner:
        load_torch()

        message = self._message
        limit_memory(message["demand"].get("GPU", 0.0), message["gpu_bytes"], torch_cuda())
        options = StorageOptions.from_json(message.get("options", "{}"))
        objects = open_storage(message["storage"], options, notify=self._notify)
        proof = message["proof"]
        if proof is not None:
            # A trial may start on a node before the guard of the driver has checked that node.
            driver = Versions(**proof["versions"])
            issue = version_issue(socket.gethostname(), installed_versions(), driver)
            if issue is not None:
                raise OtherVersionsError(f"{issue.allowed}. {issue.hint}")
            if not sees(objects, proof):
                raise UnsharedStorageError(message["storage"])
        return TrialRunner(
            message["sweep"],
            TrialSpec.from_json(message["trial"]),
            StageStore(objects, self._notes.append),
            LeaseTable(objects, message["time_to_live_s"]),
            message["owner"],
            message["stages"],
            self._features,
        )


def _node_id() -> str:
    """Return Ray's id of this node; empty outside of Ray, which would otherwise start here."""
    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else ""


def _gpus() -> str:
    """Return the ids of the GPUs that Ray reserved for this process, separated by commas."""
    return ",".join(map(str, ray.get_gpu_ids())) if ray.is_initialized() else ""


def _free_memory() -> None:
    """What the trial before has left behind must not be missing to the next one.

    Freed tensors leave holes between kept ones, which the C library does not give back by itself:
    a worker would grow by gigabytes in some hundred stages.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
