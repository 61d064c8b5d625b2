"""Limit of the size of images, which is checked before they are decoded.

A file of some kilobytes can describe an image that fills the memory.
"""

from __future__ import annotations

from PIL import Image

MAX_PIXELS = 89_478_485
"""Largest number of pixels of an image: 256 MiB at three bytes per pixel. Above it, Pillow warns
that the file may be an attack."""


def require_decodable(image: Image.Image) -> None:
    """Raise ValueError if an image, of which only the header was read, has too many pixels."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"it has {width} x {height} pixels, allowed: at most {MAX_PIXELS:,} in total. Resize "
            "the image."
        )
