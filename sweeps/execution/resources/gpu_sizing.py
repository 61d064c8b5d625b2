"""Share of a GPU for `resources.gpu: auto`, from the measured memory of one stage.

    gpu_memory/BASE/KIND.DEVICE.json    memory of one stage; BASE and KIND determine memory use

The trial with the largest estimate is measured. An estimate from shapes only ranks trials: the
actual memory of a stage depends on torch, its kernels and the device. A record is therefore also
valid for trials of the same base with a smaller estimate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import final

from clmethods.config import canonical_json, short_id
from clmethods.config.methods.fields import AdapterFields, FullFields
from clmethods.config.methods.run_shapes import total
from clmethods.forecast.memory import WORDS, run_memory
from clmethods.json_parsing import parse_json
from sweeps.definition import TrialSpec
from sweeps.definition.resources import share_of
from sweeps.execution.resources.gpu_memory import Device, MemoryUse
from sweeps.execution.resources.trial_resources import NodeShape
from sweeps.results.event_kinds import GpuShareDecided
from sweeps.storage import MissingObjectError, ObjectStore

MARGIN = 0.2
"""Fraction added to the measured and forecast memory of the allocator. Stages differ in the unused
memory between tensors, and later tasks in the memory that their method keeps."""

MOST_TRIALS = 100
"""Maximum number of trials on one GPU: Ray's shares are too coarse for more."""

_RATES = ("lr", "lr_first_task", "lr_min", "schedule", "weight_decay", "grad_clip")
_NOT_IN_MEMORY = {*_RATES, "epochs", "threads"}
"""Fields of `train` that do not change memory use."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecord:
    """Stored record of the memory that one stage has used."""

    device: str
    """Type of the GPU."""
    device_bytes: int
    peak_bytes: int
    """Maximum number of bytes that torch's allocator has reserved, in training and evaluation."""
    context_bytes: int
    """Bytes used outside the allocator."""
    growth_bytes: int
    """Forecast of the bytes that the state and the statistics of later stages add."""
    estimate: int
    """Estimate of the measured trial, for comparison with other trials."""
    stage: str
    """Key of the measured stage."""

    @property
    def needed_bytes(self) -> int:
        """Return the bytes that a trial needs of a device, with the safety margin."""
        return round((self.peak_bytes + self.growth_bytes) * (1 + MARGIN)) + self.context_bytes


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GpuShare:
    """Decision on the number of trials per GPU, with its reason."""

    trials: int
    """Number of trials on the smallest device."""
    needed_bytes: int
    """Bytes that one trial needs; 0 if they could not be measured."""
    smallest: Device | None = None
    cpu_limited: bool = False
    """True if the CPUs of the nodes, not the memory, limit the number."""

    @property
    def gpu(self) -> float:
        """Return the GPUs per trial."""
        return share_of(self.trials)

    @property
    def event(self) -> GpuShareDecided:
        """Return the decision as an event."""
        return GpuShareDecided(
            gpu=self.gpu,
            trials_per_gpu=self.trials,
            needed_bytes=self.needed_bytes,
            gpu_type=self.smallest.name if self.smallest else None,
            gpu_bytes=self.smallest.total_bytes if self.smallest else None,
        )

    @property
    def sentence(self) -> str:
        """Return the decision in words, with the name of the field."""
        return f"resources.gpu {self.decision}"

    @property
    def decision(self) -> str:
        """Return the decision in words: `auto`, the share, and the reason."""
        if self.smallest is None:
            return "auto: 1, each trial has a GPU of its own"
        why = " (the CPUs of the nodes allow no more)" if self.cpu_limited else ""
        share = "1 trial runs" if self.trials == 1 else f"{self.trials} trials run"
        return (
            f"auto: {self.gpu:g}. A trial needs {gigabytes(self.needed_bytes)} of "
            f"GPU memory, the smallest GPU ({self.smallest.name}) has "
            f"{gigabytes(self.smallest.total_bytes)}: {share} on a GPU{why}"
        )


