"""Counting of operations that wait for the device: they give Python the value of a tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

OPERATIONS = {
    torch.ops.aten._local_scalar_dense,
    torch.ops.aten.equal,
    torch.ops.aten.is_nonzero,
    torch.ops.aten.masked_select,
    torch.ops.aten.nonzero,
    torch.ops.aten.unique_dim,
    torch.ops.aten._unique2,
}
"""Operators whose result, or its shape, the host needs before it continues."""
FUNCTIONS = {
    torch.Tensor.tolist,
    torch.Tensor.cpu,
    torch.Tensor.numpy,
    torch.Tensor.__array__,
}
"""Functions that copy to the host; on the CPU, some of them call no operator."""


class _Operators(TorchDispatchMode):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if func.overloadpacket in OPERATIONS:
            self.counts[str(func.overloadpacket)] += 1
        return func(*args, **(kwargs or {}))


class _Functions(TorchFunctionMode):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if func in FUNCTIONS:
            self.counts[func.__name__] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def counted_read_backs() -> Iterator[Counter[str]]:
    """Count the operations of this thread, by name."""
    counts: Counter[str] = Counter()
    with _Functions(counts), _Operators(counts):
        yield counts
