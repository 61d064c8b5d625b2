"""Number formats of the products inside a network; everything else is computed in its dtype."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""Format of weights, gradients, optimizer state and stored tensors, by `train.precision`."""


@final
@dataclass(frozen=True, slots=True)
class Products:
    """Formats to which the products inside a network may round their inputs."""

    autocast: torch.dtype | None = None
    """Format of the inputs of linear layers, convolutions and attention, in the forward and the
    backward pass; None to leave them as they are."""
    tf32: bool = False
    """True if a GPU may use TF32 for products in float32."""

    @contextmanager
    def in_use(self, device: str) -> Iterator[None]:
        """Use these formats for the forward pass of a network on a type of device."""
        cast = self.autocast
        with tf32_products(self.tf32), torch.autocast(device, cast, enabled=cast is not None):
            yield


FULL = Products()
"""Every product in the format of its inputs."""


def without_autocast(tensor: Tensor) -> torch.autocast:
    """Return a context for products of constraints and updates, which need all of their digits."""
    return torch.autocast(tensor.device.type, enabled=False)


@contextmanager
def tf32_products(enabled: bool) -> Iterator[None]:
    """Allow or forbid TF32 in products and convolutions of a GPU; restore the settings after."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = enabled
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
