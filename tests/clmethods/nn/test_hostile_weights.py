"""Weights files that are damaged or made to harm: refused in one message."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clmethods.nn.weights import WeightsError
from tests.clmethods.nn.checkpoints import (
    Tensors,
)
from tests.clmethods.nn.weight_files import load


def circular() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    inner["model"] = inner
    return inner


def branching() -> dict[str, Any]:
    """2^40 paths to the same mapping."""
    mapping: dict[str, Any] = {}
    for _ in range(40):
        mapping = {"a": mapping, "b": mapping}
    return mapping


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no pickle at all", "is not a readable checkpoint"),
        (b"", "is not a readable checkpoint"),
        (b"PK\x03\x04 and no archive", "is not a readable checkpoint"),
        (b"\x80\x02" + b"(" * 10_000, "is not a readable checkpoint"),
        (circular(), "its mappings contain themselves"),
        (branching(), "its mappings contain themselves, or are nested more than 32 deep"),
        ([1, 2, 3], "contains no named tensors"),
        ({"a": "text"}, "contains no named tensors"),
        (
            {"pos_embed": torch.zeros(1).expand(1, 10**9, 64)},
            "pos_embed is (1, 1000000000, 64), more than it stores",
        ),
    ],
)
def test_a_hostile_checkpoint_is_refused_in_one_message(
    content: Any, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(WeightsError) as refused:
        load(path)
    assert "hostile.pth" in str(refused.value)
    assert reason in str(refused.value)
    assert "running code" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_complex_tensors_are_refused(state: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save(state | {"norm.bias": torch.zeros(64, dtype=torch.complex64)}, path)
    with pytest.raises(WeightsError, match=r"norm\.bias is not a dense tensor of real numbers"):
        load(path)


@pytest.mark.parametrize("kind", ["bomb", "encrypted", "header"])
def test_a_hostile_npz_is_refused_in_one_message(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.npz"
    if kind == "bomb":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("cls.npy", "w", force_zip64=True) as member,
        ):
            for _ in range(300):
                member.write(bytes(1 << 20))
    else:
        np.savez(path, cls=np.zeros(4, np.float32))
        data = path.read_bytes()
        if kind == "encrypted":  # the flag of both headers of the member
            local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
            changed = bytearray(data)
            changed[local + 6] |= 1
            changed[central + 8] |= 1
            data = bytes(changed)
        else:
            with zipfile.ZipFile(path, "w") as archive:
                header = (
                    b"\x93NUMPY\x01\x00v\x00"
                    + (
                        b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999,), }"
                    ).ljust(117)
                    + b"\n"
                )
                archive.writestr("cls.npy", header + bytes(16))
            data = path.read_bytes()
        path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"hostile\.npz is not a readable \.npz file: "):
        load(path)
