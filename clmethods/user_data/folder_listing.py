"""Listings of the user's images: names, labels, sizes and headers, without decoding images."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from clmethods.catalog.facts import DatasetFacts, GivenTask
from clmethods.errors import ConfigIssue, InvalidConfigError
from clmethods.user_data.file_records import FileRecords
from clmethods.user_data.image_headers import UPRIGHT, ImageHeader

TRAIN, VALIDATION, TEST, OPEN = 0, 1, 2, -1
"""Split of an image. For `OPEN` images, `split_seed` selects training or test."""

SPLIT_SPELLINGS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("val", "valid", "validation", "dev"),
    TEST: ("test", "testing", "eval", "evaluation"),
}
"""Names of splits, in lower case; upper and lower case are not distinguished."""
SPLIT_OF = {name: split for split, names in SPLIT_SPELLINGS.items() for name in names}


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
    """Fingerprint of names and sizes of the files, and of the orientation tags of rotated images.
    It is part of every stage key. `content_of` covers the content of the files too."""
    tasks: tuple[GivenTask, ...] = ()
    task_of: tuple[int, ...] = ()
    """(n,) index into `tasks` for each image; empty if no tasks are given."""
    groups: tuple[str, ...] = ()
    """(n,) group of each image; empty if no groups are given. No split divides a group."""
    resize: Literal["stretch", "crop"] = "crop"
    """Default resizing of the images; see `StreamConfig.resize`."""
    files: tuple[str, ...] = ()
    """Paths of the IDX files relative to `base`; empty for other data."""
    headers: tuple[ImageHeader, ...] = ()
    """(n,) headers of the images; empty for IDX files."""
    ignored_files: tuple[str, ...] = ()
    """Paths of the files that are no images or belong to the system, relative to `base`."""
    ignored_folders: tuple[str, ...] = ()
    """Paths of the ignored folders, relative to `base`."""
    notes: tuple[str, ...] = ()
    """Sentences about the layout that the user should know."""

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
            class_names=self.classes,
        )

    @cached_property
    def content(self) -> str:
        """Fingerprint of the content of all files when it was first asked for."""
        return content_of(self)


def default_tasks(classes: int) -> int:
    """Return the default number of tasks: one per two classes, but at most ten.

    For more than ten classes the default is ten. The number is lowered if a task would be empty.
    """
    most = max(1, classes // 2) if classes <= 10 else 10
    return max(t for t in range(1, most + 1) if -(-classes // t) * (t - 1) < classes)


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
    Raises `InvalidConfigError` for paths that the system does not open.
    """
    cached = _CACHE.get((kind, root))
    if cached is not None and all(_mtime(path) == when for path, when in cached[0]):
        return cached[1]
    try:
        built, sources = build(Path(root))
        listing = _with_orientation(built)
    except OSError as error:
        field = "manifest" if kind.startswith("manifest") else "root"
        reason = f"{error.strerror}."
        raise refused(field, root, "a path that can be read", reason) from error
    mtimes = tuple((str(path), _mtime(str(path))) for path in sources)
    _CACHE[kind, root] = (mtimes, listing)
    return listing


def content_of(listing: Listing, *, read_all: bool = False) -> str:
    """Return 16 hex digits of the hash of the content of all files of a listing as it is now.

    Checksums of files that have not changed are taken from the user's cache; `read_all` reads
    every file. Raises `InvalidConfigError` if a file cannot be read.
    """
    digest = hashlib.sha256()
    contents = digests_of(listing, read_all=read_all)
    for path, content in sorted(zip(listing.paths or listing.files, contents, strict=True)):
        digest.update(f"\n{path}\0{content}".encode())
    return digest.hexdigest()[:16]


def digests_of(listing: Listing, *, read_all: bool = False) -> list[str]:
    """Return the SHA-256 of every image, or of every IDX file; see `content_of`."""
    records = FileRecords(listing.base)
    try:
        digests = records.digests(listing.paths or listing.files, read_all=read_all)
    except OSError as error:
        allowed = "files that can be read"
        raise refused("root", str(listing.base), allowed, f"{error}.") from error
    records.save()
    return digests


def _with_orientation(listing: Listing) -> Listing:
    """Return the listing with headers, and with another version if images are rotated.

    The version of data without orientation tags does not depend on headers, so that stage keys
    of such data are those of earlier versions.
    """
    headers = listing.headers
    if not headers:
        records = FileRecords(listing.base)
        headers = tuple(records.header(path) or ImageHeader() for path in listing.paths)
        records.save()
    rotated = [
        (path, header.orientation)
        for path, header in zip(listing.paths, headers, strict=True)
        if header.orientation != UPRIGHT
    ]
    if not rotated:
        return replace(listing, headers=headers)
    version = fingerprint_of(rotated, b"orientation", listing.version.encode())
    return replace(listing, headers=headers, version=version)


def _mtime(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return -1


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
