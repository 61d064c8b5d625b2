"""Measurement of one stage on the cluster, from which `resources.gpu: auto` is decided."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict, final

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.errors import refuse
from sweeps.definition import Resources, TrialSpec
from sweeps.execution.cluster.node_types import Growth, NodeTypes
from sweeps.execution.cluster.nodes import Node, Nodes, on_node
from sweeps.execution.failures.failure_causes import OUT_OF_MEMORY
from sweeps.execution.resources.gpu_memory import Device, GpuProbe, MemoryUse
from sweeps.execution.resources.gpu_sizing import (
    GpuShare,
    MemoryRecord,
    decide,
    device_of,
    find_record,
    memory_estimate,
    record_of,
    save_record,
)
from sweeps.execution.resources.impossible_demands import judge
from sweeps.execution.resources.trial_resources import GPU_TYPE_LABEL, Demand, NodeShape, shapes_of
from sweeps.results.event_kinds import EventBody
from sweeps.storage import ObjectStore

if TYPE_CHECKING:
    from sweeps.execution.worker.trial_message import StepResult, TrialMessage

ATTEMPTS = 3
"""Maximum number of measurements of a stage whose worker or node was lost."""
CANDIDATES = 5
"""Maximum number of configurations that are tried if stages fail because of their own errors."""
POLL_S = 0.5
DEVICES_WITHIN_S = 60.0
"""Seconds that nodes may take to report their GPUs; slower nodes are left out."""


class StageMeasurement(TypedDict):
    """Result of `measure_stage`, returned through Ray."""

    steps: list[StepResult]
    """Results of the steps up to the one that trained."""
    use: dict[str, object]
    """Fields of a `MemoryUse`."""


def measure_stage(message: TrialMessage, probe: GpuProbe) -> StageMeasurement:
    """Train, evaluate and store the next stage of a trial. Runs on a worker."""
    from sweeps.execution.worker.trainable import StageTrainable
    from sweeps.execution.worker.worker_startup import load_torch

    load_torch()
    probe.start()
    worker = StageTrainable({"message": message})
    steps = [worker.step()]
    while steps[-1]["outcome"] in ("waiting", "evaluated") and not steps[-1]["done"]:
        if (
            steps[-1]["outcome"] == "waiting"
        ):  # another driver trains this stage: take the next one
            worker.require_leasable(steps[-1]["key"])
            del steps[-1]
            time.sleep(POLL_S)
        steps.append(worker.step())
    return {"steps": steps, "use": asdict(probe.use())}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DriverCallbacks:
    """Callbacks to the driver of a sweep while resources are decided."""

    message: Callable[[TrialSpec, Demand], TrialMessage]
    """Returns the message for a worker."""
    needs_training: Callable[[TrialSpec], bool]
    """Returns True if the trial had a stage to train when the step began."""
    step_done: Callable[[TrialSpec, StepResult], None]
    """Called with the result of each step."""
    worker_lost: Callable[[TrialSpec], None]
    """Called when the worker that measured a stage of this trial is gone."""
    wait: Callable[[], None]
    """Called about once a second; raises to interrupt."""
    say: Callable[[str], None]
    event: Callable[[EventBody], None]
    """Adds an event to the log."""


@final
class GpuSizing:
    """Decides the number of trials per GPU: from a stored record, or by measuring a stage."""

    def __init__(
        self, objects: ObjectStore, nodes: Nodes, probe: GpuProbe, callbacks: DriverCallbacks
    ) -> None:
        self._objects, self._nodes, self._probe, self._on = objects, nodes, probe, callbacks

    def share(
        self, todo: Sequence[TrialSpec], resources: Resources, types: NodeTypes | None
    ) -> GpuShare:
        """Return the share for these trials. `types` is None on a single machine.

        Raises `InvalidConfigError` if no GPU is available.
        """
        todo = sorted(todo, key=memory_estimate, reverse=True)
        candidates = [trial for trial in todo if self._on.needs_training(trial)] or todo[:1]
        whole = _whole_gpu(candidates[0], resources)
        self._require_gpu(whole, types)
        record = find_record(self._objects, candidates[0], self._gpu_types(whole, types))
        if record is None:
            record = self._measured(candidates, resources)
        if record is None:
            share = GpuShare(trials=1, needed_bytes=0)
            self._on.event(share.event)
            return share
        eligible = [node for node in self._nodes.all() if _offers(node, whole)]
        shapes = [*shapes_of(eligible), *(types.shapes if types else ())]
        threads = min(trial.run.train.threads for trial in todo)
        suited = [shape for shape in shapes if shape.gpu and shape.has_type_of(whole)]
        devices = self._devices(eligible)
        if devices and _may_join(record, types):
            devices.append(device_of(record))
        share = decide(record, devices, suited, threads)
        self._on.event(share.event)
        return share

    def _require_gpu(self, whole: Demand, types: NodeTypes | None) -> None:
        present = shapes_of(self._nodes.all())
        offered = [*present, *(types.shapes if types else ())]
        unknown = types is not None and types.growth is Growth.UNKNOWN
        if any(shape.gpu >= 1 for shape in offered):
            known = types if types is None or unknown else replace(types, growth=Growth.LISTED)
            verdict = judge([whole], present, known)
            refuse(verdict.issues)
            for sentence in verdict.sentences:
                self._on.say(sentence)
        elif unknown:
            self._on.say(
                "resources.gpu auto: no node has a GPU yet. The sweep waits until one joins, and "
                "measures one stage there"
            )
        else:
            place = "this machine has no GPU" if types is None else "no node here has a GPU"
            constraint = f"a number, as {place} whose memory could be measured"
            raise InvalidConfigError([ConfigIssue("resources.gpu", "auto", constraint)])

    def _gpu_types(self, whole: Demand, types: NodeTypes | None) -> set[str]:
        """Return the labels of the GPUs on which trials may run; empty if no node has one."""
        shapes = [*shapes_of(self._nodes.all()), *(types.shapes if types else ())]
        return {
            shape.gpu_type
            for shape in shapes
            if shape.gpu and shape.gpu_type and shape.has_type_of(whole)
        }

    def _measured(
        self, candidates: Sequence[TrialSpec], resources: Resources
    ) -> MemoryRecord | None:
        """Measure the first of the trials whose next stage can be trained."""
        failed: set[str] = set()
        for trial in candidates:
            if trial.config_id in failed:
                continue
            self._on.say(
                "resources.gpu auto: measuring the GPU memory of one stage on a GPU of its own: "
                f"{trial.name}"
            )
            found = self._result(trial, resources)
            if found is None:
                return None
            for step in found["steps"]:
                self._on.step_done(trial, step)
            last = found["steps"][-1]
            if last["outcome"] == "trained":
                record = self._record(trial, last, found["use"])
                save_record(self._objects, trial, record)
                return record
            if last["outcome"] in ("done", "evaluated"):
                if self._on.needs_training(trial):
                    continue  # another driver has trained all its stages
                # not stored: training takes more memory
                return self._record(trial, last, found["use"])
            self._on.say(f"resources.gpu auto: {trial.name}: {last['error']}")
            failed.add(trial.config_id)
            if last["outcome"] != "failed" or last["error_kind"] == OUT_OF_MEMORY:
                return None
            if len(failed) == CANDIDATES:
                return None
        return None

    def _result(self, trial: TrialSpec, resources: Resources) -> StageMeasurement | None:
        """Return the result of `measure_stage`; None if its worker was lost `ATTEMPTS` times."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        from sweeps.execution.resources.gpu_placement import selector

        demand = _whole_gpu(trial, resources)
        task = ray.remote(measure_stage).options(
            num_cpus=demand.cpu,
            num_gpus=1,
            max_retries=0,
            label_selector=selector(demand.gpu_types),
        )
        for _ in range(ATTEMPTS):
            running = task.remote(self._on.message(trial, demand), self._probe)
            try:
                while not ray.wait([running], timeout=1.0)[0]:
                    self._on.wait()
                found: StageMeasurement = ray.get(running)
            except RayTaskError as error:  # memory cannot be measured there, for any trial
                self._on.say(f"resources.gpu auto: the measurement failed ({_text(error.cause)})")
                return None
            except RayError as error:
                self._on.worker_lost(trial)
                self._on.say(
                    f"resources.gpu auto: the measurement was interrupted ({_text(error)})"
                )
                continue
            except BaseException:
                ray.cancel(running, force=True)
                raise
            if found["steps"][-1]["outcome"] not in ("unshared", "other_versions", "unreachable"):
                return found
        return None

    def _record(
        self, trial: TrialSpec, step: StepResult, fields: Mapping[str, Any]
    ) -> MemoryRecord:
        use = MemoryUse(**{**fields, "device": Device(**fields["device"])})
        labels = [n.labels for n in self._nodes.all() if n.node_id == step["node_id"]]
        label = labels[0].get(GPU_TYPE_LABEL, "") if labels else ""
        return record_of(trial, step["position"] - 1, use, label)

    def _devices(self, nodes: Sequence[Node]) -> list[Device]:
        """Return the GPUs of these nodes.

        Each node is asked, because GPUs of one label may differ in size.
        """
        import ray
        from ray.exceptions import RayError

        tasks = {on_node(_devices_here, node.node_id).remote(self._probe): node for node in nodes}
        if not tasks:  # a cluster that starts without nodes
            return []
        done, _ = ray.wait([*tasks], num_returns=len(tasks), timeout=DEVICES_WITHIN_S)
        found: list[Device] = []
        for task in done:
            try:
                reported = [Device(**fields) for fields in ray.get(task)]
            except RayError:
                continue  # its node is lost, or has no working driver
            label = tasks[task].labels.get(GPU_TYPE_LABEL, "")
            found += [
                Device(name=label or device.name, total_bytes=device.total_bytes)
                for device in reported
            ]
        return found


def _text(error: BaseException) -> str:
    """Return the type of an error and its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _devices_here(probe: GpuProbe) -> list[dict[str, object]]:
    return [asdict(device) for device in probe.devices()]


def _may_join(record: MemoryRecord, types: NodeTypes | None) -> bool:
    """Return True if a node with the device of a record can be added to the cluster.

    Otherwise, if no present node has the device, it must not limit the trials on the others.
    """
    if types is None or types.growth is Growth.NONE:
        return False
    labels = {shape.gpu_type for shape in types.shapes if shape.gpu}
    return types.growth is Growth.UNKNOWN or not labels.isdisjoint({"", record.device})


def _whole_gpu(trial: TrialSpec, resources: Resources) -> Demand:
    return Demand(cpu=float(trial.run.train.threads), gpu=1.0, gpu_types=resources.gpu_types)


def _offers(node: Node, whole: Demand) -> bool:
    """Return True if trials may run on GPUs of this node."""
    (shape,) = shapes_of([node]) or (NodeShape(name="", labels={}),)
    return shape.gpu >= 1 and shape.has_type_of(whole)
