"""What a process needs before it trains or evaluates: settings, backbone, data."""

from __future__ import annotations

import torch

from clmethods.config.run import RunConfig
from clmethods.config.train import TrainConfig
from clmethods.data.streams import TaskStream
from clmethods.nn.backbone import FrozenBackbone, load_backbone


def prepare_process(train: TrainConfig) -> None:
    """Bring a process, fresh or reused, into the state that every stage starts from."""
    torch.set_num_threads(train.threads)
    torch.use_deterministic_algorithms(True)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


def open_run(run: RunConfig) -> tuple[FrozenBackbone, TaskStream]:
    """Backbone and stream of a run; both are shared between stages and read-only."""
    backbone = load_backbone(run.backbone, run.train.precision, run.train.device)
    return backbone, TaskStream(run.stream, run.backbone.image_size)
