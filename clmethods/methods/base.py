"""Base class of the methods: a method is built from a stored state and trains one task.

Every stage builds a new method object from the state of its parent. Only that state, the
configuration and the seed determine the result, so a resumed chain equals an uninterrupted one.

Order of the calls:
    __init__ -> begin_task -> (loss, after_backward, after_step) per batch -> end_task -> report
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, final

import torch
from torch import Tensor, nn

from clmethods.canonical import derive_seed
from clmethods.config.keys import StageSpec
from clmethods.config.methods.fields import MethodFields
from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.errors import ClmethodsError
from clmethods.nn.adapted_networks import Matrix
from clmethods.nn.backbone import FrozenBackbone, features

Config = TypeVar("Config", bound=MethodFields)

State = dict[str, Tensor]
"""Tensors by name. The state of a stage is the union of the deltas of its ancestors and its own;
later tensors replace earlier ones of the same name."""

FORWARD_BATCH = 256
"""Images per forward pass outside training. It is fixed, because it can change bits."""


class DivergedError(ClmethodsError, RuntimeError):
    """Losses or features are not finite. Only the trial that raised the error fails."""


@dataclass(frozen=True, slots=True)
class ParamGroup:
    """Trainable parameters, with their learning rate relative to that of the run."""

    parameters: Sequence[nn.Parameter]
    lr_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixReport:
    """Figures of one adapted matrix after a task: a row of the table `matrices`."""

    block: int
    site: str
    importance: float | None
    frozen: bool
    omega: list[float]
    delta_norm: float
    change_since: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodReport:
    """Figures of a method after a task."""

    trainable_parameters: int
    frozen_count: int = 0
    ortho_residual_max: float | None = None
    ortho_fallbacks: int = 0
    """Number of cases, over all steps, in which A was too ill-conditioned for the QR penalty."""
    matrices: list[MatrixReport] = field(default_factory=list)


LowRank = Mapping[Matrix, tuple[Tensor, Tensor]]
"""A (R, a) and B (b, R) by matrix, including scale and module weights: the update is B A."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """Classifier that consists of one linear layer."""

    weight: Tensor
    """Weight (C, D)."""
    bias: Tensor
    """Bias (C,)."""
    cosine: bool = False
    """True if the scores of the method are cosines: the layer's output divided by the feature
    norm."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """Snapshot for evaluation: constant weights and a classifier over all C classes."""

    backbone: FrozenBackbone
    network: nn.Module
    classify: Callable[[Tensor], Tensor]
    """Function from features (B, D) to scores (B, C). Scores of classes not yet learned are
    undefined."""

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return the features (n, D) of uint8 images (n, H, W), in batches of a fixed size."""
        with torch.inference_mode():
            batches = [
                features(self.network, self.backbone.preprocess(batch))
                for batch in torch.split(images, FORWARD_BATCH)
            ]
        # Joined outside: gradients of a head cannot be computed from tensors of inference mode.
        return torch.cat(batches) if batches else torch.empty(0, self.backbone.width)

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        """Return the scores (n, C) of uint8 images (n, H, W)."""
        return self.classify(self.features(images))


class Method(ABC):
    """One task of one method.

    The training loop owns the optimizer, the schedule, gradient clipping and the finiteness
    checks.
    """

    network: nn.Module
    """Network that `loss` evaluates; a method that trains has set it after `begin_task`."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        """Make the decisions at the start of a task, from the state of the parent stage."""
        self.run, self.stage, self.backbone, self.state = run, stage, backbone, state

    def begin_task(self, data: TaskData) -> None:  # noqa: B027  # an empty hook
        """Make the decisions that require the task's training images; nothing is trained yet."""

    @abstractmethod
    def parameter_groups(self) -> list[ParamGroup]:
        """Return the trainable parameters; the optimizer receives no others."""

    @abstractmethod
    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss terms by name; their sum is minimized.

        `pixels` (B, 3, H, W), `labels` (B,) original class ids.
        """

    def after_backward(self) -> None:  # noqa: B027  # an empty hook: most methods do not need it
        """Use the gradients of a step, before clipping and before the optimizer step."""

    def after_step(self) -> None:  # noqa: B027  # an empty hook
        """Restore constraints that must hold exactly, after the optimizer step."""

    @abstractmethod
    def end_task(self, data: TaskData) -> State:
        """Return every tensor that this stage changed; `data` is the task's training split."""

    @abstractmethod
    def report(self, state: State) -> MethodReport:
        """Return the figures of the task; `state` is the state after the task."""

    @classmethod
    @abstractmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        """Return the network after task `snapshot`, with the head after task `position`."""

    @classmethod
    def low_rank(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> LowRank | None:
        """Return the low-rank factors by which `predictor`'s network differs from the backbone.

        Returns None if the difference has no low-rank form, and an empty mapping if there is none.
        """
        return None

    @classmethod
    def linear_head(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int
    ) -> LinearHead | None:
        """Return the classifier of `predictor` as one layer; None if it has no such form.

        By default this is the head of the state.
        """
        if "head.weight" not in state:
            return None
        return LinearHead(state["head.weight"], state["head.bias"])

    def generator(self, *purpose: str | int) -> torch.Generator:
        """Return a generator seeded by the run's seed, the purpose, the position and the task."""
        seed = derive_seed(self.run.seed, *purpose, self.stage.position, self.stage.task_key)
        return torch.Generator().manual_seed(seed)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over all trainable parameters."""
        return (p for group in self.parameter_groups() for p in group.parameters)


def method_config(run: RunConfig, kind: type[Config]) -> Config:
    """Return the method's configuration. Raises `TypeError` if it is not a `kind`."""
    if not isinstance(run.method, kind):
        raise TypeError(f"expected {kind.__name__}, got the method {run.method.kind}")
    return run.method
