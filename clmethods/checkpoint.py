"""Serialization of state dictionaries: safetensors without a metadata block, never pickle."""

from __future__ import annotations

from collections.abc import Iterable

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from clmethods.errors import ClmethodsError


class DamagedStateError(ClmethodsError, ValueError):
    """Exception for bytes that are not a valid serialized state."""


def state_to_bytes(state: dict[str, Tensor]) -> bytes:
    """Return the tensors as safetensors bytes.

    Equal tensors give equal bytes, because safetensors orders them by type and name.
    """
    return save({name: state[name].detach().cpu().contiguous() for name in sorted(state)})


def state_from_bytes(data: bytes) -> dict[str, Tensor]:
    """Return the tensors that `state_to_bytes` wrote.

    Raises `DamagedStateError` if the bytes are not valid safetensors.
    """
    try:
        return load(data)
    except SafetensorError as error:
        raise DamagedStateError(str(error)) from error


def fold(deltas: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the state after the last of `deltas`, which are ordered from the first stage on."""
    state: dict[str, Tensor] = {}
    for delta in deltas:
        state.update(delta)
    return state
