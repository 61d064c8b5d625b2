"""Listing of an image folder with one subfolder per class."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from clmethods.errors import ConfigIssue, refuse
from clmethods.user_data.file_records import FileRecords
from clmethods.user_data.folder_listing import (
    OPEN,
    VALIDATION,
    Listing,
    cached_listing,
    fingerprint_of,
    refused,
    untrainable,
)
from clmethods.user_data.folder_scan import FolderScan, FoundImage, identity_of
from clmethods.user_data.image_headers import IMAGE_SUFFIXES
from clmethods.user_data.split_folders import split_folders

MAX_ISSUES = 20
"""Largest number of issues that are reported individually; of the others, only the number is."""
MAX_FILES = 5
"""Largest number of files of a class that an issue names."""


def list_folder(root: str, *, read_headers: bool = True) -> Listing:
    """List a folder with one subfolder of images per class.

    The subfolders are in `root`, or in its folders `train`, `test` and optionally `val`, which
    `split_folders` recognizes; `val` is the test split if there is no `test`. If these folders do
    not exist, the stream splits the images. Class ids follow the sorted names of the subfolders.

    `read_headers=False` lists files by their suffix only, for published datasets.

    Raises `InvalidConfigError` with all issues: files that cannot be read, and classes without
    images, or without images for training or test.
    """
    if read_headers:
        return cached_listing("folder", root, _list_with_headers)
    return cached_listing("folder by suffix", root, _list_by_suffix)


def _list_with_headers(root: Path) -> tuple[Listing, list[Path]]:
    _require_folder(root)
    return _list_folder(root, FileRecords(root))


def _list_by_suffix(root: Path) -> tuple[Listing, list[Path]]:
    _require_folder(root)
    return _list_folder(root, None)


def _require_folder(root: Path) -> None:
    try:
        with os.scandir(root):
            return
    except FileNotFoundError:
        hint = ""
    except OSError as error:
        hint = f"{error.strerror}."
    except ValueError as error:  # a path with a NUL
        hint = f"{error}."
    allowed = "an existing folder with one folder of images per class"
    raise refused("root", str(root), allowed, hint)


def _list_folder(root: Path, records: FileRecords | None) -> tuple[Listing, list[Path]]:
    scan = FolderScan(root, records)
    names = scan.folders_in(root)
    layout = split_folders(root, names)
    scan.ignored_folders += layout.unused
    found: dict[str, dict[int, list[FoundImage]]] = defaultdict(lambda: defaultdict(list))
    spellings: dict[str, str] = {}
    stored: set[str] = set()
    below = {side: scan.folders_in(root / side) if side else names for _, side in layout.sides}
    refuse(scan.issues if scan.links else ())  # a split that is another one
    for split, side in layout.sides:
        above = frozenset(identity_of(folder) for folder in (root, root / side))
        for name in below[side]:
            stored.add(name)
            known = unicodedata.normalize("NFC", name)  # macOS stores decomposed names
            spellings[known] = min(name, spellings.get(known, name))
            found[known][split] += scan.images_below(root / side / name, above)
    repeated: list[ConfigIssue] = []
    if records is not None:
        images = [
            _Placed(image, split, name)
            for name, sides in found.items()
            for split, members in sides.items()
            for image in members
            if not image.header.problem and not scan.is_below_link(image.path)
        ]
        repeated = _repetition_issues(root, images, records)
        records.save()
    if (
        not any(images for sides in found.values() for images in sides.values())
        and not scan.issues
    ):
        hint = f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}."
        raise refused("root", str(root), "a folder with one folder of images per class", hint)
    # The order of the names as they are stored determines the class ids of earlier versions.
    classes = tuple(sorted(found, key=lambda name: spellings[name]))
    splits = [split for split, _ in layout.sides]
    issues = [*scan.issues, *_class_issues(root, classes, found, splits), *repeated]
    refuse(_shortened(root, issues))
    ids = {name: label for label, name in enumerate(classes)}
    # Earlier versions read each spelling of a name as a class of its own.
    merged = (b"merged names",) if len(stored) > len(classes) else ()
    rows = [
        (image, ids[name], split)
        for split in splits
        for name in classes
        for image in found[name].get(split, ())
    ]
    return Listing(
        base=root,
        classes=classes,
        paths=tuple(image.path for image, _, _ in rows),
        labels=tuple(label for _, label, _ in rows),
        splits=tuple(split for _, _, split in rows),
        version=fingerprint_of(
            ((image.path, image.size) for image, _, _ in rows), *layout.marker, *merged
        ),
        headers=tuple(image.header for image, _, _ in rows),
        ignored_files=tuple(sorted(scan.ignored_files)),
        ignored_folders=tuple(sorted(scan.ignored_folders)),
        notes=layout.notes,
    ), scan.sources


@dataclass(frozen=True, slots=True)
class _Placed:
    """Image with its split and class."""

    image: FoundImage
    split: int
    name: str


def _repetition_issues(
    root: Path, images: list[_Placed], records: FileRecords
) -> list[ConfigIssue]:
    """Return the issues of files that occur twice, and of equal files in two splits.

    Without given splits, `split_seed` could put the two names of a file into two splits. Content
    is compared only if a file of another split has the same size.
    """
    by_file: dict[Hashable, list[_Placed]] = defaultdict(list)
    by_size: dict[int, list[_Placed]] = defaultdict(list)
    for placed in sorted(images, key=lambda placed: (placed.split, placed.image.path)):
        by_file[placed.image.identity].append(placed)
    issues: list[ConfigIssue] = []
    for first, *others in by_file.values():
        by_size[first.image.size].append(first)
        for other in others:
            if other.name != first.name:
                issues.append(_repetition(root, other, first, "class", "is the same file as"))
            elif other.split != first.split or other.split == OPEN:
                issues.append(_repetition(root, other, first, "split", "is the same file as"))
    candidates = [
        placed
        for same in by_size.values()
        if len({placed.split for placed in same}) > 1
        for placed in same
    ]
    try:
        digests = records.digests([placed.image.path for placed in candidates])
    except OSError:  # reading all content names files that cannot be read
        return issues
    earlier: dict[str, _Placed] = {}
    for placed, digest in zip(candidates, digests, strict=True):
        first = earlier.setdefault(digest, placed)
        if first.split != placed.split:
            issues.append(_repetition(root, placed, first, "split", "has the same content as"))
    return issues


def _repetition(
    root: Path, placed: _Placed, earlier: _Placed, unit: str, relation: str
) -> ConfigIssue:
    hint = f"It {relation} {earlier.image.path!r}: remove one of them."
    path = str(root / placed.image.path)
    return ConfigIssue("root", path, f"an image in one {unit} only", hint)


def _class_issues(
    root: Path,
    classes: tuple[str, ...],
    found: dict[str, dict[int, list[FoundImage]]],
    splits: list[int],
) -> list[ConfigIssue]:
    """Return the issues of classes: images that cannot be read, and splits without images."""
    issues: list[ConfigIssue] = []
    complete: list[str] = []
    for name in classes:
        images = [image for side in found[name].values() for image in side]
        unreadable = [image for image in images if image.header.problem]
        if unreadable:
            issues.append(_unreadable(root, name, unreadable, len(images)))
        if images:
            complete.append(name)
        else:
            hint = f"Class {name!r} has none: add images to its folder, or remove the folder."
            issues.append(ConfigIssue("root", str(root), "images for every class", hint))
    rows = [
        (label, split)
        for label, name in enumerate(complete)
        for split in splits
        for _ in found[name].get(split, ())
    ]
    issues += untrainable("root", str(root), tuple(complete), rows)
    if VALIDATION in splits:
        constraint = "validation images for every class"
        issues += [
            ConfigIssue("root", str(root), constraint, f"Class {name!r} has none.")
            for name in complete
            if not found[name].get(VALIDATION)
        ]
    return issues


def _unreadable(root: Path, name: str, images: list[FoundImage], total: int) -> ConfigIssue:
    """Return the issue of the unreadable images of one class, with the reasons and the fix."""
    shown = "; ".join(f"{image.path}: {image.header.problem}" for image in images[:MAX_FILES])
    rest = len(images) - MAX_FILES
    more = f"; and {rest} more" if rest > 0 else ""
    hint = (
        f"{len(images)} of {total} images of class {name!r} cannot be read; convert them to PNG "
        f"or JPEG with 8 bits per channel, or remove them: {shown}{more}."
    )
    return ConfigIssue("root", str(root), "images that can be read", hint)


def _shortened(root: Path, issues: list[ConfigIssue]) -> list[ConfigIssue]:
    if len(issues) <= MAX_ISSUES:
        return issues
    rest = f"There are {len(issues) - MAX_ISSUES} more issues."
    allowed = "files that can be read, and images for every class"
    return [*issues[:MAX_ISSUES], ConfigIssue("root", str(root), allowed, rest)]
