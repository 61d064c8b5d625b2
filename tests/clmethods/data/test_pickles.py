"""Pickles of arrays: read as numpy does, or refused without running or creating anything else."""

from __future__ import annotations

import pickle
import pickletools
from typing import Any

import numpy as np
import pytest

from clmethods.data.pickles import load_arrays
from clmethods.data.source import DatasetError


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.int64).reshape(3, 4)),
        np.array([1.5, -2.0], dtype=">f4"),
        np.array([True, False]),
        np.zeros((1, 3072), np.uint8),
    ],
)
def test_arrays_are_those_of_numpy(array: Any, protocol: int) -> None:
    loaded = load_arrays(pickle.dumps({b"data": array, b"n": [1, 2]}, protocol), "batch")
    assert loaded[b"n"] == [1, 2]
    assert loaded[b"data"].dtype == array.dtype
    assert loaded[b"data"].shape == array.shape
    assert np.array_equal(loaded[b"data"], array)
    assert np.array_equal(load_arrays(pickle.dumps(array, protocol), "batch"), array)


def reduced(function: str, arguments: bytes, build: bytes = b"") -> bytes:
    """A pickle that calls a function, and sets the state of the result."""
    module, _, name = function.rpartition(".")
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n" + arguments + b"R" + build + b"."


DTYPE = b"cnumpy\ndtype\n"
HOSTILE = {
    "an array of objects": pickle.dumps(np.array([object]), 2),
    "an array of records": pickle.dumps(np.zeros(2, "u1,f4"), 2),
    "an array of text": pickle.dumps(np.array(["a"]), 2),
    "a type of objects": reduced("numpy.dtype", b"(VO\nI0\nI1\nt"),
    "a type of records as text": reduced("numpy.dtype", b"(Vu1,O\nI0\nI1\nt"),
    "an array of objects by its class": reduced("numpy.ndarray", b"((I1\nt" + DTYPE + b"(VO\ntRt"),
    "an array by its class": reduced("numpy.ndarray", b"((I1000000000000\ntVu1\nt"),
    "fields set on a type": reduced("numpy.dtype", b"(Vu1\nt", b"(I3\nV|\n(V1\ntNNt" + b"b"),
    "attributes set on a function": b"c_codecs\nencode\n}V__defaults__\n(tsb.",
    "attributes set on a class": b"cnumpy\nndarray\n}Vx\nI1\nsb.",
    "an array larger than its bytes": reduced(
        "numpy.core.multiarray._reconstruct",
        b"(cnumpy\nndarray\n(I0\ntVb\nt",
        b"(I1\n(I1000000000000\nt" + DTYPE + b"(Vu1\ntRI00\nC\x01at" + b"b",
    ),
    "an array with a negative side": reduced(
        "numpy.core.multiarray._reconstruct",
        b"(cnumpy\nndarray\n(I0\ntVb\nt",
        b"(I1\n(I-1\nI-1\nt" + DTYPE + b"(Vu1\ntRI00\nC\x01at" + b"b",
    ),
    "another codec": reduced("_codecs.encode", b"(Va\nVzlib\nt"),
    "a function of the system": reduced("os.system", b"(Vtrue\nt"),
    "a position far behind the file": b"]r\xff\xff\xff\x7f.",
    "an attribute of an allowed name": b"cnumpy\ndtype.__class__\n.",
    "no pickle": b"no pickle",
    "nothing": b"",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_everything_else_is_refused(data: bytes) -> None:
    with pytest.raises(DatasetError, match=r"^batch is not a readable pickle of arrays: "):
        load_arrays(data, "batch")


def test_the_hostile_pickles_are_well_formed() -> None:
    """Otherwise they would be refused for another reason."""
    for name, data in HOSTILE.items():
        if name not in {"no pickle", "nothing"}:
            assert [opcode.name for opcode, _, _ in pickletools.genops(data)][-1] == "STOP"
