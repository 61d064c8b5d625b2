"""GPU memory of one process: its limit, its peak, and the devices of a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, final

CONTEXT_BYTES = 512 * 1024**2
"""Allowance for what a process takes on a device beside torch's allocator: the CUDA context and
the loaded kernels. The allocator's limit does not cover it."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One GPU."""

    name: str
    """Its type as the node is labeled, or else the name that its driver gives."""
    total_bytes: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """What a process has used of its device."""

    device: Device
    peak_bytes: int
    """The most that torch's allocator has reserved since the start of the measurement."""
    context_bytes: int
    """What is in use beside the allocator. Includes other processes on the device."""


class Cuda(Protocol):
    """The part of `torch.cuda` that is used here."""

    def is_available(self) -> bool: ...
    def mem_get_info(self) -> tuple[int, int]: ...
    def get_device_name(self) -> str: ...
    def set_per_process_memory_fraction(self, fraction: float) -> None: ...
    def empty_cache(self) -> None: ...
    def reset_peak_memory_stats(self) -> None: ...
    def max_memory_reserved(self) -> int: ...
    def memory_reserved(self) -> int: ...


class GpuProbe(Protocol):
    """Reports GPU memory. Travels through Ray to the workers, so it must be picklable."""

    def devices(self) -> list[Device]:
        """Return the GPUs of this node, whoever uses them."""

    def start(self) -> None:
        """Begin to measure the memory of this process."""

    def use(self) -> MemoryUse:
        """Return what this process has used since `start`."""


class DeviceTooSmallError(Exception):
    """Raised where a share of the device is less than what a trial was measured to need."""


def limit_memory(share: float, needed_bytes: int, cuda: Cuda) -> None:
    """Limit this process to its share of the device, so that it cannot take its neighbors' memory.

    A process with one whole device or more has no limit. `needed_bytes` is what was measured for
    `auto`; 0 if nothing was.
    """
    if not 0 < share < 1 or not cuda.is_available():
        return
    _, total = cuda.mem_get_info()
    if total * share < needed_bytes:
        raise DeviceTooSmallError(
            f"{share:g} of the {total / 1e9:.3g} GB of its GPU ({cuda.get_device_name()}) is less "
            f"than the {needed_bytes / 1e9:.3g} GB that a trial needs"
        )
    limit = max(share - CONTEXT_BYTES / total, share / 2)  # a small share keeps at least half
    cuda.set_per_process_memory_fraction(limit)


def torch_cuda() -> Cuda:
    """Return the interface of torch."""
    import torch

    found: Any = torch.cuda
    return found  # type: ignore[no-any-return]


@final
@dataclass(frozen=True, slots=True)
class TorchProbe:
    """Reports memory by torch and NVIDIA's management library, which Ray brings along."""

    def devices(self) -> list[Device]:
        """Return the GPUs of this node; none if the library is missing."""
        from ray._private.thirdparty import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return []
        try:
            handles = [
                pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())
            ]
            return [
                Device(
                    name=_text(pynvml.nvmlDeviceGetName(handle)),
                    total_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                )
                for handle in handles
            ]
        except pynvml.NVMLError:
            return []
        finally:
            pynvml.nvmlShutdown()

    def start(self) -> None:
        cuda = torch_cuda()
        cuda.empty_cache()
        cuda.reset_peak_memory_stats()

    def use(self) -> MemoryUse:
        cuda = torch_cuda()
        free, total = cuda.mem_get_info()
        return MemoryUse(
            device=Device(name=cuda.get_device_name(), total_bytes=total),
            peak_bytes=cuda.max_memory_reserved(),
            context_bytes=max(0, total - free - cuda.memory_reserved()),
        )


def _text(name: str | bytes) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
