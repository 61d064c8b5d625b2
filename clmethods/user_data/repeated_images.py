"""Images that occur on two sides of a split, as one file under two names or as equal files, and
files with two labels."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_PART = 4096
"""Number of bytes at each end of a file that are compared before all of them are."""


@dataclass(frozen=True, slots=True)
class ListedImage:
    """Image file of a manifest."""

    row: int
    file: Path
    identity: Hashable
    """Equal for two names of one file: device and inode."""
    size: int
    side: Hashable
    """Split; without given splits the group, or the row of an image without a group. Images of
    one side always stay in one split."""
    task: str
    label: str


@dataclass(frozen=True, slots=True)
class Repetition:
    """Image that an earlier row on another side has, too."""

    image: ListedImage
    earlier: ListedImage
    same_file: bool
    """False: two files with equal content."""


def repetitions(images: Iterable[ListedImage]) -> list[Repetition]:
    """Return the images that an earlier image on another side repeats, by row.

    Files are read only if another file on another side has the same size.
    """
    by_file: dict[Hashable, list[ListedImage]] = defaultdict(list)
    by_size: dict[Hashable, list[ListedImage]] = defaultdict(list)
    for image in images:
        by_file[image.identity].append(image)
    found = [pair for same in by_file.values() for pair in _conflicts(same, same_file=True)]
    for same in by_file.values():
        if same[0].size > 0:
            by_size[same[0].size].append(same[0])
    for candidates in by_size.values():
        for ends in _equal(candidates, whole=False):
            for same in _equal(ends, whole=True):
                found.extend(_conflicts(same, same_file=False))
    return sorted(found, key=lambda pair: pair.image.row)


def contradictions(images: Iterable[ListedImage]) -> list[tuple[ListedImage, ListedImage]]:
    """Return the images whose file has another label in an earlier row of the same side and task,
    with the image of that row. Images without a label are ignored.
    """
    first: dict[Hashable, ListedImage] = {}
    found = []
    for image in images:
        if image.label:
            earlier = first.setdefault((image.identity, image.side, image.task), image)
            if earlier.label != image.label:
                found.append((image, earlier))
    return found


def _conflicts(images: list[ListedImage], *, same_file: bool) -> Iterator[Repetition]:
    first = images[0]
    for image in images[1:]:
        if image.side != first.side:
            yield Repetition(image, first, same_file)


def _equal(images: list[ListedImage], *, whole: bool) -> Iterator[list[ListedImage]]:
    """Yield the groups of equal files, or of files with equal ends, with several sides."""
    if len({image.side for image in images}) < 2:
        return
    groups: dict[bytes, list[ListedImage]] = defaultdict(list)
    for image in images:
        try:
            groups[_digest(image, whole)].append(image)
        except OSError:
            continue  # reading the images names files that cannot be read
    for group in groups.values():
        if len({image.side for image in group}) > 1:
            yield group


def _digest(image: ListedImage, whole: bool) -> bytes:
    with image.file.open("rb") as stream:
        if whole:
            return hashlib.file_digest(stream, "sha256").digest()
        ends = hashlib.sha256(stream.read(_PART))
        stream.seek(max(0, image.size - _PART))
        ends.update(stream.read(_PART))
        return ends.digest()
