"""Reader of weights files: safetensors, the original JAX files, and PyTorch checkpoints.

All readers can return only names, shapes and types, as tensors on the meta device, so that a file
can be compared with a network before its values are read. No reader runs code of a file.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.lib import format as npy
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from clmethods.errors import ClmethodsError
from clmethods.nn.weight_files.jax_names import from_jax

WRAPPERS = ("state_dict", "model", "teacher", "model_state_dict")
"""Keys under which training programs store the tensors, next to optimizer state and epoch. If a
file has a teacher and a student, the teacher is read: self-supervised methods publish it."""

DEEPEST, MOST_ENTRIES = 32, 500_000
"""Limits of the nested mappings of a checkpoint; no training program comes near them."""

EXPANSION, EXPANSION_FREE = 20, 256 << 20
"""An .npz file may expand to so many times its size, and to so many bytes in any case."""

SAFETENSORS_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
"""Types of the format by their names in its header."""


class WeightsError(ClmethodsError, RuntimeError):
    """Error for a weights file that does not fit the architecture, or cannot be read."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class StoredTensors:
    """Tensors of a file."""

    tensors: dict[str, Tensor]
    """By name; the keys of nested mappings are joined by dots."""
    start: str = ""
    """Beginning of the names in the mapping that training programs store the network in."""


def read(path: Path, *, shapes: bool = False) -> StoredTensors:
    """Return the tensors of a file; with `shapes`, on the meta device without values.

    Raises `WeightsError` if the file cannot be read.
    """
    readers = {".safetensors": _read_safetensors, ".npz": _read_npz}
    stored = readers.get(path.suffix, _read_pickle)(path, shapes)
    # Names of compiled modules, which torch.compile wraps at any level.
    tensors: dict[str, Tensor] = {}
    for name, tensor in stored.tensors.items():
        plain = ".".join(part for part in name.split(".") if part != "_orig_mod")
        if plain in tensors:
            raise WeightsError(f"{path.name} has two tensors {plain!r}, one of them compiled")
        tensors[plain] = tensor
    return StoredTensors(tensors, stored.start)


def _read_safetensors(path: Path, shapes: bool) -> StoredTensors:
    try:
        if not shapes:
            return StoredTensors(load_file(path))
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in list(file.keys())}
            return StoredTensors(
                {
                    name: _on_meta(part.get_shape(), _safetensors_type(name, part.get_dtype()))
                    for name, part in slices.items()
                }
            )
    except Exception as error:
        raise _unreadable(path, "safetensors file", error) from error


def _safetensors_type(name: str, stored: str) -> torch.dtype:
    if stored not in SAFETENSORS_TYPES:
        raise ValueError(f"{name} has the unknown type {stored}")
    return SAFETENSORS_TYPES[stored]


def _read_npz(path: Path, shapes: bool) -> StoredTensors:
    try:
        with zipfile.ZipFile(path) as archive:  # otherwise numpy would also accept a bare array
            total = sum(member.file_size for member in archive.infolist())
            if total > max(EXPANSION * path.stat().st_size, EXPANSION_FREE):
                raise ValueError(f"it expands to {total:,} bytes")
            if shapes:
                arrays = {m.filename: _array_shape(archive, m) for m in archive.infolist()}
                found = from_jax({n.removesuffix(".npy"): array for n, array in arrays.items()})
                return StoredTensors({name: t.to("meta") for name, t in found.items()})
        with np.load(path, allow_pickle=False) as stored:
            return StoredTensors(from_jax({name: stored[name] for name in stored.files}))
    except Exception as error:
        raise _unreadable(path, ".npz file", error) from error


def _array_shape(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    """Return zeros of the shape and type of an array, without memory for its values."""
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"{member.filename} has version {version} of the format")
        shape, _, dtype = readers[version](stream)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} contains Python objects")
        if stream.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise ValueError(f"{member.filename} has another size than its header says")
    return np.broadcast_to(np.zeros((), dtype), shape)


def _read_pickle(path: Path, shapes: bool) -> StoredTensors:
    """Read a PyTorch checkpoint with the loader that restores tensors and plain containers."""
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"  # older files cannot be mapped into memory
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=shapes and zipped)
    except Exception as error:  # a damaged pickle can raise any exception
        objects = sorted(set(re.findall(r"GLOBAL ([\w.]+)", str(error))))
        if not objects:
            raise _unreadable(path, "checkpoint", error) from error
        raise WeightsError(
            f"{path.name} contains objects that can only be restored by running code "
            f"({', '.join(objects)}). It was not opened. Store only its "
            "tensors as .safetensors, on a machine and from a source that you trust."
        ) from error
    tensors = _flat(loaded, path)
    if not tensors:
        raise WeightsError(f"{path.name} contains no named tensors")
    for name, tensor in tensors.items():
        if tensor.layout == torch.strided and not tensor.is_quantized and _expanded(tensor):
            raise WeightsError(
                f"{path.name}: {name} is {tuple(tensor.shape)}, more than it stores"
            )
    if shapes:
        tensors = {name: _on_meta(tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    return StoredTensors(tensors, _start(loaded))


def _flat(loaded: Any, path: Path) -> dict[str, Tensor]:
    """Return all tensors in nested mappings by joined keys."""
    tensors: dict[str, Tensor] = {}
    pending: list[tuple[str, int, Any]] = [("", 0, loaded)]
    visited = 0
    while pending:
        start, depth, mapping = pending.pop()
        if not isinstance(mapping, Mapping):
            continue
        visited += len(mapping)
        if depth > DEEPEST or visited > MOST_ENTRIES:
            raise WeightsError(
                f"{path.name} is not a checkpoint: its mappings contain themselves, or are nested "
                f"more than {DEEPEST} deep, or have more than {MOST_ENTRIES:,} entries"
            )
        for key, value in mapping.items():
            if isinstance(value, Tensor):
                tensors[f"{start}{key}"] = value
            else:
                pending.append((f"{start}{key}.", depth + 1, value))
    return tensors


def _start(loaded: Any) -> str:
    """Return the joined keys of the mapping in which training programs store the network."""
    start = ""
    while isinstance(loaded, Mapping):
        wrapper = next((w for w in WRAPPERS if isinstance(loaded.get(w), Mapping)), None)
        if wrapper is None:
            break
        start, loaded = f"{start}{wrapper}.", loaded[wrapper]
    return start


def _expanded(tensor: Tensor) -> bool:
    """Return True if the tensor repeats values, so that a copy needs more memory than the file."""
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def _on_meta(shape: Any, dtype: torch.dtype) -> Tensor:
    return torch.empty(tuple(shape), dtype=dtype, device="meta")


def _unreadable(path: Path, what: str, error: Exception) -> WeightsError:
    """Return the error for a file that is damaged or of another format, with a short reason."""
    text = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
    reason = (text.strip().splitlines() or [type(error).__name__])[0]
    return WeightsError(f"{path.name} is not a readable {what}: {reason[:300]}")
