"""GPU of which only the report is made up, and a sweep whose share of it is measured."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle

from sweeps.definition import Resources, Sweep
from sweeps.execution.resources.gpu_memory import Device, MemoryUse
from tests.sweeps.stages.small import small_sweep

GB = 1_000_000_000


SIZES = {"L4": 24 * GB, "T4": 16 * GB}


@dataclass(frozen=True)
class MadeUp:
    """Reports that a stage takes 4 GB and a context half a GB, on the devices of `SIZES`."""

    peak_bytes: int = 4 * GB
    dies: str = ""
    """A file: the worker dies in its first measurement, and leaves it as a mark."""
    fails: bool = False
    waits: str = ""
    """A file: the measurement writes its process there, and does not end."""

    def devices(self) -> list[Device]:
        return [Device(name="made up", total_bytes=self._total())]

    def start(self) -> None:
        if self.fails:
            raise RuntimeError("no CUDA here")
        if self.dies and not Path(self.dies).exists():
            Path(self.dies).touch()
            os._exit(1)
        if self.waits:
            Path(self.waits).write_text(str(os.getpid()))
            time.sleep(600)

    def use(self) -> MemoryUse:
        device = Device(name="made up", total_bytes=self._total())
        return MemoryUse(device=device, peak_bytes=self.peak_bytes, context_bytes=GB // 2)

    def _total(self) -> int:
        mine = ray.get_runtime_context().get_node_id()
        (labels,) = (node["Labels"] for node in ray.nodes() if node["NodeID"] == mine)
        return SIZES[labels["ray.io/accelerator-type"]]


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests


def auto_sweep(gpu_type: Any = None, **fields: Any) -> Sweep:
    """Trained on the CPU, which the sweep file would refuse together with `auto`."""
    sweep = small_sweep(**{"seeds": [0], **fields})
    return replace(sweep, resources=Resources(gpu="auto", gpu_type=gpu_type))
