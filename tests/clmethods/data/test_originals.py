"""Original files in the layouts in which people have them."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clmethods.catalog.facts import DATASETS as FACTS
from clmethods.catalog.facts import DOMAINNET
from clmethods.config import StreamConfig
from clmethods.data import cifar, svhn
from clmethods.data.datasets import open_images
from clmethods.data.source import DatasetError
from clmethods.data.streams import TaskStream
from clmethods.user_data.folder_listing import TEST, TRAIN
from tests.clmethods.data.files import (
    labels_of,
    noise,
    write_cifar,
    write_folder,
    write_idx,
    write_png,
    write_svhn,
)


@pytest.fixture(autouse=True)
def small_copies_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """These copies hold a few images; the sums and numbers of the originals have own tests."""
    monkeypatch.setattr(cifar, "MD5", {})
    monkeypatch.setattr(svhn, "MD5", dict.fromkeys(svhn.MD5))
    for name, facts in list(FACTS.items()):
        monkeypatch.setitem(FACTS, name, replace(facts, images=None))


CIFAR100_FILES = {"train": 4, "test": 2}
CIFAR10_FILES = {f"data_batch_{i}": 1 for i in range(1, 6)} | {"test_batch": 2}


def cifar100(root: Path) -> None:
    write_cifar(root / "cifar-100-python", CIFAR100_FILES, b"fine_labels", 100)


def cifar10(root: Path) -> None:
    write_cifar(root / "cifar-10-batches-py", CIFAR10_FILES, b"labels", 10)


def cifar100_archive(root: Path) -> None:
    cifar100(root / "unpacked")
    with tarfile.open(root / "cifar-100-python.tar.gz", "w:gz") as tar:
        tar.add(root / "unpacked" / "cifar-100-python", "cifar-100-python")


def png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "png")
    return stream.getvalue()


def cifar100_hub(root: Path) -> None:
    for side, each, seed in (("train", 4, 0), ("test", 2, 1)):
        labels = labels_of(100, each)
        pictures = noise(len(labels), 3072, seed=seed).reshape(-1, 3, 32, 32)
        cells = [{"bytes": png(p.transpose(1, 2, 0)), "path": None} for p in pictures]
        table = pa.table({"img": cells, "fine_label": labels, "coarse_label": labels})
        (root / "data").mkdir(exist_ok=True)
        pq.write_table(table, root / "data" / f"{side}-00000-of-00001.parquet")


def notmnist(root: Path) -> None:
    for letter in "ABCDEFGHIJ":
        for index in range(10):
            write_png(root / "notMNIST_small" / letter / f"{index}.png", noise(28, 28, seed=index))
    empty = root / "notMNIST_small" / "A" / "RGVtb2NyYXRpY2FCb2xkT2xkc3R5bGUgQm9sZC50dGY=.png"
    empty.write_bytes(b"")  # as in the original


def five(root: Path) -> None:
    write_svhn(root / "svhn")
    write_idx(root / "mnist" / "MNIST" / "raw")
    cifar10(root / "cifar10")
    notmnist(root / "notmnist")
    write_idx(root / "fashion-mnist", packed=False)


def cub(root: Path) -> None:
    folder = root / "CUB_200_2011"
    lines: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    for number, label in enumerate(labels_of(200, 3), start=1):
        path = f"{label + 1:03d}.Bird/{number}.png"
        write_png(folder / "images" / path, noise(6, 8, 3, seed=number))
        lines["images"].append(f"{number} {path}")
        lines["image_class_labels"].append(f"{number} {label + 1}")
        lines["train_test_split"].append(f"{number} {int(number % 3 != 0)}")
    for name, rows in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")


def domainnet(root: Path) -> None:
    write_png(root / "picture.png", noise(6, 6, 3))
    for domain in DOMAINNET:
        for side, each in (("train", 1), ("test", 1)):
            rows = [f"picture.png {label}" for label in labels_of(345, each)]
            (root / f"{domain}_{side}.txt").write_text("\n".join(rows) + "\n")


LAYOUTS: dict[str, tuple[str, Callable[[Path], None], int, int, tuple[int, ...]]] = {
    # name: dataset, layout, training and test images of a class, shape of an image at size 8
    "CIFAR-100 as torchvision unpacks it": ("cifar100", cifar100, 4, 2, (8, 8, 3)),
    "CIFAR-100's archive": ("cifar100", cifar100_archive, 4, 2, (8, 8, 3)),
    "CIFAR-100 from the hub": ("cifar100", cifar100_hub, 4, 2, (8, 8, 3)),
    "CIFAR-10": ("cifar10", cifar10, 5, 2, (8, 8, 3)),
    "MNIST as torchvision keeps it": (
        "mnist",
        lambda root: write_idx(root / "MNIST" / "raw", packed=False),
        3,
        3,
        (8, 8),
    ),
    "Fashion-MNIST, packed": ("fashion-mnist", write_idx, 3, 3, (8, 8)),
    "SVHN": ("svhn", write_svhn, 2, 2, (8, 8, 3)),
    "notMNIST": ("notmnist", notmnist, 9, 1, (8, 8, 3)),
    "CUB-200": ("cub200", cub, 2, 1, (8, 8, 3)),
    "ImageNet-R": (
        "imagenet-r",
        lambda root: write_folder(root / "imagenet-r", 200, 5),
        4,
        1,
        (8, 8, 3),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(layout: str, tmp_path: Path) -> None:
    dataset, write, train, test, shape = LAYOUTS[layout]
    write(tmp_path)
    stream = StreamConfig(dataset=dataset, root=str(tmp_path), validation_fraction=0.0)
    opened = TaskStream(stream, 8)
    for group in (stream.groups()[0], stream.groups()[-1]):
        for split, each in (("train", train), ("test", test)):
            data = opened.data_of(group, split)  # type: ignore[arg-type]
            assert data.labels.tolist() == [c for c in group.classes for _ in range(each)]
            assert tuple(data.images.shape[1:]) == shape


def test_the_layouts_of_cifar_hold_the_same_pictures(tmp_path: Path) -> None:
    found = []
    for name, write in (("a", cifar100), ("b", cifar100_archive), ("c", cifar100_hub)):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        stream = StreamConfig(dataset="cifar100", root=str(tmp_path / name))
        found.append(open_images(stream, 32))
    for other in found[1:]:
        assert (other.images == found[0].images).all()
        assert (other.labels == found[0].labels).all()
    channels = noise(400, 3072).reshape(-1, 3, 32, 32)  # the original is channel after channel
    assert (found[0].images[0] == channels[0].transpose(1, 2, 0)).all()


def test_five_datasets_offset_their_labels_and_are_one_size(tmp_path: Path) -> None:
    five(tmp_path)
    stream = StreamConfig(dataset="5-datasets", root=str(tmp_path), validation_fraction=0.0)
    data = open_images(stream, 32)
    assert data.images.shape[1:] == (32, 32, 3)
    assert np.bincount(data.labels).tolist() == [4] * 10 + [6] * 10 + [7] * 10 + [10] * 10 + (
        [6] * 10
    )
    groups = stream.groups()
    assert [group.classes[0] for group in groups] == [0, 10, 20, 30, 40]
    digits = TaskStream(stream, 32).data_of(groups[1], "test").images
    assert (digits == digits[..., :1]).all()  # grey in three channels


def test_the_ten_of_svhn_is_a_zero(tmp_path: Path) -> None:
    write_svhn(tmp_path, each=1)
    data = open_images(StreamConfig(dataset="svhn", root=str(tmp_path)), 32)
    assert data.labels.tolist() == [*range(10), *range(10)]
    assert (data.images[0] == noise(32, 32, 3, 10)[..., 0]).all()


def test_domains_of_domainnet_are_tasks_that_share_all_classes(tmp_path: Path) -> None:
    domainnet(tmp_path)
    stream = StreamConfig(dataset="domainnet-dil", root=str(tmp_path))
    opened = TaskStream(replace(stream, validation_fraction=0.0), 8)
    assert [group.domain for group in stream.groups()] == list(DOMAINNET)
    assert len(opened.data_of(stream.groups()[3], "train")) == 345
    assert len(opened.data((7,), "train")) == 6
    mixed = StreamConfig(dataset="domainnet", root=str(tmp_path))
    assert [len(group.classes) for group in mixed.groups()] == [69] * 5
    assert (open_images(mixed, 8).labels == open_images(stream, 8).labels).all()


@pytest.mark.parametrize("dataset", [n for n, facts in FACTS.items() if not facts.embedded])
def test_missing_files_are_named_with_where_to_put_them(dataset: str, tmp_path: Path) -> None:
    for root in (None, str(tmp_path)):
        with pytest.raises(DatasetError, match=r"Put .+ into a folder and set `root`"):
            open_images(StreamConfig(dataset=dataset, root=root), 8)


def test_a_file_that_is_not_the_original_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifar100(tmp_path)
    monkeypatch.setattr(cifar, "MD5", {"train": "16019d7e3df5f24257cddd939b257f8d"})
    with pytest.raises(DatasetError, match=r"train is damaged or another version: its MD5 is"):
        open_images(StreamConfig(dataset="cifar100", root=str(tmp_path)), 8)


def test_an_incomplete_copy_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar100(tmp_path)
    monkeypatch.setitem(FACTS, "cifar100", replace(FACTS["cifar100"], images=60_000))
    with pytest.raises(DatasetError, match=r"cifar100 has 60000 images, but .* contains 600"):
        open_images(StreamConfig(dataset="cifar100", root=str(tmp_path)), 8)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this ran",)


def test_a_pickle_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cifar100(tmp_path)
    batch = {b"data": noise(100, 3072), b"fine_labels": labels_of(100, 1), b"x": Evil()}
    path = tmp_path / "cifar-100-python" / "test"
    path.write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DatasetError, match=r"contains __builtin__\.print, which is not allowed"):
        open_images(StreamConfig(dataset="cifar100", root=str(tmp_path)), 8)
    assert "this ran" not in capsys.readouterr().out


def test_pixels_that_are_not_a_number_are_refused(tmp_path: Path) -> None:
    images = noise(32, 32, 3, 10).astype(np.float64)
    images[4, 5, 1, 7] = np.nan
    write_svhn(tmp_path, each=1, images=images)
    with pytest.raises(
        DatasetError, match=r"the pixel at \(4, 5, 1, 7\) is nan, not a finite number"
    ):
        open_images(StreamConfig(dataset="svhn", root=str(tmp_path)), 8)


def test_pixels_from_0_to_1_are_refused_and_not_read_as_black(tmp_path: Path) -> None:
    write_svhn(tmp_path, each=1, images=noise(32, 32, 3, 10) / 255)
    with pytest.raises(DatasetError, match=r"multiply images in \[0, 1\] by 255"):
        open_images(StreamConfig(dataset="svhn", root=str(tmp_path)), 8)


def test_a_cut_off_idx_file_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, packed=False)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DatasetError, match="is incomplete: it has 23515 of 23520 bytes"):
        open_images(StreamConfig(dataset="mnist", root=str(tmp_path)), 8)


def test_any_idx_files_can_be_a_dataset_of_their_own(tmp_path: Path) -> None:
    write_idx(tmp_path, classes=6)
    stream = StreamConfig(dataset="idx", root=str(tmp_path))
    assert stream.facts.classes == 6
    assert stream.tasks == 3
    data = open_images(stream, 8)
    assert np.bincount(data.source.splits, minlength=3)[[TRAIN, TEST]].tolist() == [18, 18]
