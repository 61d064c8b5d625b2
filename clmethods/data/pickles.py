"""Safe reader of pickle files that contain only plain data and numpy arrays.

Loading a pickle can execute arbitrary code. This unpickler only allows the names that numpy needs
for its arrays.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from clmethods.data.source import DatasetError


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Decode bytes as written by protocol 2; `codecs.encode` would allow dangerous codecs."""
    if encoding not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError(f"the encoding {encoding!r} is not allowed")
    return text.encode("latin1")


_reconstruct = np.ndarray(0, np.uint8).__reduce__()[0]  # its module depends on numpy's version

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
            raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not allowed")
        return ALLOWED[module, name]


def load_arrays(data: bytes, what: str) -> Any:
    """Return the object in a pickle of dicts, lists, text and arrays.

    Text from Python 2 is returned as bytes. `what` is the name of the file in error messages.
    Raises `DatasetError` for a pickle with other content and for a damaged file.
    """
    try:
        return _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise any exception
        raise DatasetError(f"{what} is not a readable pickle of arrays: {error}") from error
