"""GPU memory of one process: its limit, its peak, and the devices of a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, final

from sweeps.errors import SweepsError

CONTEXT_BYTES = 512 * 1024**2
"""Bytes reserved for memory of a process outside torch's allocator: the CUDA context and the
loaded kernels. The allocator's limit does not include them."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One GPU."""

    name: str
    """Type of the GPU from the label of the node, or else the name that its driver reports."""
    total_bytes: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Memory that a process has used of its device."""

    device: Device
    peak_bytes: int
    """Peak of the bytes that torch's allocator reserved during the measurement."""
    context_bytes: int
    """Bytes in use outside the allocator, including those of other processes on the device."""


class Cuda(Protocol):
    """Part of `torch.cuda` that this module uses."""

    def is_available(self) -> bool: ...
    def mem_get_info(self) -> tuple[int, int]: ...
    def get_device_name(self) -> str: ...
    def set_per_process_memory_fraction(self, fraction: float) -> None: ...
    def empty_cache(self) -> None: ...
    def reset_peak_memory_stats(self) -> None: ...
    def max_memory_reserved(self) -> int: ...
    def memory_reserved(self) -> int: ...


class GpuProbe(Protocol):
    """Reports GPU memory. Sent through Ray to the workers, so it must be picklable."""

    def devices(self) -> list[Device]:
        """Return the GPUs of this node, including those in use."""

    def start(self) -> None:
        """Begin to measure the memory of this process."""

    def use(self) -> MemoryUse:
        """Return the memory that this process has used since `start`."""


class DeviceTooSmallError(SweepsError):
    """Raised if the share of the device is less than the measured need of a trial."""


def limit_memory(share: float, needed_bytes: int, cuda: Cuda) -> None:
    """Limit this process to its share of the device, to protect the memory of other processes.

    A process with one or more whole devices has no limit. `needed_bytes` is the measured value for
    `auto`; 0 if nothing was measured.
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
    """Reports memory through torch and NVIDIA's management library, a dependency of Ray."""

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
