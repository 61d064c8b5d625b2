"""Scan of an image folder: images, ignored entries, and entries that cannot be read."""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from clmethods.errors import ConfigIssue
from clmethods.user_data.file_records import FileRecords
from clmethods.user_data.ignored_files import is_ignored
from clmethods.user_data.image_headers import IMAGE_SUFFIXES, ImageHeader

Entry = tuple[os.DirEntry[str], os.stat_result]


@dataclass(frozen=True, slots=True)
class FoundImage:
    """Image file below the scanned folder."""

    path: str
    """Path relative to the scanned folder."""
    size: int
    identity: Hashable
    """Equal for two names of one file; see `identity_of`."""
    header: ImageHeader


@final
@dataclass(slots=True)
class FolderScan:
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
    links: list[str] = field(default_factory=list)
    """Links to folders that are read under another path too; each is an issue."""
    _read: dict[Hashable, Path] = field(default_factory=dict)
    """Folders that were read, by identity."""

    def folders_in(self, folder: Path) -> list[str]:
        """Return the sorted names of the folders in `folder`; its files are ignored."""
        if self._is_read_already(folder):
            return []
        folders, files = self._entries(folder)
        self.ignored_files += [self._relative(Path(entry.path)) for entry, _ in files]
        return [entry.name for entry, _ in folders]

    def images_below(self, folder: Path, above: frozenset[Hashable]) -> list[FoundImage]:
        """Return the images below a folder, sorted; `above` identifies the folders around it.

        A folder that is read under two paths is an issue. Folders that link to each other are
        therefore read a limited number of times.
        """
        here = identity_of(folder)
        if here in above:
            self._refuse(folder, "The link leads to a folder that contains it: remove it.")
            return []
        if self._is_read_already(folder):
            return []
        images: list[FoundImage] = []
        folders, files = self._entries(folder)
        entries = sorted([*folders, *files], key=lambda pair: pair[0].name)
        for entry, found in entries:
            path = Path(entry.path)
            if stat.S_ISDIR(found.st_mode):
                images += self.images_below(path, above | {here})
            else:
                images += self._image(path, found)
        return images

    def _is_read_already(self, folder: Path) -> bool:
        """Return True if a folder is a link to one that was read; such links become issues.

        The link may have been read first: then it is the issue, and the folder is read.
        """
        here = identity_of(folder)
        earlier = self._read.setdefault(here, folder)
        if earlier == folder:
            return False
        is_link = not self._is_own_path(folder)
        if not is_link:
            self._read[here] = folder
        link, other = (folder, earlier) if is_link else (earlier, folder)
        if not self.is_below_link(self._relative(link)):
            self.links.append(self._relative(link))
            name = self._relative(other)
            hint = f"The link leads to the folder {name!r}, which is read too: remove it."
            self._refuse(link, hint)
        return is_link

    def is_below_link(self, path: str) -> bool:
        """Return True if a relative path is below one of `links`."""
        return any(path.startswith(f"{link}/") for link in self.links)

    def _is_own_path(self, folder: Path) -> bool:
        """Return True if no part of the path below the root is a link."""
        own = os.path.join(os.path.realpath(self.root), self._relative(folder))
        return os.path.realpath(folder) == os.path.normpath(own)

    def _image(self, path: Path, found: os.stat_result) -> list[FoundImage]:
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
        return [FoundImage(relative, found.st_size, identity_of(path, found), header)]

    def _entries(self, folder: Path) -> tuple[list[Entry], list[Entry]]:
        """Return the folders and the files in a folder, sorted by name, with their status."""
        self.sources.append(folder)
        folders, files = list[Entry](), list[Entry]()
        try:
            with os.scandir(folder) as opened:
                entries = sorted(opened, key=lambda entry: entry.name)
        except OSError as error:
            self._refuse(folder, f"{error.strerror}.")
            return [], []
        for entry in entries:
            path = Path(entry.path)
            if not _is_utf8(entry.name):
                self._refuse(path, "The name is not UTF-8: rename it.")
                continue
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


def identity_of(path: Path, found: os.stat_result | None = None) -> Hashable:
    """Return what two paths of one file or folder share: device and inode."""
    found = found or path.stat()
    # Some file systems have no inodes.
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)


def _is_utf8(name: str) -> bool:
    """Return False for names that the system cannot show, which come from other encodings."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _broken(path: Path, error: OSError) -> str:
    """Return the reason why an entry has no status, and the fix."""
    if not path.is_symlink():
        return f"{error.strerror}."
    target = os.readlink(path)
    if isinstance(error, FileNotFoundError):
        return f"The link leads to {target}, which does not exist: restore it or remove the link."
    return f"The link leads to {target} and cannot be followed ({error.strerror}): remove it."
