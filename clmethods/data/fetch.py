"""Download of original datasets for `download: true`: published archives with checksums."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from clmethods.data import cifar, svhn
from clmethods.data.cache import write_atomically
from clmethods.data.source import DatasetError

CHUNK = 1 << 20
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Archive:
    """Published file of a dataset."""

    url: str
    md5: str | None = None
    """Published MD5 checksum; None if no checksum is published."""
    unpack: bool = False
    """True if the archive is unpacked after the download."""

    @property
    def name(self) -> str:
        """File name."""
        return self.url.rpartition("/")[2]


_TORONTO = "https://www.cs.toronto.edu/~kriz"
_SVHN = "http://ufldl.stanford.edu/housenumbers"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_KMNIST = "http://codh.rois.ac.jp/kmnist/dataset/kmnist"
_HENDRYCKS = "https://people.eecs.berkeley.edu/~hendrycks"
_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _idx(base: str, *md5: str) -> tuple[Archive, ...]:
    return tuple(Archive(f"{base}/{n}", m) for n, m in zip(_NAMES, md5, strict=True))


ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "cifar10": (
        Archive(f"{_TORONTO}/cifar-10-python.tar.gz", cifar.MD5["cifar-10-python.tar.gz"]),
    ),
    "cifar100": (
        Archive(f"{_TORONTO}/cifar-100-python.tar.gz", cifar.MD5["cifar-100-python.tar.gz"]),
    ),
    "svhn": tuple(Archive(f"{_SVHN}/{name}", md5) for name, md5 in svhn.MD5.items()),
    "mnist": _idx(
        _MNIST,
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion-mnist": _idx(
        _FASHION,
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "kmnist": _idx(
        _KMNIST,
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
    "imagenet-r": (Archive(f"{_HENDRYCKS}/imagenet-r.tar", unpack=True),),
    "imagenet-a": (Archive(f"{_HENDRYCKS}/imagenet-a.tar", unpack=True),),
}
"""Archives by dataset, of those that can be downloaded without a form or an agreement."""


def fetch(dataset: str, root: str | None) -> None:
    """Download the original files of `dataset` into `root`, verify them, and unpack archives.

    Raises `DatasetError` with instructions for a manual download if this fails.
    """
    archives = ARCHIVES.get(dataset)
    if archives is None:
        raise DatasetError(
            f"{dataset} cannot be downloaded; these can: {', '.join(ARCHIVES)}. Put its files "
            "into a folder and set stream.root to it."
        )
    if root is None:
        raise DatasetError(f"{dataset}: set stream.root to the folder for the download")
    folder = Path(root)
    folder.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        if not (folder / archive.name).exists():
            _download(archive, folder)
        if archive.unpack:
            _unpack(folder / archive.name, folder)


def _download(archive: Archive, folder: Path) -> None:
    """Download and verify an archive; several workers may download it at once."""

    def download(path: Path) -> None:
        digest = hashlib.md5(usedforsecurity=False)
        opened = urllib.request.urlopen(archive.url, timeout=TIMEOUT_S)
        with opened as source, path.open("wb") as out:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                out.write(chunk)
        if archive.md5 not in {None, digest.hexdigest()}:
            raise DatasetError(
                f"the file from {archive.url} has MD5 {digest.hexdigest()}, expected {archive.md5}"
            )

    try:
        write_atomically(folder / archive.name, download)
    except OSError as error:  # urllib's errors are OSErrors
        raise DatasetError(
            f"{archive.url} cannot be downloaded: {error}. Download it on a machine with network "
            f"access and copy it into {folder}."
        ) from error


def _unpack(path: Path, folder: Path) -> None:
    """Unpack into a temporary folder first, so that a damaged archive leaves no files."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(scratch)
            else:
                with tarfile.open(path) as tar:
                    tar.extractall(scratch, filter="data")
        except Exception as error:  # a damaged or encrypted archive can raise any exception
            raise DatasetError(f"{path} cannot be unpacked: {error}") from error
        for entry in Path(scratch).iterdir():
            if not (folder / entry.name).exists():
                entry.replace(folder / entry.name)
