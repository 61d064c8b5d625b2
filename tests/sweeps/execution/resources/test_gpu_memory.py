"""Limits and reports of GPU memory: with a stand-in for torch's interface, and on a real GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ray._private.thirdparty import pynvml

from sweeps.definition import expand
from sweeps.execution.resources.gpu_memory import (
    CONTEXT_BYTES,
    Device,
    DeviceTooSmallError,
    MemoryUse,
    TorchProbe,
    limit_memory,
    torch_cuda,
)
from sweeps.execution.worker import trainable as trainable_module
from sweeps.execution.worker.trainable import StageTrainable
from tests.sweeps.execution.worker.test_trainable import config_of
from tests.sweeps.stages.small import small_sweep

GB = 1_000_000_000
SWEEP = small_sweep()


class FakeCuda:
    """A device whose memory is a number."""

    def __init__(self, total: int = 24 * GB, available: bool = True) -> None:
        self.total, self.available = total, available
        self.reserved = self.peak = 0
        self.beside = CONTEXT_BYTES
        self.fractions: list[float] = []

    def is_available(self) -> bool:
        return self.available

    def mem_get_info(self) -> tuple[int, int]:
        return self.total - self.reserved - self.beside, self.total

    def get_device_name(self) -> str:
        return "NVIDIA L4"

    def set_per_process_memory_fraction(self, fraction: float) -> None:
        assert isinstance(fraction, float)  # torch refuses anything else
        assert 0 <= fraction <= 1
        self.fractions.append(fraction)

    def empty_cache(self) -> None:
        self.reserved = 0

    def reset_peak_memory_stats(self) -> None:
        self.peak = self.reserved

    def max_memory_reserved(self) -> int:
        return self.peak

    def memory_reserved(self) -> int:
        return self.reserved

    def reserve(self, nbytes: int) -> None:
        self.reserved += nbytes
        self.peak = max(self.peak, self.reserved)


@pytest.mark.parametrize("share", [0.5, 0.25, 0.1666])
def test_a_process_keeps_to_its_share(share: float) -> None:
    """All shares of a device, each with a context of its own, fit on it together."""
    cuda = FakeCuda()
    limit_memory(share, 0, cuda)
    (fraction,) = cuda.fractions
    processes = int(1 / share)
    assert processes * (fraction * cuda.total + CONTEXT_BYTES) <= cuda.total
    assert fraction * cuda.total > 0.8 * share * cuda.total


def test_a_small_share_keeps_half_of_itself() -> None:
    """If the CUDA context takes nearly all memory, torch still gets some."""
    cuda = FakeCuda(total=4 * GB)
    limit_memory(0.1, 0, cuda)
    assert cuda.fractions == [0.05]


@pytest.mark.parametrize(("share", "available"), [(1.0, True), (2.0, True), (0.0, True), (0.5, 0)])
def test_who_shares_nothing_has_no_limit(share: float, available: bool) -> None:
    cuda = FakeCuda(available=bool(available))
    limit_memory(share, 0, cuda)
    assert cuda.fractions == []


def test_a_device_that_is_too_small_for_what_was_measured_is_refused() -> None:
    cuda = FakeCuda()
    limit_memory(0.25, 6 * GB, cuda)
    with pytest.raises(DeviceTooSmallError, match=r"0\.25 of the 16 GB of its GPU \(NVIDIA L4\)"):
        limit_memory(0.25, 6 * GB, FakeCuda(total=16 * GB))


def test_a_worker_limits_itself_before_it_loads_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = FakeCuda()
    monkeypatch.setattr(trainable_module, "torch_cuda", lambda: cuda)
    config = config_of(expand(SWEEP)[0], tmp_path)
    config["message"]["demand"] = {"CPU": 1.0, "GPU": 0.5}
    assert StageTrainable(config).step()["outcome"] == "trained"
    assert cuda.fractions == [0.5 - CONTEXT_BYTES / cuda.total]


def test_a_worker_on_a_device_that_is_too_small_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler then places the trial elsewhere, as it does for a storage that is missing."""
    monkeypatch.setattr(trainable_module, "torch_cuda", lambda: FakeCuda(total=2 * GB))
    config = config_of(expand(SWEEP)[0], tmp_path)
    config["message"] |= {"demand": {"CPU": 1.0, "GPU": 0.5}, "gpu_bytes": 3 * GB}
    result = StageTrainable(config).step()
    assert (result["outcome"], result["position"], result["done"]) == ("gpu_too_small", 0, False)
    assert "0.5 of the 2 GB of its GPU" in result["error"]
    assert not list(tmp_path.glob("stages/**/stage.json"))


def test_the_probe_reports_peak_and_what_is_used_beside_the_allocator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = FakeCuda()
    cuda.reserve(5 * GB)  # before the measurement
    monkeypatch.setattr("sweeps.execution.resources.gpu_memory.torch_cuda", lambda: cuda)
    probe = TorchProbe()
    probe.start()
    cuda.reserve(2 * GB)
    cuda.reserve(-GB)
    assert probe.use() == MemoryUse(
        device=Device(name="NVIDIA L4", total_bytes=24 * GB),
        peak_bytes=2 * GB,
        context_bytes=CONTEXT_BYTES,
    )


@pytest.mark.parametrize("fails", [None, "nvmlInit", "nvmlDeviceGetCount"])
def test_the_probe_lists_the_devices_of_a_node(
    monkeypatch: pytest.MonkeyPatch, fails: str | None
) -> None:
    """By NVIDIA's library, which sees the devices that Ray hides; none where it does not work."""

    def refuse(*arguments: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda handle: b"NVIDIA L4" if handle else "Tesla T4",
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=(16 + 8 * handle) * GB),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, refuse if name == fails else answer)
    found = [(device.name, device.total_bytes) for device in TorchProbe().devices()]
    assert found == ([] if fails else [("Tesla T4", 16 * GB), ("NVIDIA L4", 24 * GB)])


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.gpu
@needs_gpu
def test_the_probe_measures_a_real_device() -> None:
    probe, cuda = TorchProbe(), torch_cuda()
    torch.zeros(1, device="cuda")
    probe.start()
    kept = torch.zeros(256 * 1024**2, dtype=torch.uint8, device="cuda")
    use = probe.use()
    assert kept.nbytes <= use.peak_bytes < 2 * kept.nbytes
    assert 0 < use.context_bytes < use.device.total_bytes
    assert use.device.total_bytes == cuda.mem_get_info()[1]
    names = [device.name for device in probe.devices()]
    assert use.device.name in names


@pytest.mark.gpu
@needs_gpu
def test_a_real_process_cannot_take_more_than_its_share() -> None:
    """In a process of its own, as the limit stays."""
    script = """
import torch
from sweeps.execution.resources.gpu_memory import limit_memory, torch_cuda
limit_memory(0.25, 0, torch_cuda())
total = torch.cuda.mem_get_info()[1]
torch.empty(int(total * 0.15), dtype=torch.uint8, device="cuda")
torch.cuda.empty_cache()
try:
    torch.empty(int(total * 0.3), dtype=torch.uint8, device="cuda")
except torch.OutOfMemoryError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "refused", done.stderr
