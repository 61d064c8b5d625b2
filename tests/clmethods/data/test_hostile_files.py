"""Files of data that are damaged on purpose: one message each, without filling the memory."""

from __future__ import annotations

import gzip
import io
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import savemat

from clmethods.data import cifar, fetch, svhn
from clmethods.data.idx import read_idx
from clmethods.data.image_decoding import open_rgb
from clmethods.data.originals import hub_source
from clmethods.data.pixel_limit import MAX_PIXELS
from clmethods.data.source import DatasetError
from clmethods.errors import InvalidConfigError
from clmethods.user_data.idx_listing import idx_labels
from tests.clmethods.data.files import labels_of, noise, write_cifar, write_folder


def png(width: int, height: int) -> bytes:
    """A valid file of an image in one colour, which is small whatever the size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + 4 * width)) for _ in range(height)) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side = 10_000
    assert side * side > MAX_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side))
    assert path.stat().st_size < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"it has 10000 x 10000 pixels, allowed: at most 89,478"):
        open_rgb(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # in kilobytes
    assert grown < 100_000


def test_an_image_within_the_limit_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "wide.png").write_bytes(png(5000, 40))
    assert open_rgb(tmp_path / "wide.png").size == (5000, 40)


@pytest.mark.parametrize("shape", [(2**32 - 1,) * 3, (2**31, 2**31, 4), (2**16, 2**16, 2**32 - 1)])
def test_a_shape_that_overflows_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, *shape))
    with pytest.raises(DatasetError, match=r"is incomplete: it has 0 of \d{10,} bytes"):
        read_idx(path, 3)


def test_a_compressed_file_that_expands_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    with gzip.open(path, "wb", 9) as stream:
        for _ in range(300):
            stream.write(bytes(1 << 20))
    with pytest.raises(DatasetError, match=r"images\.gz cannot be read: it expands to more than"):
        read_idx(path, 3)
    with pytest.raises(InvalidConfigError, match="it expands to more than"):
        idx_labels(path)


def test_a_damaged_compressed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    data = bytearray(gzip.compress(bytes(range(256)) * 40))
    data[20:24] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(data))
    with pytest.raises(DatasetError, match=r"images\.gz cannot be read"):
        read_idx(path, 3)


def encrypted(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.png", b"picture")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    encrypted(tmp_path / "data.zip")
    with pytest.raises(DatasetError, match=r"data\.zip cannot be unpacked: .*encrypted"):
        fetch._unpack(tmp_path / "data.zip", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip"]


@pytest.mark.parametrize("label", ["cat", 1.5, None, True, {"name": 1}, [1]])
def test_a_label_of_another_type_is_named_with_its_row(label: Any, tmp_path: Path) -> None:
    for side in ("train", "test"):
        cell = io.BytesIO()
        Image.fromarray(noise(8, 8, 3)).save(cell, "PNG")
        table = pa.table({"image": [{"bytes": cell.getvalue()}], "label": pa.array([label])})
        pq.write_table(table, tmp_path / f"{side}-0.parquet")
    with pytest.raises(DatasetError, match=r"row 1 of .*parquet: the label is .*a class id"):
        hub_source(str(tmp_path), ("image",), ("label",))


@pytest.mark.parametrize("labels", [["a"] * 10, [1.5] * 10, None, [[0], [1]], "text"])
def test_labels_of_cifar_of_another_type_are_refused(
    labels: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar, "MD5", {})
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar(
        folder, dict.fromkeys((*cifar.CIFAR10.train, cifar.CIFAR10.test), 1), b"labels", 10
    )
    batch = {b"data": noise(10, 3072), b"labels": labels}
    (folder / "data_batch_1").write_bytes(pickle.dumps(batch, 2))
    with pytest.raises(DatasetError, match="labels must be a list of class ids"):
        cifar.cifar10(str(tmp_path))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (noise(32, 32, 3, 10), np.array(["a"] * 10), "labels must be whole numbers"),
        (noise(32, 32, 3, 10), np.full((10, 1), 0.5), "labels must be whole numbers"),
        (noise(32, 32), np.array(labels_of(10, 1)), "images must be numbers with four"),
        (np.array(["x"]), np.array(labels_of(10, 1)), "images must be numbers with four"),
    ],
)
def test_matlab_files_with_other_variables_are_refused(
    x: Any, y: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svhn, "MD5", dict.fromkeys(svhn.MD5))
    for name in svhn.MD5:
        savemat(tmp_path / name, {"X": x, "y": y})

    def read() -> None:
        source = svhn.svhn(str(tmp_path))
        assert source.read is not None
        source.read()

    with pytest.raises(DatasetError, match=message):
        read()


NARROW = """
import resource, sys
from clmethods.config import StreamConfig
from clmethods.data.datasets import open_images
from clmethods.data.source import DatasetError
stream = StreamConfig(dataset="image-folder", root=sys.argv[1], resize=sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    open_images(stream, 224)
except DatasetError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_narrow_image_is_not_enlarged_without_end(tmp_path: Path) -> None:
    """A crop of a 2 x 20,000 image at 224 would need 2 GB of memory."""
    root = tmp_path / "x"
    write_folder(root, 2, 3)
    Image.new("RGB", (2, 20_000)).save(root / "class00" / "00.png")
    found = {}
    for resize in ("crop", "stretch"):
        command = [sys.executable, "-c", NARROW, str(root), resize]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        *message, memory = done.stdout.splitlines()
        found[resize] = "\n".join(message)
        assert int(memory) < 300
    assert "1 of 6 images cannot be read" in found["crop"]
    assert "its 2 x 20000 pixels become 256 x 2560000 before the center is" in found["crop"]
    assert found["stretch"] == ""
