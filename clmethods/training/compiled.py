"""Compilation of the blocks of a network with `torch.compile`, while a task is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from clmethods.nn.lora import ComposedLinear

MOST_VERSIONS = 64
"""Number of compiled versions of a function, after which compilation fails. By default, further
versions would not be compiled, without an error, so that results would have other bits."""


@contextmanager
def compiled_blocks(network: nn.Module) -> Iterator[None]:
    """Compile the blocks of a Vision Transformer inside the context.

    A step that observes a layer calls the uncompiled block, because its observer has to be called
    with the dense gradient of the layer's weight. What the process compiled before is discarded,
    because the number of compiled versions of a function is limited, and because results must not
    depend on it.
    """
    torch.compiler.reset()
    blocks = list(network.blocks)  # type: ignore[arg-type]
    for block in blocks:
        block.forward = _dispatch(block)
    limits = {"recompile_limit": MOST_VERSIONS, "fail_on_recompile_limit_hit": True}
    try:
        with torch._dynamo.config.patch(limits):
            yield
    finally:
        for block in blocks:
            del block.forward


def _dispatch(block: nn.Module) -> Callable[[Tensor], Tensor]:
    eager = block.forward
    compiled = torch.compile(eager, dynamic=False)
    layers = [module for module in block.modules() if isinstance(module, ComposedLinear)]

    def forward(x: Tensor) -> Tensor:
        observed = any(layer.observed() for layer in layers)
        y: Tensor = eager(x) if observed else compiled(x)
        return y

    return forward
