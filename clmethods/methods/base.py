"""What a method is: built from a stored state, it trains one task and says what changed.

A stage builds its method anew from the state of its parent, so nothing but that state, the
configuration and the seed can reach it: a resumed chain cannot differ from an unbroken one.

Order of the calls:
    __init__ -> begin_task -> (loss, after_backward, after_step) per batch -> end_task -> report
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from clmethods.canonical import derive_seed
from clmethods.config.keys import StageSpec
from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.nn.adapted import Matrix
from clmethods.nn.backbone import FrozenBackbone, features

State = dict[str, Tensor]
"""Tensors by name. A stage's state is its ancestors' deltas and its own, later ones winning."""

FORWARD_BATCH = 256
"""Images per forward pass outside training. Fixed, because it can change bits."""


class DivergedError(RuntimeError):
    """Losses or features that are not finite: the trial fails alone, with this as the cause."""


@dataclass(frozen=True, slots=True)
class ParamGroup:
    """Parameters that move, with their learning rate over that of the run."""

    parameters: Sequence[nn.Parameter]
    lr_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixReport:
    """One adapted matrix after a task: a row of the table `matrices`."""

    block: int
    site: str
    importance: float | None
    frozen: bool
    omega: list[float]
    delta_norm: float
    change_since: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodReport:
    """What a method tells of the task that it has just learned."""

    trainable_parameters: int
    frozen_count: int = 0
    ortho_residual_max: float | None = None
    ortho_fallbacks: int = 0
    """How often a matrix's A was too badly conditioned for the QR penalty, over all steps."""
    matrices: list[MatrixReport] = field(default_factory=list)


LowRank = Mapping[Matrix, tuple[Tensor, Tensor]]
"""A (R, a) and B (b, R) by matrix, scale and module weights folded in: its update is B A."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """A classifier that is one linear layer."""

    weight: Tensor
    """(C, D)"""
    bias: Tensor
    """(C,)"""
    cosine: bool = False
    """The method's scores are cosines: those of the layer, divided by the norm of the feature."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """A snapshot ready for evaluation: constant weights and a classifier over all C classes."""

    backbone: FrozenBackbone
    network: nn.Module
    classify: Callable[[Tensor], Tensor]
    """(B, D) features to (B, C) scores; rows of classes never learned mean nothing."""

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """(n, H, W) uint8 to (n, D), in batches of a fixed size."""
        batches = [
            features(self.network, self.backbone.preprocess(batch))
            for batch in torch.split(images, FORWARD_BATCH)
        ]
        return torch.cat(batches) if batches else torch.empty(0, self.backbone.width)

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        """(n, H, W) uint8 to (n, C)."""
        return self.classify(self.features(images))


class Method(ABC):
    """One task of one method. The loop owns optimiser, schedule, clipping and checks."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        """Take the decisions that a task begins with, from the state of the parent stage."""
        self.run, self.stage, self.backbone, self.state = run, stage, backbone, state

    def begin_task(self, data: TaskData) -> None:  # noqa: B027  # an empty hook
        """Decisions that need the task's training images; nothing is trained yet."""

    @abstractmethod
    def parameter_groups(self) -> list[ParamGroup]:
        """Exactly what must move; everything else is not given to the optimiser."""

    @abstractmethod
    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss terms to be summed; `pixels` (B, 3, H, W), `labels` (B,) original class ids."""

    def after_backward(self) -> None:  # noqa: B027  # an empty hook: most methods have no use for it
        """Gradients are there, the step is not taken yet."""

    def after_step(self) -> None:  # noqa: B027  # an empty hook too
        """The optimiser has moved the parameters; bring back what must hold exactly."""

    @abstractmethod
    def end_task(self, data: TaskData) -> State:
        """Every tensor that this stage changed; `data` is the task's training split."""

    @abstractmethod
    def report(self, state: State) -> MethodReport:
        """Figures of the task; `state` is the one after it."""

    @classmethod
    @abstractmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        """The network as it was after the task at `snapshot`, with the head of `position`."""

    @classmethod
    def low_rank(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> LowRank | None:
        """The updates by which `predictor`'s network differs from the backbone, in factors.

        None if they have no such form; empty if there are none.
        """
        return None

    @classmethod
    def linear_head(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int
    ) -> LinearHead | None:
        """The classifier of `predictor` as one layer, by default the state's head; None if not."""
        if "head.weight" not in state:
            return None
        return LinearHead(state["head.weight"], state["head.bias"])

    def generator(self, *purpose: str | int) -> torch.Generator:
        """A generator that depends on the run's seed, the purpose, the position and the task."""
        seed = derive_seed(self.run.seed, *purpose, self.stage.position, self.stage.task_key)
        return torch.Generator().manual_seed(seed)

    def parameters(self) -> Iterator[nn.Parameter]:
        """All parameters that move."""
        return (p for group in self.parameter_groups() for p in group.parameters)
