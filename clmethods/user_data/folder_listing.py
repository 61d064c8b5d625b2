"""Data of one's own, as planning sees it: names, labels and sizes of files, but no pixel."""

from __future__ import annotations

import gzip
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

TRAIN, VALIDATION, TEST, OPEN = 0, 1, 2, -1
"""Which split an image belongs to. `OPEN`: training or test, as `split_seed` decides."""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
)
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""Names of the MNIST family's files; each may end in .gz."""


@dataclass(frozen=True, eq=False)
class Listing:
    """Images of a dataset in a fixed order, known from names alone."""

    base: Path
    classes: tuple[str, ...]
    """Names by class id."""
    paths: tuple[str, ...]
    """Relative to `base`."""
    labels: tuple[int, ...]
    splits: tuple[int, ...]
    version: str
    """Fingerprint of the content."""
    tasks: tuple[GivenTask, ...] = ()
    task_of: tuple[int, ...] = ()
    """Index into `tasks` of every image, where tasks are given."""
    groups: tuple[str, ...] = ()
    """Images of one group stay on one side of every split; empty where there are none."""
    resize: Literal["stretch", "crop"] = "crop"
    """How they come to size unless the stream says otherwise."""

    @cached_property
    def facts(self) -> DatasetFacts:
        """What the stream needs to know."""
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
    """Tasks of two classes up to ten classes, and ten tasks beyond, if that leaves none empty."""
    most = max(1, classes // 2) if classes <= 10 else 10
    return max(t for t in range(1, most + 1) if -(-classes // t) * (t - 1) < classes)


def list_folder(root: str) -> Listing:
    """One folder of images per class, below `root` or below `root/train` and `root/test`.

    Class ids follow the sorted names of the folders. `val` serves where there is no `test`.
    Without such folders the split is left to the stream. Raises `InvalidConfigError`.
    """
    return cached_listing("folder", root, _list_folder)


def list_idx(root: str) -> Listing:
    """The four files of the MNIST family; labels are read, images are not."""
    return cached_listing("idx", root, _list_idx)


def fingerprint_of(files: Iterable[tuple[str, int]], *also: bytes) -> str:
    """16 hex digits over sorted (relative path, size in bytes), and over `also`."""
    digest = hashlib.sha256(b"\0".join(also))
    for path, size in sorted(files):
        digest.update(f"\n{path}\0{size}".encode())
    return digest.hexdigest()[:16]


def refused(field: str, value: object, allowed: str, hint: str = "") -> InvalidConfigError:
    """The error of one issue."""
    return InvalidConfigError([ConfigIssue(field, value, allowed, hint)])


_CACHE: dict[tuple[str, str], tuple[tuple[tuple[str, int], ...], Listing]] = {}


def cached_listing(
    kind: str, root: str, build: Callable[[Path], tuple[Listing, list[Path]]]
) -> Listing:
    """A listing, built again when a file or folder that it was read from has another mtime.

    `build` gives the listing and what it was read from.
    """
    known = _CACHE.get((kind, root))
    if known is not None and all(_mtime(path) == when for path, when in known[0]):
        return known[1]
    listing, read = build(Path(root))
    seen = tuple((str(path), _mtime(str(path))) for path in read)
    _CACHE[kind, root] = (seen, listing)
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
    rows: list[tuple[str, str, int, int]] = []
    read = [root]
    for split, side in sides.items():
        read.append(side)
        for name in sorted(entry.name for entry in os.scandir(side) if entry.is_dir()):
            for path, size in _walk(side / name, read):
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
    ), read


def _walk(folder: Path, read: list[Path]) -> Iterator[tuple[Path, int]]:
    """Images below a folder, sorted, with their sizes; folders are noted in `read`."""
    read.append(folder)
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir():
            yield from _walk(Path(entry.path), read)
        elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
            yield Path(entry.path), entry.stat().st_size


def untrainable(
    field: str, value: str, classes: tuple[str, ...], rows: Iterable[tuple[int, int]]
) -> list[ConfigIssue]:
    """Classes without images to train on, or to test on; rows are (label, split)."""
    counts = Counter(rows)
    issues = []
    for label, name in enumerate(classes):
        free = counts[label, OPEN]
        for split, word, needed in ((TRAIN, "training", 1), (TEST, "test", 2)):
            if counts[label, split] == 0 and free < needed:
                constraint = f"{word} images for every class"
                issues.append(ConfigIssue(field, value, constraint, f"Class {name!r} has none."))
    return issues


def idx_file(root: Path, name: str) -> Path | None:
    """One of `IDX_FILES` below `root`, in torchvision's places too, packed or not."""
    for folder in (root, root / "raw", *sorted(root.glob("*/raw"))):
        for spelling in (name, name.replace("-idx", ".idx")):
            for suffix in ("", ".gz"):
                if (path := folder / f"{spelling}{suffix}").is_file():
                    return path
    return None


def idx_labels(path: Path) -> bytes:
    """The labels of an IDX file of rank one; raises `InvalidConfigError` if it is none."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            data = stream.read()
    except (OSError, EOFError) as error:
        raise refused("root", str(path), "a readable IDX file", f"{error}.") from error
    header = struct.pack(">HBBI", 0, 8, 1, max(len(data) - 8, 0))  # bytes, rank 1, length
    if data[:8] != header:
        raise refused("root", str(path), "an IDX file of unsigned bytes, whole and of rank 1")
    return data[8:]


def _list_idx(root: Path) -> tuple[Listing, list[Path]]:
    found = {name: idx_file(root, name) for name in IDX_FILES}
    files = [path for path in found.values() if path is not None]
    if len(files) < len(found):
        missing = ", ".join(name for name, path in found.items() if path is None)
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
