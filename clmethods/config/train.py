"""Configuration of the training of a stage: optimizer, schedule and numerics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.errors import finite, refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Optimizer, schedule and numerics of a stage (docs/method.md section 2.6)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: int = 5
    batch_size: int = 64
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Optimizer. A new one is created for every task, so that no state is carried over."""
    lr: float = 5e-3
    """Initial learning rate. It is not scaled by the batch size."""
    lr_first_task: float | None = None
    """Initial learning rate of the first task; None uses `lr`."""
    lr_min: float = 1e-5
    """Final learning rate of the cosine schedule."""
    schedule: Literal["cosine", "cosine_ref", "constant"] = "cosine"
    """Learning rate schedule. `cosine_ref` lags one epoch behind, as in the public code."""
    weight_decay: float = 0.0
    grad_clip: float | None = 1.0
    """Largest global L2 norm of the gradient of all loss terms; None disables clipping."""
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """Number format. With bfloat16, products inside the network round their inputs to bfloat16;
    weights, losses, penalties, importance, statistics and the optimizer remain in float32."""
    tf32: bool = False
    """True to allow TF32 for products in float32 on a GPU: in the forward pass of the network and
    in the backward pass. It has no effect on the CPU and with other precisions."""
    compile: bool = False
    """True to compile the blocks of the network with `torch.compile` while a task is trained. On
    the CPU this needs a C++ compiler. Steps that sample importance are not compiled."""
    device: Literal["cpu", "cuda"] = "cpu"
    augment: Literal["none", "crop_flip", "cifar_ref"] = "none"
    """Augmentation of the training images: random crops and horizontal flips, as in the public
    code. `cifar_ref` is the public code's augmentation for CIFAR-100, with random brightness.
    Statistics and evaluation use images without augmentation."""
    threads: int = 1
    """Number of CPU threads of the trial. It is part of the stage key, because it changes the
    bits of results."""

    def __post_init__(self) -> None:
        positive = "greater than 0"
        refuse(
            [
                *finite(self),
                require(self.epochs >= 0, "epochs", self.epochs, "0 or more"),
                require(self.batch_size >= 1, "batch_size", self.batch_size, "1 or more"),
                require(self.lr > 0, "lr", self.lr, positive),
                require(
                    self.lr_first_task is None or self.lr_first_task > 0,
                    "lr_first_task",
                    self.lr_first_task,
                    f"null, or {positive}",
                ),
                require(self.lr_min >= 0, "lr_min", self.lr_min, "0 or more"),
                require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more"),
                require(
                    self.grad_clip is None or self.grad_clip > 0,
                    "grad_clip",
                    self.grad_clip,
                    f"null, or {positive}",
                ),
                require(self.threads >= 1, "threads", self.threads, "1 or more"),
            ]
        )

    @property
    def tf32_acts(self) -> bool:
        """True if products may use TF32."""
        return self.tf32 and self.device == "cuda" and self.precision == "float32"

    def lr_at(self, position: int) -> float:
        """Return the initial learning rate of the task at `position`."""
        first = position == 0 and self.lr_first_task is not None
        return self.lr_first_task if first and self.lr_first_task is not None else self.lr
