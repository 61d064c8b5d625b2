"""Tune trainable: one step is one stage; workers are reused after a full reset."""

from __future__ import annotations

import ctypes
import gc
import socket
import sys
from typing import TYPE_CHECKING, Unpack, final

import ray
from ray import tune

from sweeps.definition import TrialSpec
from sweeps.errors import SweepsError
from sweeps.execution.cluster.node_check import sees, version_issue
from sweeps.execution.cluster.software_versions import Versions, installed_versions
from sweeps.execution.failures.failure_causes import error_kind, error_text
from sweeps.execution.resources.gpu_memory import DeviceTooSmallError, limit_memory, torch_cuda
from sweeps.execution.resources.gpu_placement import placement_of
from sweeps.execution.resources.trial_resources import Demand
from sweeps.execution.worker.notices import post_notice
from sweeps.execution.worker.trial_message import (
    Outcome,
    StepFields,
    StepResult,
    TrialConfig,
    TrialMessage,
)
from sweeps.execution.worker.worker_startup import load_torch
from sweeps.stages.leases import LeaseTable
from sweeps.stages.live_metrics import metrics_so_far
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_runner import StepReport, TrialRunner
from sweeps.storage import FULL, StorageOptions, is_full, is_storage_fault, open_storage

if TYPE_CHECKING:
    from clmethods.readout.features import FeatureCache


def resources_of(config: TrialConfig) -> tune.PlacementGroupFactory:
    """Return the resources that Ray reserves for a trial.

    The function is sent with the trainable, so it depends on nothing else.
    """
    message = config["message"]
    return placement_of(
        Demand(
            cpu=message["demand"]["CPU"],
            gpu=message["demand"].get("GPU", 0.0),
            gpu_types=tuple(message["gpu_types"]),
        )
    )


class UnsharedStorageError(SweepsError):
    """Raised if the storage of this node is not the one that the driver uses."""


class OtherVersionsError(SweepsError):
    """Raised on a node whose software differs from that of the driver."""


@final
class StageTrainable(tune.Trainable):  # type: ignore[misc]  # ray is untyped
    """Advances a trial by one stage per step.

    A worker keeps no state of a trial: a paused, moved or restarted trial finds its position in
    the store. Therefore Tune's checkpoints are empty. Features are kept for trials with the same
    first stages; recomputed features would have the same bits.
    """

    _runner: TrialRunner | None
    _features: FeatureCache | None = None

    def setup(self, config: TrialConfig) -> None:
        """Prepare a fresh worker for its first trial."""
        self._take(config["message"])

    def reset_config(self, new_config: TrialConfig) -> bool:
        """Prepare the worker for another trial; Tune calls this in place of `setup`."""
        self._take(new_config["message"])
        return True

    def step(self) -> StepResult:
        """Compute one stage.

        An error of the run itself is returned as a result, because Tune retries exceptions. If
        this node cannot use the storage, the result has a separate kind, so that the trial may
        continue elsewhere. A full storage ends the sweep.
        """
        try:
            if self._runner is None:
                self._runner = self._open()
            self._check_storage(self._runner)
            report = self._runner.advance()
            # otherwise the stage may be lost with the replaced directory
            self._check_storage(self._runner)
        except UnsharedStorageError:
            self._runner = None
            return self._result("unshared", done=False)
        except OtherVersionsError as error:
            return self._result("other_versions", error=str(error), done=False)
        except DeviceTooSmallError as error:
            return self._result("gpu_too_small", error=str(error), done=False)
        except Exception as error:  # noqa: BLE001  # no error of a trial may end the sweep
            return self._failure(error)
        return self._result(
            report.outcome,
            key=report.key,
            seconds=report.seconds,
            figures=self._figures(self._runner, report),
            done=report.position == self._runner.end,
        )

    def _failure(self, error: Exception) -> StepResult:
        if is_full(error):
            result = self._result("halted", error=FULL, done=True)
        elif is_storage_fault(error):
            result = self._result("unreachable", error=f"{error}", done=False)
        else:
            kind, text = error_kind(error), error_text(error)
            result = self._result("failed", error_kind=kind, error=text, done=True)
        self._runner = self._features = None  # and with them objects that may fill the memory
        return result

    def _result(self, outcome: Outcome, *, done: bool, **fields: Unpack[StepFields]) -> StepResult:
        notes = "\n".join(self._notes)  # messages of the store for the driver
        self._notes.clear()
        return {
            "outcome": outcome,
            "position": self._runner.position if self._runner is not None else 0,
            "host": socket.gethostname(),
            "node_id": _node_id(),
            "gpus": _gpus(),
            "notes": notes,
            "done": done,
            **fields,
        }

    def require_leasable(self, key: str) -> None:
        """Raise `BlockedLeaseError` if waiting for the lease of a stage would never end."""
        if self._runner is not None:
            self._runner.leases.require_no_obstacle(key)

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, object]:
        """Return an empty checkpoint: the state is in the store."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, object] | None) -> None:
        """Do nothing: the state is in the store."""

    def _figures(self, runner: TrialRunner, report: StepReport) -> dict[str, float]:
        """Return the trial's metrics after the step: only a few, because they pass through Ray."""
        if report.outcome == "waiting":
            return {}
        chain, objectives = runner.chain[: report.position], self._message["objectives"]
        try:
            return metrics_so_far(runner.store, runner.trial, chain, objectives)
        except Exception as error:  # noqa: BLE001  # figures are shown only; keep the stage
            self._notes.append(f"no figures of {runner.trial.name}: {error}")
            return {}

    def _take(self, message: TrialMessage) -> None:
        self._message = message
        self._runner = None
        _free_memory()
        self._notes: list[str] = []

    def _notify(self, sentence: str) -> None:
        """Report an outage to the driver while the step waits for its end."""
        post_notice(self._message["run_id"], sentence)

    def _check_storage(self, runner: TrialRunner) -> None:
        """Raise `UnsharedStorageError` if another directory is now mounted over the storage.

        A bucket cannot be replaced in this way, and each check would be a request.
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
    """Free the memory of the previous trial for the next one.

    Freed tensors leave holes between kept ones. The C library returns this memory only on request;
    without the call, a worker would grow by gigabytes in some hundred stages.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
