"""LwF (arXiv 1606.09282): the old network's answers to new images are kept as soft labels."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.config.keys import StageSpec
from clmethods.config.methods import LwfConfig
from clmethods.config.run import RunConfig
from clmethods.methods.base import State
from clmethods.methods.finetuning import Finetuning, full_predictor
from clmethods.methods.lora import seen_classes, task_head
from clmethods.nn.backbone import FrozenBackbone, features
from clmethods.nn.head import TaskHead


@final
class Lwf(Finetuning):
    """CE + alpha T^2 KL( softmax(z_old / T) || softmax(z / T) ) over the old classes.

    Both networks see the same batch. The rows of old classes are trained, by the second term
    alone where the first one is local (docs/method.md section 9.8); so invariant I10 does not hold
    for them, and nothing but them and the task's own rows moves.
    """

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        self.config = lwf_config(run)
        self.distils = stage.position > 0 and self.config.lwf_alpha > 0
        super().__init__(run, stage, backbone, state)
        own = set(stage.classes)
        self.old = torch.tensor(
            [label for label in seen_classes(self) if label not in own], device=backbone.device
        )
        self.teacher = full_predictor(backbone, state, "head") if self.distils else None

    def open_head(self) -> TaskHead:
        everything = self.config.head_loss == "global"
        if not self.distils:
            return task_head(self, seen_classes(self) if everything else None)
        return task_head(self, seen_classes(self), None if everything else self.stage.classes)

    def extra_terms(self, pixels: Tensor, found: Tensor) -> dict[str, Tensor]:
        if self.teacher is None:
            return {}
        with torch.no_grad():
            answers = self.teacher.classify(features(self.teacher.network, pixels))
        columns = torch.searchsorted(self.head.rows, self.old)
        target = answers[:, self.old]
        loss = distillation(
            self.head.logits(found)[:, columns], target, self.config.lwf_temperature
        )
        return {"distillation": self.config.lwf_alpha * loss}


def distillation(logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """T^2 KL( softmax(target / T) || softmax(logits / T) ), mean over the batch; both (B, K)."""
    student = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(target / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def lwf_config(run: RunConfig) -> LwfConfig:
    """The method's configuration, which must be that of LwF."""
    if not isinstance(run.method, LwfConfig):
        raise TypeError(f"expected lwf, got {run.method.kind}")
    return run.method
