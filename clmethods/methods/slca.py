"""SLCA (arXiv 2303.05118): slow learner with classifier alignment.

The network is trained with a low learning rate, so that the feature statistics of old classes
remain approximately valid. After each task except the first, a copy of the head is trained on
features drawn from these statistics. The next task continues from the original head. State, by
name, in addition to the weights and the head of `finetuning.py`:

    class.LABEL.mean               (D,) mean feature of a class when it was learned, in float64
    class.LABEL.root               (k, D) R with R^T R = covariance, k <= D, in float64
    aligned.weight, aligned.bias   the aligned head, which is used for prediction
"""

from __future__ import annotations

import math
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.config.methods import SlcaConfig
from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.methods.base import LinearHead, Predictor, State, method_config
from clmethods.methods.finetuning import Finetuning, full_predictor
from clmethods.methods.lora import seen_classes
from clmethods.nn.backbone import FrozenBackbone

DIAGONAL = 1e-4
"""Variance added to every feature."""


@final
class Slca(Finetuning):
    """Local cross-entropy, then alignment of the head (docs/method.md section 9.9)."""

    def evidence(self, data: TaskData) -> State:
        embedded = Predictor(self.backbone, self.network, lambda h: h).features(data.images)
        statistics: State = {}
        for label in self.stage.classes:
            mean, root = class_gaussian(embedded[data.labels.to(embedded.device) == label])
            statistics |= {f"class.{label}.mean": mean, f"class.{label}.root": root}
        config = method_config(self.run, SlcaConfig)
        if self.stage.position == 0 or config.align_epochs == 0:
            return statistics
        weight, bias = self.head.merged()
        rows = torch.tensor(seen_classes(self), device=weight.device)
        aligned = self._align(config, self.state | statistics, (weight[rows], bias[rows]))
        weight[rows], bias[rows] = aligned
        return statistics | {"aligned.weight": weight, "aligned.bias": bias}

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        head = "aligned" if "aligned.weight" in state else "head"
        return full_predictor(backbone, state, head)

    @classmethod
    def linear_head(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int
    ) -> LinearHead | None:
        head = "aligned" if "aligned.weight" in state else "head"
        return LinearHead(state[f"{head}.weight"], state[f"{head}.bias"])

    def _align(
        self, config: SlcaConfig, statistics: State, start: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the rows of the seen classes (C, D) and (C,), trained on drawn features."""
        seen, generator = seen_classes(self), self.generator("align")
        positions = [g.classes for g in self.run.stream.sequence()[: self.stage.position + 1]]
        slices = [torch.tensor([seen.index(label) for label in own]) for own in positions]
        shrink = {  # the mean of a class shrinks with the number of tasks since
            label: 0.9 + 0.1 * (i + 1) / len(positions)
            for i, own in enumerate(positions)
            for label in own
        }
        weight, bias = (tensor.clone().requires_grad_() for tensor in start)
        optimizer = torch.optim.SGD([weight, bias], lr=config.align_lr, momentum=0.9)
        labels = torch.arange(len(seen)).repeat_interleave(config.align_samples)
        for epoch in range(config.align_epochs):
            for group in optimizer.param_groups:
                group["lr"] = cosine(config.align_lr, epoch, config.align_epochs)
            drawn = torch.cat(
                [
                    draw_features(
                        shrink[label] * statistics[f"class.{label}.mean"].cpu(),
                        statistics[f"class.{label}.root"].cpu(),
                        config.align_samples,
                        generator,
                    )
                    for label in seen
                ]
            ).to(weight)  # (C * samples, D)
            shuffled = torch.randperm(len(labels), generator=generator)
            for chosen in torch.split(shuffled, config.align_samples):
                optimizer.zero_grad()
                with torch.enable_grad():
                    logits = F.linear(drawn[chosen], weight, bias)
                    if config.logit_norm is not None:
                        logits = normalized_logits(logits, slices, config.logit_norm)
                    loss = F.cross_entropy(logits, labels[chosen].to(logits.device))
                    loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return weight.detach(), bias.detach()


def class_gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) of features (n, D) and a root (k, D) of their unbiased covariance.

    The root is exact and has min(n, D) rows, so it is never larger than the covariance.
    """
    exact = features.double()
    mean = exact.mean(dim=0)
    scatter = (exact - mean) / math.sqrt(max(1, len(exact) - 1))
    root: Tensor = torch.linalg.qr(scatter, mode="r").R
    return mean, root.contiguous()


def draw_features(mean: Tensor, root: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """Return samples (samples, D) of the normal distribution with covariance R^T R + 1e-4 I."""
    spread = torch.randn(samples, len(root), generator=generator, dtype=root.dtype)
    floor = torch.randn(samples, len(mean), generator=generator, dtype=root.dtype)
    return mean + spread @ root + math.sqrt(DIAGONAL) * floor


def normalized_logits(logits: Tensor, slices: list[Tensor], temperature: float) -> Tensor:
    """Return logits (B, C) divided by `temperature` and by the mean of their norms per task."""
    norms = [logits[:, own].norm(dim=1, keepdim=True) + 1e-7 for own in slices]
    return logits / (temperature * torch.cat(norms, dim=1).mean(dim=1, keepdim=True))


def cosine(rate: float, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch, which decays from `rate` to 0."""
    return 0.5 * rate * (1.0 + math.cos(math.pi * epoch / epochs))
