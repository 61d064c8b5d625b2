"""Headers of image files: format, size, mode and orientation, without decoding pixels."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".avif"),
        *(".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff", ".jp2", ".j2k"),
    }
)
"""Suffixes of images that are read. The content decides: a file with another suffix, or with
none, is read too if its content has one of `FORMATS`."""

FORMATS = (
    *("JPEG", "PNG", "GIF", "WEBP", "AVIF"),
    *("BMP", "DIB", "PPM", "TIFF", "JPEG2000"),
)
"""Formats of Pillow that are read, as far as it was built with them. Of several frames or pages,
the first is used."""

UNSUPPORTED_SUFFIXES = frozenset(
    {
        *(".heic", ".heif", ".hif", ".jxl", ".svg", ".psd", ".tga", ".exr", ".hdr", ".ico"),
        *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef"),
        *(".dcm", ".nii", ".pcx", ".eps", ".qoi"),
    }
)
"""Suffixes of images that are not read. Such a file is an issue: it is never left out silently."""

EIGHT_BIT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"})
"""Modes of Pillow with at most eight bits per channel. Conversion would truncate other modes."""

UPRIGHT = 1
"""Value of the orientation tag of an image that is stored as it is shown."""
ORIENTATION_TAG = 0x0112

HEADERS = 1
"""Version of the headers in the cache, increased when the same file gives another header."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Content of the header of an image file."""

    format: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    orientation: int = UPRIGHT
    """Orientation tag (EXIF), 1 to 8, that remains to be applied after decoding."""
    problem: str = ""
    """Reason why the image cannot be read; empty if it can."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels as shown, with the orientation applied."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def read_header(path: Path) -> ImageHeader | None:
    """Return the header of an image; None if the file neither is an image nor is named like one.

    The file must be a regular file.
    """
    from PIL import Image, UnidentifiedImageError

    suffix = path.suffix.lower()
    named_image = suffix in IMAGE_SUFFIXES | UNSUPPORTED_SUFFIXES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large images are reported when they are decoded
            with Image.open(path, formats=_formats()) as image:
                return _header(path, image)
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        if not named_image and isinstance(error, UnidentifiedImageError):
            return None
        return ImageHeader(problem=_problem(path, error))


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _header(path: Path, image: Image.Image) -> ImageHeader:
    problem = ""
    if image.mode not in EIGHT_BIT:
        problem = f"mode {image.mode}: more than eight bits per channel"
    return ImageHeader(
        image.format or "", *image.size, image.mode, _orientation(path, image), problem
    )


def _orientation(path: Path, image: Image.Image) -> int:
    """Return the orientation that Pillow leaves to the reader; 1 if the tag is damaged."""
    from PIL import Image

    if image.format == "TIFF":  # Pillow applies it when it decodes the image
        return UPRIGHT
    try:
        if image.format == "PNG" and not _has_late_exif(path):
            exif = Image.Image.getexif(image)  # that of PNG decodes all pixels first
        else:
            exif = image.getexif()
        value = exif.get(ORIENTATION_TAG, UPRIGHT)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return UPRIGHT
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def _has_late_exif(path: Path) -> bool:
    """Return True if a PNG file contains an eXIf chunk after the pixels."""
    with path.open("rb") as stream:
        stream.seek(8)
        pixels = False
        while (kind := _next_chunk(stream)) is not None:
            if kind == b"eXIf":
                return pixels
            pixels = pixels or kind == b"IDAT"
    return False


def _next_chunk(stream: BinaryIO) -> bytes | None:
    """Return the type of the next PNG chunk and skip its data; None at the end."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    stream.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return head[4:]


def _problem(path: Path, error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if path.stat().st_size == 0:
        return "the file is empty"
    suffix = path.suffix.lower()
    if suffix in UNSUPPORTED_SUFFIXES:
        return f"{suffix} files are not read"
    if isinstance(error, UnidentifiedImageError):
        return "the content is not an image of a known format"
    return str(error)
