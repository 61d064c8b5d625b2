"""Compilation of the blocks of a network with `torch.compile`, while a task is trained."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from clmethods.errors import ClmethodsError
from clmethods.nn.lora import ComposedLinear

CPP_COMPILERS = ("g++", "clang++")
MOST_VERSIONS = 64
"""Number of compiled versions of a function, after which compilation fails. By default, further
versions would not be compiled, without an error, so that results would have other bits."""


class CompilerError(ClmethodsError, RuntimeError):
    """The option `train.compile` requires a compiler that is missing."""


def require_compiler(device: str) -> None:
    """Raise `CompilerError` if code for a device cannot be compiled.

    For the CPU, `torch.compile` calls the C++ compiler of the environment variable CXX, or g++.
    """
    if device != "cpu":
        return
    names = [os.environ["CXX"]] if os.environ.get("CXX") else list(CPP_COMPILERS)
    if not any(shutil.which(name) for name in names):
        raise CompilerError(
            "train.compile: true needs a C++ compiler on the CPU, and there is no "
            f"{' or '.join(names)} in PATH. Install one (on Debian: apt install g++), name it in "
            "the environment variable CXX, or set train.compile: false."
        )


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
