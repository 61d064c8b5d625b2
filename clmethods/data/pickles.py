"""Safe reader of pickle files that contain only plain data and numpy arrays.

Loading a pickle can run arbitrary code, and numpy's own constructors accept types that can crash
the interpreter. This unpickler therefore calls nothing of numpy: the names that numpy writes stand
for functions of this module, which accept plain numeric arrays only and no attributes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from typing import Any, NoReturn, final

import numpy as np

from clmethods.data.source import DatasetError

PLAIN = re.compile(r"[biufc]\d{1,2}|\?")
"""Types of arrays: booleans and numbers; no objects, no records, no text."""


@final
class _Function:
    """A callable that takes no attributes from a pickle."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> object:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("it sets attributes of a function")


@final
class _Type:
    """Numeric type of an array in a pickle."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        text = code.decode("latin1") if isinstance(code, bytes) else code
        if not isinstance(text, str) or not PLAIN.fullmatch(text):
            raise pickle.UnpicklingError(f"it contains an array of type {str(text)[:20]!r}")
        self.code, self.order = text, "="

    def __setstate__(self, state: Any) -> None:
        _, order, *parts = state
        if any(part is not None for part in parts[:3]):
            raise pickle.UnpicklingError("it contains an array of records")
        text = order.decode("latin1") if isinstance(order, bytes) else order
        if text not in {"<", ">", "=", "|"}:
            raise pickle.UnpicklingError(f"it contains the byte order {str(text)[:20]!r}")
        self.order = text

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


@final
class _Array:
    """Array in a pickle; its content follows its creation."""

    __slots__ = ("content",)

    def __init__(self, *_: Any) -> None:
        self.content: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, _Type) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("it contains an array without a plain type or bytes")
        dtype = kind.dtype()
        if math.prod(shape) * dtype.itemsize != len(data) or min(shape, default=0) < 0:
            raise pickle.UnpicklingError(f"it contains {len(data)} bytes for an array {shape}")
        flat = np.frombuffer(data, dtype).copy()
        self.content = flat.reshape(shape, order="F" if fortran else "C")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Decode bytes as written by protocol 2; `codecs.encode` would allow dangerous codecs."""
    if encoding not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError(f"the encoding {str(encoding)[:20]!r} is not allowed")
    return text.encode("latin1")


def _not_called(*_: object) -> NoReturn:
    raise pickle.UnpicklingError("it creates an array directly")


ALLOWED: dict[tuple[str, str], _Function] = {
    ("numpy.core.multiarray", "_reconstruct"): _Function(_Array),
    ("numpy._core.multiarray", "_reconstruct"): _Function(_Array),
    ("numpy", "ndarray"): _Function(_not_called),
    ("numpy", "dtype"): _Function(_Type),
    ("_codecs", "encode"): _Function(_encode),
}
"""Functions that stand for the names that numpy writes. `ndarray` is an argument only."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not allowed")
        return ALLOWED[module, name]


def load_arrays(data: bytes, what: str) -> Any:
    """Return the object in a pickle: plain data, an array, or a dict whose values are such.

    Text from Python 2 is returned as bytes. `what` is the name of the file in error messages.
    Raises `DatasetError` for a pickle with other content and for a damaged file.
    """
    try:
        _check_memo(data)
        loaded = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        if isinstance(loaded, dict):
            return {key: _content(value) for key, value in loaded.items()}
        return _content(loaded)
    except Exception as error:  # a damaged pickle can raise any exception
        raise DatasetError(f"{what} is not a readable pickle of arrays: {error}") from error


def _check_memo(data: bytes) -> None:
    """Refuse positions in the memo for which the unpickler would reserve more than the file."""
    for opcode, argument, _ in pickletools.genops(data):
        if "PUT" in opcode.name and int(argument) > len(data):  # type: ignore[arg-type]
            raise pickle.UnpicklingError(f"it refers to object {argument} of a short file")


def _content(value: Any) -> Any:
    return value.content if isinstance(value, _Array) else value
