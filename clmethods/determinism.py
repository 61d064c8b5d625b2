"""Process settings for deterministic results, and access to the backbone and data of a run."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from clmethods.config.run import RunConfig
from clmethods.config.train import TrainConfig
from clmethods.data.extended_stream import ExtendedTaskStream, open_stream
from clmethods.data.streams import TaskStream
from clmethods.nn.backbone import FrozenBackbone, load_backbone


def prepare_process(train: TrainConfig) -> None:
    """Apply the settings with which every stage starts, in a new or reused process."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # fixes the order of sums
    torch.set_num_threads(train.threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = False  # networks allow it, see `Products`
    torch.backends.cudnn.allow_tf32 = False
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


def open_run(run: RunConfig) -> tuple[FrozenBackbone, TaskStream | ExtendedTaskStream]:
    """Return the backbone and the stream of a run; stages share both, read-only."""
    train = run.train
    backbone = load_backbone(run.backbone, train.precision, train.device, train.tf32_acts)
    return backbone, open_stream(run.stream, run.backbone.image_size)


def on_device(state: dict[str, Tensor], device: str) -> dict[str, Tensor]:
    """Return a stored state on a device; boolean masks stay on the CPU, where they are used."""
    return {
        name: tensor if tensor.dtype == torch.bool else tensor.to(device)
        for name, tensor in state.items()
    }