def decide(
    record: MemoryRecord, devices: Iterable[Device], nodes: Sequence[NodeShape], threads: int
) -> GpuShare:
    """Return the share for a measured trial; with several types of GPU the smallest one decides.

    A trial also needs `threads` CPUs. More trials per GPU than the CPUs of any node allow would
    only reduce the memory of each trial. `devices`: GPUs on which trials may run; if none is known
    yet, the measured GPU is used instead.
    """
    known = [*devices] or [device_of(record)]
    smallest = min(known, key=lambda device: device.total_bytes)
    by_memory = max(1, min(MOST_TRIALS, smallest.total_bytes // max(1, record.needed_bytes)))
    per_gpu = [int(node.cpu // (threads * int(node.gpu))) for node in nodes if int(node.gpu)]
    by_cpu = max(1, max(per_gpu, default=by_memory))
    return GpuShare(
        trials=min(by_memory, by_cpu),
        needed_bytes=record.needed_bytes,
        smallest=smallest,
        cpu_limited=by_cpu < by_memory,
    )


def device_of(record: MemoryRecord) -> Device:
    """Return the device on which a record was measured. The device may be gone by now."""
    return Device(name=record.device, total_bytes=record.device_bytes)


def memory_estimate(trial: TrialSpec) -> int:
    """Return a number of bytes by which trials are ranked; it is not a forecast."""
    run, memory = trial.run, run_memory(trial.run, trial.readouts)
    trained = max(size.delta.nbytes for size in memory.stages)  # with gradient and Adam's moments
    kept = memory.stages[-1].state.nbytes + total(memory.statistics).nbytes
    return (
        memory.network.nbytes
        + 3 * trained
        + kept
        + _activation_bytes(trial) * run.train.batch_size
    )


def _activation_bytes(trial: TrialSpec) -> int:
    """Return the approximate bytes that backward keeps of one image; 0 without gradients."""
    run = trial.run
    through = isinstance(run.method, FullFields | AdapterFields) and run.train.epochs > 0
    if not through or not run.method.trains_at(0, run.context):
        return 0
    facts = run.backbone.facts
    tokens = (run.backbone.image_size // facts.patch_size) ** 2 + 1
    of_token = facts.width * (8 + 2 * facts.mlp_ratio) + facts.heads * tokens
    return round(tokens * of_token * facts.blocks * WORDS[run.train.precision])


def growth_bytes(trial: TrialSpec, position: int) -> int:
    """Return the forecast of the growth of state and statistics after the stage at `position`."""
    memory = run_memory(trial.run, trial.readouts)
    state = memory.stages[-1].state.nbytes - memory.stages[position].state.nbytes
    return max(0, state) + total(memory.statistics[position + 1 :]).nbytes


def most_demanding(trials: Sequence[TrialSpec]) -> TrialSpec:
    """Return the first trial with the largest estimate."""
    return max(trials, key=memory_estimate)


def record_of(trial: TrialSpec, position: int, use: MemoryUse, device: str) -> MemoryRecord:
    """Return the record of a measured stage. `device`: label of its GPU, if the node has one."""
    return MemoryRecord(
        device=device or use.device.name,
        device_bytes=use.device.total_bytes,
        peak_bytes=use.peak_bytes,
        context_bytes=use.context_bytes,
        growth_bytes=growth_bytes(trial, position),
        estimate=memory_estimate(trial),
        stage=trial.chain[position].key,
    )


def save_record(objects: ObjectStore, trial: TrialSpec, record: MemoryRecord) -> None:
    """Store a record, so that the next run does not measure again."""
    name = f"{_folder(trial)}/{_kind(trial)}.{short_id(record.device)}.json"
    objects.put(name, canonical_json(asdict(record)).encode())


def find_record(
    objects: ObjectStore, trial: TrialSpec, gpu_types: Collection[str] = ()
) -> MemoryRecord | None:
    """Return a stored record that is valid for a trial on one of these types of GPU.

    This is the record of the trial's own kind, or else the smallest one of a more demanding trial.
    """
    estimate, own = memory_estimate(trial), f"{_folder(trial)}/{_kind(trial)}."
    exact: list[MemoryRecord] = []
    larger: list[MemoryRecord] = []
    for name in objects.list(_folder(trial)):
        record = _read(objects, name)
        if record is None or (gpu_types and record.device not in gpu_types):
            continue
        if name.startswith(own):
            exact.append(record)
        elif record.estimate >= estimate:
            larger.append(record)
    return max(exact, key=lambda record: record.needed_bytes, default=None) or min(
        larger, key=lambda record: record.needed_bytes, default=None
    )


def _read(objects: ObjectStore, name: str) -> MemoryRecord | None:
    try:
        record = MemoryRecord(**parse_json(objects.get(name)))
    except (MissingObjectError, ValueError, TypeError):
        return None  # written by another version, or damaged: it is measured again
    return record if _is_valid(record) else None


def _is_valid(record: MemoryRecord) -> bool:
    """Return True if the fields of a record read from a file have valid types and signs."""
    texts = (record.device, record.stage)
    counts = (
        *(record.device_bytes, record.peak_bytes, record.context_bytes),
        *(record.growth_bytes, record.estimate),
    )
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(count) is int and count >= 0 for count in counts)
        and record.device_bytes > 0
    )


def _folder(trial: TrialSpec) -> str:
    run = trial.run
    base = {
        "backbone": run.backbone,
        "precision": run.train.precision,
        "torch": version("torch"),
    }
    return f"gpu_memory/{short_id(base)}"


def _kind(trial: TrialSpec) -> str:
    run = trial.run
    train = {k: v for k, v in asdict(run.train).items() if k not in _NOT_IN_MEMORY}
    stream = {"dataset": run.stream.dataset, "classes": run.stream.facts.classes}
    sizes = sorted(len(stage.classes) for stage in trial.chain)
    readouts = [readout.readout_id for readout in trial.readouts]
    kind = {
        "method": run.method,
        "train": train,
        "stream": stream,
        "sizes": sizes,
        "readouts": readouts,
    }
    return short_id(kind)


def gigabytes(count: int) -> str:
    """Return bytes in decimal units, the units in which GPUs are sold."""
    return f"{count / 1e9:.3g} GB"
