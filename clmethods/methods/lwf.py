"""LwF (arXiv 1606.09282): distillation from the previous network on the images of the new task."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.config.keys import StageSpec
from clmethods.config.methods import LwfConfig
from clmethods.config.run import RunConfig
from clmethods.methods.base import State, method_config
from clmethods.methods.finetuning import Finetuning, full_predictor
from clmethods.methods.lora import seen_classes, task_head
from clmethods.nn.backbone import FrozenBackbone, features
from clmethods.nn.head import TaskHead


@final
class Lwf(Finetuning):
    """CE + alpha T^2 KL( softmax(z_old / T) || softmax(z / T) ) over the old classes.

    Both networks receive the same batch. The rows of old classes are trained; if the cross-entropy
    is local, only the distillation term trains them (docs/method.md section 9.8). Invariant I10
    therefore does not hold for them: the rows of old classes and those of the task change, all
    others do not.
    """

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        self.config = method_config(run, LwfConfig)
        self.distils = stage.position > 0 and self.config.lwf_alpha > 0
        super().__init__(run, stage, backbone, state)
        own = set(stage.classes)
        self.old = torch.tensor(
            [label for label in seen_classes(self) if label not in own], device=backbone.device
        )
        self.teacher = full_predictor(backbone, state, "head") if self.distils else None

    def open_head(self) -> TaskHead:
        all_seen = self.config.head_loss == "global"
        if not self.distils:
            return task_head(self, seen_classes(self) if all_seen else None)
        return task_head(self, seen_classes(self), None if all_seen else self.stage.classes)

    def extra_terms(self, pixels: Tensor, embedded: Tensor) -> dict[str, Tensor]:
        if self.teacher is None:
            return {}
        with torch.no_grad():
            teacher_logits = self.teacher.classify(features(self.teacher.network, pixels))
        columns = torch.searchsorted(self.head.rows, self.old)
        target = teacher_logits[:, self.old]
        loss = distillation(
            self.head.logits(embedded)[:, columns], target, self.config.lwf_temperature
        )
        return {"distillation": self.config.lwf_alpha * loss}


def distillation(logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL( softmax(target / T) || softmax(logits / T) ), the batch mean; both (B, K)."""
    student = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(target / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return temperature**2 * divergence
