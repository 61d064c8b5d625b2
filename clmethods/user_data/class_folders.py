"""Listing of an image folder with one subfolder per class."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from clmethods.errors import ConfigIssue, refuse
from clmethods.user_data.file_records import FileRecords
from clmethods.user_data.folder_listing import (
    VALIDATION,
    Listing,
    cached_listing,
    fingerprint_of,
    refused,
    untrainable,
)
from clmethods.user_data.ignored_files import is_ignored
from clmethods.user_data.image_headers import IMAGE_SUFFIXES, ImageHeader
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
    if not root.is_dir():
        raise refused("root", str(root), "an existing folder with one folder of images per class")


@dataclass(frozen=True, slots=True)
class _Image:
    path: str
    size: int
    header: ImageHeader


@final
@dataclass(slots=True)
class _Scan:
    """Images below a folder, and everything that was found beside them."""

    root: Path
    records: FileRecords | None
    """None lists files by their suffix."""
    sources: list[Path] = field(default_factory=list)
    """Folders that were read."""
    ignored_files: list[str] = field(default_factory=list)
    ignored_folders: list[str] = field(default_factory=list)
    issues: list[ConfigIssue] = field(default_factory=list)
    """Entries that are neither files nor folders that can be read."""

    def folders_in(self, folder: Path) -> list[str]:
        """Return the sorted names of the folders in `folder`; its files are ignored."""
        folders, files = self._entries(folder)
        self.ignored_files += [self._relative(Path(entry.path)) for entry, _ in files]
        return [entry.name for entry, _ in folders]

    def images_below(self, folder: Path, above: frozenset[tuple[int, int]]) -> list[_Image]:
        """Return the images below a folder, sorted; `above` identifies the folders around it."""
        here = _identity(folder.stat())
        if here in above:
            self._refuse(folder, "The link leads to a folder that contains it: remove it.")
            return []
        images: list[_Image] = []
        folders, files = self._entries(folder)
        entries = sorted([*folders, *files], key=lambda pair: pair[0].name)
        for entry, found in entries:
            path = Path(entry.path)
            if stat.S_ISDIR(found.st_mode):
                images += self.images_below(path, above | {here})
            else:
                images += self._image(path, found.st_size)
        return images

    def _image(self, path: Path, size: int) -> list[_Image]:
        """Return the image in a file; an empty list if the file is ignored."""
        relative = self._relative(path)
        if self.records is None:
            header = ImageHeader() if path.suffix.lower() in IMAGE_SUFFIXES else None
        else:
            try:
                header = self.records.header(relative)
            except OSError as error:
                header = ImageHeader(problem=error.strerror or str(error))
        if header is None:
            self.ignored_files.append(relative)
            return []
        return [_Image(relative, size, header)]

    def _entries(
        self, folder: Path
    ) -> tuple[
        list[tuple[os.DirEntry[str], os.stat_result]],
        list[tuple[os.DirEntry[str], os.stat_result]],
    ]:
        """Return the folders and the files in a folder, sorted by name, with their status."""
        self.sources.append(folder)
        folders, files = [], []
        try:
            with os.scandir(folder) as opened:
                entries = sorted(opened, key=lambda entry: entry.name)
        except OSError as error:
            self._refuse(folder, f"{error.strerror}.")
            return [], []
        for entry in entries:
            path = Path(entry.path)
            try:
                found = entry.stat()
            except OSError as error:
                if is_ignored(entry.name, folder=False):
                    self.ignored_files.append(self._relative(path))
                else:
                    self._refuse(path, _broken(path, error))
                continue
            is_folder = stat.S_ISDIR(found.st_mode)
            if is_ignored(entry.name, folder=is_folder):
                ignored = self.ignored_folders if is_folder else self.ignored_files
                ignored.append(self._relative(path))
            elif is_folder:
                folders.append((entry, found))
            elif stat.S_ISREG(found.st_mode):
                files.append((entry, found))
            else:
                self._refuse(path, "It is neither a file nor a folder: remove it.")
        return folders, files

    def _refuse(self, path: Path, hint: str) -> None:
        self.issues.append(ConfigIssue("root", str(path), "a file or folder to read", hint))

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _list_folder(root: Path, records: FileRecords | None) -> tuple[Listing, list[Path]]:
    scan = _Scan(root, records)
    names = scan.folders_in(root)
    layout = split_folders(root, names)
    scan.ignored_folders += layout.unused
    found: dict[str, dict[int, list[_Image]]] = defaultdict(lambda: defaultdict(list))
    spellings: dict[str, str] = {}
    stored: set[str] = set()
    for split, side in layout.sides:
        above = frozenset(_identity(folder.stat()) for folder in (root, root / side))
        for name in scan.folders_in(root / side) if side else names:
            stored.add(name)
            known = unicodedata.normalize("NFC", name)  # macOS stores decomposed names
            spellings[known] = min(name, spellings.get(known, name))
            found[known][split] += scan.images_below(root / side / name, above)
    if records is not None:
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
    issues = [*scan.issues, *_class_issues(root, classes, found, splits)]
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


def _class_issues(
    root: Path,
    classes: tuple[str, ...],
    found: dict[str, dict[int, list[_Image]]],
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


def _unreadable(root: Path, name: str, images: list[_Image], total: int) -> ConfigIssue:
    """Return the issue of the unreadable images of one class, with the reasons and the fix."""
    shown = "; ".join(f"{image.path}: {image.header.problem}" for image in images[:MAX_FILES])
    rest = len(images) - MAX_FILES
    more = f"; and {rest} more" if rest > 0 else ""
    hint = (
        f"{len(images)} of {total} images of class {name!r} cannot be read; convert them to PNG "
        f"or JPEG with 8 bits per channel, or remove them: {shown}{more}."
    )
    return ConfigIssue("root", str(root), "images that can be read", hint)


def _broken(path: Path, error: OSError) -> str:
    """Return the reason why an entry has no status, and the fix."""
    if not path.is_symlink():
        return f"{error.strerror}."
    target = os.readlink(path)
    if isinstance(error, FileNotFoundError):
        return f"The link leads to {target}, which does not exist: restore it or remove the link."
    return f"The link leads to {target} and cannot be followed ({error.strerror}): remove it."


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _shortened(root: Path, issues: list[ConfigIssue]) -> list[ConfigIssue]:
    if len(issues) <= MAX_ISSUES:
        return issues
    rest = f"There are {len(issues) - MAX_ISSUES} more issues."
    allowed = "files that can be read, and images for every class"
    return [*issues[:MAX_ISSUES], ConfigIssue("root", str(root), allowed, rest)]
