"""Pickles of plain data and arrays, read by an unpickler that refuses everything else.

A pickle is a program: a file from somewhere could run any code. Of the names that it may ask for,
only what numpy's own arrays are made of is granted.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from clmethods.data.source import DatasetError


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What protocol 2 writes for bytes; the real `codecs.encode` knows dangerous codecs."""
    if encoding not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError(f"the encoding {encoding!r} is not allowed")
    return text.encode("latin1")


_reconstruct = np.ndarray(0, np.uint8).__reduce__()[0]  # numpy's own, wherever it lives today

ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return ALLOWED[module, name]


def load_arrays(data: bytes, what: str) -> Any:
    """The object in a pickle of dicts, lists, text and arrays; text of Python 2 comes as bytes.

    Raises `DatasetError` for anything else and for a damaged file.
    """
    try:
        return _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # damage shows as any error; none may run on
        raise DatasetError(f"{what} is not a readable pickle of arrays: {error}") from error
