"""Image folders of four classes with one color each, and their streams."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pytest
from PIL import Image

from clmethods.config import InvalidConfigError, StreamConfig
from clmethods.user_data.folder_listing import Listing

CLASSES = ("cat", "dog", "emu", "fox")


def picture(name: str) -> bytes:
    """Return a readable image file with content of its own: bytes after the end are ignored."""
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    return buffer.getvalue() + name.encode() * 3000


def write_class(folder: Path, color: int, each: int = 3, suffix: str = ".png") -> None:
    """Write images that differ from those of other folders by one pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(str(folder).encode())
    for index in range(each):
        image = Image.new("RGB", (24, 20), (color, 255 - color, 20 * index))
        image.putpixel((0, 0), (seed % 251, seed // 251 % 251, seed // 251**2 % 251))
        image.save(folder / f"{index:03d}{suffix}")


def write_classes(root: Path, classes: tuple[str, ...] = CLASSES, each: int = 3) -> None:
    for index, name in enumerate(classes):
        write_class(root / name, 60 * index, each)


def stream(root: Path) -> StreamConfig:
    return StreamConfig(dataset="image-folder", root=str(root))


def listed(root: Path) -> Listing:
    listing = stream(root).listing()
    assert listing is not None
    return listing


def refusals(root: Path) -> list[str]:
    """Return the texts of the issues for which a root is refused, with whole values.

    A message cuts values of more than 90 characters, which temporary folders may exceed.
    """
    with pytest.raises(InvalidConfigError) as found:
        stream(root)
    return [
        f"{issue.path}: got {issue.value!r}, allowed: {issue.allowed}. {issue.hint}".rstrip()
        for issue in found.value.issues
    ]
