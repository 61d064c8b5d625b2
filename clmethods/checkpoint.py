"""Tensors to bytes and back: safetensors, never pickle, with no metadata block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor


class DamagedStateError(ValueError):
    """Bytes that are not the state that was written."""


def state_to_bytes(state: dict[str, Tensor]) -> bytes:
    """The same tensors give the same bytes; safetensors orders them by type and name."""
    return save({name: state[name].detach().cpu().contiguous() for name in sorted(state)})


def state_from_bytes(data: bytes) -> dict[str, Tensor]:
    """Inverse of `state_to_bytes`; raises `DamagedStateError`."""
    try:
        return load(data)
    except SafetensorError as error:
        raise DamagedStateError(str(error)) from error


def fold(deltas: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The state after the last of `deltas`, given in order from the first stage on."""
    state: dict[str, Tensor] = {}
    for delta in deltas:
        state.update(delta)
    return state


def sha256(data: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()
