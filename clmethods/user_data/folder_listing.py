"""Listings of image folders and IDX files: names, labels and sizes, without reading images."""

from __future__ import annotations

import hashlib
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from clmethods.catalog.facts import DatasetFacts, GivenTask
from clmethods.errors import ConfigIssue, InvalidConfigError, refuse
from clmethods.user_data.gzip_files import read_gzip

TRAIN, VALIDATION, TEST, OPEN = 0, 1, 2, -1
"""Split of an image. For `OPEN` images, `split_seed` selects training or test."""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
)
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""File names of datasets in the format of MNIST; each may also end in .gz."""


@dataclass(frozen=True, eq=False)
class Listing:
    """Images of a dataset in a fixed order, as known from file names and labels."""

    base: Path
    classes: tuple[str, ...]
    """Class names by class id."""
    paths: tuple[str, ...]
    """Paths of the n images relative to `base`; empty for IDX files."""
    labels: tuple[int, ...]
    """(n,) class ids."""
    splits: tuple[int, ...]
    """(n,) values of `TRAIN`, `VALIDATION`, `TEST` or `OPEN`."""
    version: str
    """Fingerprint of the content."""
    tasks: tuple[GivenTask, ...] = ()
    task_of: tuple[int, ...] = ()
    """(n,) index into `tasks` for each image; empty if no tasks are given."""
    groups: tuple[str, ...] = ()
    """(n,) group of each image; empty if no groups are given. No split divides a group."""
    resize: Literal["stretch", "crop"] = "crop"
    """Default resizing of the images; see `StreamConfig.resize`."""

    @cached_property
    def facts(self) -> DatasetFacts:
        """Labels, tasks and version, in the form of the catalog."""
        return DatasetFacts(
            version=self.version,
            classes=len(self.classes),
            tasks=len(self.tasks) or default_tasks(len(self.classes)),
            given=self.tasks,
            seeded_split=OPEN in self.splits,
            given_validation=VALIDATION in self.splits,
            resize=self.resize,
        )


def default_tasks(classes: int) -> int:
    """Return the default number of tasks: one per two classes, but at most ten.

    For more than ten classes the default is ten. The number is lowered if a task would be empty.
    """
    most = max(1, classes // 2) if classes <= 10 else 10
    return max(t for t in range(1, most + 1) if -(-classes // t) * (t - 1) < classes)


def list_folder(root: str) -> Listing:
    """List a folder with one subfolder of images per class.

    The subfolders are in `root`, or in `root/train` and `root/test`; `root/val` is used if there
    is no `root/test`. If these folders do not exist, the stream splits the images. Class ids
    follow the sorted names of the subfolders.

    Raises `InvalidConfigError` if the folder is missing or empty, or if a class has no images for
    training or test.
    """
    return cached_listing("folder", root, _list_folder)


def list_idx(root: str) -> Listing:
    """List the four files of a dataset in the format of MNIST. Only the labels are read.

    Raises `InvalidConfigError` if a file is missing or damaged.
    """
    return cached_listing("idx", root, _list_idx)


def fingerprint_of(files: Iterable[tuple[str, int]], *also: bytes) -> str:
    """Return 16 hex digits of the hash of `also` and of sorted (relative path, size in bytes)."""
    digest = hashlib.sha256(b"\0".join(also))
    for path, size in sorted(files):
        digest.update(f"\n{path}\0{size}".encode())
    return digest.hexdigest()[:16]


def refused(field: str, value: object, allowed: str, hint: str = "") -> InvalidConfigError:
    """Return an error with a single issue."""
    return InvalidConfigError([ConfigIssue(field, value, allowed, hint)])


_CACHE: dict[tuple[str, str], tuple[tuple[tuple[str, int], ...], Listing]] = {}


def cached_listing(
    kind: str, root: str, build: Callable[[Path], tuple[Listing, list[Path]]]
) -> Listing:
    """Return a cached listing; rebuild it if the mtime of one of its sources has changed.

    `build` returns the listing and its sources, the files and folders that it was read from.
    """
    cached = _CACHE.get((kind, root))
    if cached is not None and all(_mtime(path) == when for path, when in cached[0]):
        return cached[1]
    listing, sources = build(Path(root))
    mtimes = tuple((str(path), _mtime(str(path))) for path in sources)
    _CACHE[kind, root] = (mtimes, listing)
    return listing


def _mtime(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return -1


def _list_folder(root: Path) -> tuple[Listing, list[Path]]:
    if not root.is_dir():
        raise refused("root", str(root), "an existing folder with one folder of images per class")
    train = root / "train"
    test = next((path for name in ("test", "val") if (path := root / name).is_dir()), None)
    sides = {TRAIN: train, TEST: test} if train.is_dir() and test else {OPEN: root}
    rows: list[tuple[str, str, int, int]] = []  # relative path, class name, split, bytes
    sources = [root]
    for split, side in sides.items():
        sources.append(side)
        for name in sorted(entry.name for entry in os.scandir(side) if entry.is_dir()):
            for path, size in _images_below(side / name, sources):
                rows.append((path.relative_to(root).as_posix(), name, split, size))
    classes = tuple(sorted({name for _, name, _, _ in rows}))
    if not rows:
        constraint = "a folder with one folder of images per class"
        hint = f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}."
        raise refused("root", str(root), constraint, hint)
    ids = {name: label for label, name in enumerate(classes)}
    refuse(untrainable("root", str(root), classes, [(ids[r[1]], r[2]) for r in rows]))
    return Listing(
        base=root,
        classes=classes,
        paths=tuple(r[0] for r in rows),
        labels=tuple(ids[r[1]] for r in rows),
        splits=tuple(r[2] for r in rows),
        version=fingerprint_of((r[0], r[3]) for r in rows),
    ), sources


def _images_below(folder: Path, sources: list[Path]) -> Iterator[tuple[Path, int]]:
    """Yield (path, size in bytes) of the images, sorted; append every folder to `sources`."""
    sources.append(folder)
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir():
            yield from _images_below(Path(entry.path), sources)
        elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
            yield Path(entry.path), entry.stat().st_size


def untrainable(
    field: str, value: str, classes: tuple[str, ...], rows: Iterable[tuple[int, int]]
) -> list[ConfigIssue]:
    """Return an issue for each class without training or test images; rows are (label, split)."""
    counts = Counter(rows)
    issues = []
    for label, name in enumerate(classes):
        unassigned = counts[label, OPEN]
        for split, word, needed in ((TRAIN, "training", 1), (TEST, "test", 2)):
            if counts[label, split] == 0 and unassigned < needed:
                constraint = f"{word} images for every class"
                issues.append(ConfigIssue(field, value, constraint, f"Class {name!r} has none."))
    return issues


def idx_file(root: Path, name: str) -> Path | None:
    """Return the path of one of `IDX_FILES`, compressed or not; None if it is missing.

    The folders that torchvision uses below `root` are searched as well.
    """
    for folder in (root, root / "raw", *sorted(root.glob("*/raw"))):
        for spelling in (name, name.replace("-idx", ".idx")):
            for suffix in ("", ".gz"):
                if (path := folder / f"{spelling}{suffix}").is_file():
                    return path
    return None


def idx_labels(path: Path) -> bytes:
    """Return the labels in an IDX file of rank 1, one byte per label.

    Raises `InvalidConfigError` if the file cannot be read or has another format.
    """
    try:
        data = read_gzip(path)
    except OSError as error:
        raise refused("root", str(path), "a readable IDX file", f"{error}.") from error
    header = struct.pack(">HBBI", 0, 8, 1, max(len(data) - 8, 0))  # bytes, rank 1, length
    if data[:8] != header:
        constraint = "a complete IDX file of unsigned bytes with rank 1"
        raise refused("root", str(path), constraint, "Restore the original file.")
    return data[8:]


def _list_idx(root: Path) -> tuple[Listing, list[Path]]:
    paths = {name: idx_file(root, name) for name in IDX_FILES}
    files = [path for path in paths.values() if path is not None]
    if len(files) < len(paths):
        missing = ", ".join(name for name, path in paths.items() if path is None)
        raise refused(
            "root", str(root), "a folder with the four IDX files", f"Missing: {missing}."
        )
    train, test = (idx_labels(files[index]) for index in (1, 3))
    labels = tuple(train + test)
    splits = (TRAIN,) * len(train) + (TEST,) * len(test)
    classes = tuple(str(label) for label in range(max(labels) + 1))
    refuse(untrainable("root", str(root), classes, zip(labels, splits, strict=True)))
    version = fingerprint_of(((path.name, path.stat().st_size) for path in files), train, test)
    return Listing(
        base=root,
        classes=classes,
        paths=(),
        labels=labels,
        splits=splits,
        version=version,
        resize="stretch",
    ), [root, *files]
